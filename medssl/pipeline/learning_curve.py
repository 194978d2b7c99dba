"""The score of each arm of a study against its label budgets, as a table and as a picture."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import write_bytes, write_text
from medssl.data.csv_table import table_text
from medssl.evaluate.statistics import bootstrap_interval
from medssl.pipeline.comparison import DRAWS, Comparison, Result
from medssl.pipeline.study import CEILING, Cell, Study


@dataclass(frozen=True)
class Point:
    """One arm at one label budget: its mean score over test items, with a 95 % interval."""

    arm: str
    labels: int
    seeds: int
    mean: float
    low: float
    high: float


def points(results: Mapping[Cell, Result], comparison: Comparison) -> list[Point]:
    """All arms and budgets, each item with its mean over the seeds."""
    grouped: dict[tuple[str, int], dict[int, Result]] = {}
    for cell, run in results.items():
        grouped.setdefault((cell.arm, cell.labels or 0), {})[cell.seed] = run
    found = []
    for (arm, labels), runs in grouped.items():
        values = list(comparison.pooled(runs).values())
        interval = bootstrap_interval(values, DRAWS, np.random.default_rng(0))
        found.append(Point(arm, labels, len(runs), float(np.mean(values)), *interval))
    return found


def write_curve(
    study: Study,
    results: Mapping[Cell, Result],
    comparison: Comparison,
    simulated: bool,
    folder: Path,
) -> None:
    """Leave learning_curve.csv and learning_curve.png in a folder."""
    found = points(results, comparison)
    rows = [
        [one.arm, one.labels, one.seeds, f"{one.mean:.6f}", f"{one.low:.6f}", f"{one.high:.6f}"]
        for one in found
    ]
    heads = ["arm", "labels", "seeds", comparison.score.lower(), "low", "high"]
    write_text(folder / "learning_curve.csv", table_text(heads, rows))
    title = (study.title or study.name) + (" (simulated data)" if simulated else "")
    write_bytes(folder / "learning_curve.png", _picture(study, found, comparison.score, title))


def _picture(study: Study, found: Sequence[Point], score: str, title: str) -> bytes:
    """The ceiling is dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(study.arms):
        mine = sorted((one for one in found if one.arm == name), key=lambda one: one.labels)
        if not mine:
            continue
        middle = [one.mean for one in mine]
        reach = np.array([(one.mean - one.low, one.high - one.mean) for one in mine]).T
        # Side by side, so that intervals at one budget do not hide each other.
        where = [one.labels * (1 + 0.02 * number) for one in mine]
        axes.errorbar(where, middle, yerr=reach, marker="o", capsize=3, label=name)
    for one in found:
        if one.arm == CEILING:
            label = f"ceiling ({one.labels} labels)"
            axes.axhline(one.mean, color="0.5", linestyle="--", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(study.labels, [str(labels) for labels in study.labels])
    axes.minorticks_off()
    axes.set_xlabel("labelled cases")
    axes.set_ylabel(f"test {score}, 95 % interval over cases")
    axes.set_title(title)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
