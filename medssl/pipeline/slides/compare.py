"""The finished runs of a pipeline of slides side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.rows import read_table
from medssl.environment import runs_root
from medssl.errors import DataError, UsageError
from medssl.evaluate.statistics import paired_difference
from medssl.pipeline.compare import as_text
from medssl.pipeline.stage import read_config, read_json

HEADS = ["method", "data", "seed", "accuracy [95 %]", "AUC", "ECE"]


@dataclass(frozen=True)
class FinishedRun:
    """One finished evaluation.

    Attributes:
        right: bag to whether its call was right.
        numbers: scores by name.
    """

    method: str
    data: str
    seed: int
    right: dict[str, bool]
    numbers: dict[str, float]
    run_id: str


def compare_slides(pipeline: str, reference: str) -> str:
    """A table with a row per run, as text.

    Each run stands against the `reference` method's run on the same data with the same seed:
    difference of accuracy over the same bags, its 95 % interval, and Wilcoxon's p.

    Raises:
        UsageError: there are no finished runs.
    """
    found = sorted((runs_root() / pipeline).glob("evaluate-*/done.json"))
    if not found:
        raise UsageError(
            f"there are no finished runs of '{pipeline}' in {runs_root()}",
            do=f"start one with `medssl run {pipeline}`",
        )
    runs = sorted(map(_read, found), key=lambda run: (run.data, run.method, run.seed))
    heads = [*HEADS, f"- {reference}", "p", "MLflow run"]
    return as_text(heads, [_row(run, runs, reference) for run in runs])


def _read(done: Path) -> FinishedRun:
    plain = read_json(done, "summary")
    config = read_config(done.parent, "method.name", "data", "seed")
    return FinishedRun(
        config["method"]["name"],
        config["data"],
        config["seed"],
        read_right(done.parent),
        plain["summary"],
        str(plain.get("run_id") or ""),
    )


def _row(run: FinishedRun, runs: Sequence[FinishedRun], reference: str) -> list[str]:
    numbers = run.numbers
    interval = f"[{numbers['accuracy_low']:.3f}, {numbers['accuracy_high']:.3f}]"
    row = [run.method, run.data, str(run.seed), f"{numbers['accuracy']:.3f} {interval}"]
    row += [f"{numbers['auc']:.3f}", f"{numbers['ece']:.3f}"]
    partner = next(
        (
            other
            for other in runs
            if (other.method, other.data, other.seed) == (reference, run.data, run.seed)
        ),
        None,
    )
    return [*row, *_difference(run, partner), run.run_id[:8]]


def _difference(run: FinishedRun, partner: FinishedRun | None) -> list[str]:
    common = sorted(set(run.right) & set(partner.right)) if partner else []
    if partner is None or partner.method == run.method or len(common) < 2:
        return ["", ""]
    found = paired_difference(
        [float(run.right[bag]) for bag in common],
        [float(partner.right[bag]) for bag in common],
        np.random.default_rng(0),
    )
    return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]


def read_right(folder: Path) -> dict[str, bool]:
    """Slide to whether it was called right, from the scores.csv of an evaluation.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        rows = read_table(folder / "scores.csv")
        return {row["slide"]: row["truth"] == row["prediction"] for row in rows}
    except (KeyError, DataError):
        raise UsageError(
            f"{folder} is not a complete evaluation", do="delete the folder and run again"
        ) from None
