"""The report of a study: what its finished runs found, and what did not finish."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.errors import DataError, MedsslError, UsageError
from medssl.pipeline.comparison import Result
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.plan import Cohort, cohort_of, make_plan
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import comparison_for, comparison_of, read_result
from medssl.pipeline.run import pretraining, with_finished_encoder
from medssl.pipeline.study import Cell, Study, cells
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_page import markdown, tables, write_curve
from medssl.pipeline.study_tasks import study_folder
from medssl.pipeline.study_tracking import hand_over
from medssl.train.fingerprint import code_version

CHOOSING = "**Scored are training cases, to choose by: nothing sees the test cases.**"


def is_rehearsed(pipeline: Any) -> bool:
    """Whether training cases are scored in place of the test cases."""
    return bool(getattr(getattr(pipeline, "split", None), "rehearsal", 0))


def write_report(study: Study, failures: Sequence[Failure] = (), command: str = "") -> str:
    """Write what all finished runs of a study found; returns a word on where it is.

    Args:
        failures: of runs that did not finish.
        command: what to print as the way to repeat it.

    Raises:
        UsageError: there is nothing to compare.
    """
    everything = cells(study)
    results, encoders = finished(study, everything)
    folder = study_folder(study)
    write_text(folder / "study.csv", _table(study, results))
    page = _page(study, results, encoders, len(everything), command, failures)
    write_text(folder / "summary.md", page)
    config = load_config(study.pipeline)
    comparison = comparison_of(config.family)
    if results and study.labels and comparison.score:
        write_curve(study, results, comparison, config.spec.simulated, folder)
    hand_over(study, results, comparison, failures)
    return (
        f"{len(results)} of {len(everything)} runs finished\n"
        f"summary  {folder / 'summary.md'}\ntable    {folder / 'study.csv'}"
    )


def finished(study: Study, grid: Sequence[Cell]) -> tuple[dict[Cell, Result], dict[Cell, Result]]:
    """What the complete runs found, and the pre-trainings that they started from.

    Label budgets share a pre-training, so one cell of an arm and a seed stands for all. Data sets
    that are not here have no runs.
    """
    results, encoders, seen = {}, {}, set()
    for cell in grid:
        config = load_config(study.pipeline, cell.overrides)
        try:
            cohort = cohort_of(config)
        except DataError:
            continue
        tested = config.family.scoring.tested
        if tested and not cohort.test:
            raise UsageError(
                f"a study of {study.pipeline} has nothing to compare",
                f"there are no test {tested}, on which its runs would be scored",
                "set split.test in the pipeline",
            )
        config = with_plan(config, cohort, QuietReporter())
        try:
            found = None if (cell.arm, cell.seed) in seen else _encoder(config, cohort)
            ready = with_finished_encoder(config, cohort)
            last = None if ready is None else make_plan(ready, cohort).last
        except MedsslError:  # its encoder is missing or does not fit, as its failure says
            continue
        if found is not None:
            encoders[cell] = found
            seen.add((cell.arm, cell.seed))
        if last is not None and last.done:
            results[cell] = read_result(last.folder)
    return results, encoders


def _encoder(config: Config[Any], cohort: Cohort) -> Result | None:
    inner = pretraining(config, cohort)
    return read_result(inner.last.folder) if inner is not None and inner.last.done else None


def _page(
    study: Study,
    results: Mapping[Cell, Result],
    encoders: Mapping[Cell, Result],
    planned: int,
    command: str,
    failures: Sequence[Failure],
) -> str:
    """summary.md: the same frame for every family, the tables its own."""
    config = load_config(study.pipeline)
    comparison = comparison_of(config.family)
    lines = [f"# {study.title or study.name}", ""]
    if any(spec.simulated for spec in config.specs) and not study.data:
        lines += ["**The data are simulated.**", ""]
    lines += [
        f"{len(results)} of {planned} runs. {comparison.introduction(config.specs)}",
        "",
        *([CHOOSING, ""] if is_rehearsed(config.pipeline) else []),
        f"- command: `{command}`",
        f"- code: {code_version()}",
        f"- machine: {machine()}",
        f"- seeds: {', '.join(map(str, study.seeds))}",
        "",
        *tables(study, results, comparison),
    ]
    if failures:
        rows = [[failure.task, failure.reason] for failure in failures]
        lines += ["## Not finished", "", *markdown(["run", "reason"], rows)]
    if encoders:
        known = comparison_for(next(iter(encoders.values())).config)
        lines += [
            "## Encoders",
            "",
            "What they know of patients kept out of their training, mean over seeds (standard "
            "deviation).",
            "",
            *tables(study, encoders, known),
        ]
    return "\n".join(lines)


def _table(study: Study, results: Mapping[Cell, Result]) -> str:
    """study.csv: a row per run."""
    if not results:
        return table_text(["arm", "seed"], [])
    comparison = comparison_of(load_config(study.pipeline).family)
    found = {cell: comparison.columns(run) for cell, run in results.items()}
    names = list(dict.fromkeys(name for numbers in found.values() for name in numbers))
    axes = list(next(iter(results)).words)
    rows = [
        [cell.words[axis] for axis in axes]
        + [f"{numbers[name]:.6f}" if name in numbers else "" for name in names]
        + [results[cell].folder.name, results[cell].run_id]
        for cell, numbers in found.items()
    ]
    return table_text([*axes, *names, "folder", "mlflow_run"], rows)


def machine() -> str:
    """CPU model and number of cores; no names of hosts or users."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"
