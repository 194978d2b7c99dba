"""Carrying out a study: each of its cells is an ordinary run, and finished ones are skipped."""

from collections.abc import Sequence
from pathlib import Path

from medssl.environment import runs_root
from medssl.pipeline.config import load_config
from medssl.pipeline.pretrain.probe_table import Probed
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import Train, run
from medssl.pipeline.scores import RunScores, read_run
from medssl.pipeline.stage import make_plan
from medssl.pipeline.study_grid import Cell, Study, announced, cells, select


def run_study(
    study: Study,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
    train: Train | None = None,
) -> str:
    """Carry out the runs that are missing, write the report; returns a word on where it is.

    Args:
        only: e.g. ["arm=cps,labels=4"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.
        train: the training stage; by default `medssl.pipeline.train.train`.

    Raises:
        UsageError: a part that does not exist; or what a run raises, which ends the study.
    """
    from medssl.pipeline.study_report import write_report

    everything = cells(study)
    for cell in select(everything, only):
        load_config(study.pipeline, cell.overrides)  # a mistake in the last arm is told at once
    for _, overrides in announced(everything, only, threads, reporter):
        run(load_config(study.pipeline, overrides), reporter, train=train)
    results = finished(study, everything)
    folder = study_folder(study)
    encoders = probed_encoders(study, list(results))
    write_report(study, results, encoders, len(everything), folder, command)
    return f"{len(results)} of {len(everything)} runs finished; summary in {folder / 'summary.md'}"


def finished(study: Study, grid: Sequence[Cell]) -> dict[Cell, RunScores]:
    """The scores of the runs that are complete."""
    from medssl.pipeline.pretrained import with_finished_encoder

    found: dict[Cell, RunScores] = {}
    for cell in grid:
        config = with_finished_encoder(load_config(study.pipeline, cell.overrides))
        if config is None:
            continue
        plan = make_plan(config)
        if plan.evaluate.done:
            found[cell] = read_run(plan.evaluate.folder)
    return found


def probed_encoders(study: Study, grid: Sequence[Cell]) -> Probed:
    """What probes of its own pre-training say, by arm and seed; label budgets share an encoder."""
    from medssl.pipeline.pretrained import encoder_probes

    found: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
    for cell in grid:
        if (cell.arm, cell.seed) not in found:
            numbers = encoder_probes(load_config(study.pipeline, cell.overrides))
            if numbers:
                found[cell.arm, cell.seed] = numbers
    return found


def study_folder(study: Study) -> Path:
    """Where the study's report goes."""
    return runs_root() / load_config(study.pipeline).pipeline.name / f"study-{study.name}"
