"""What a study of segmentation found: a table per label budget, and the learning curve."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import write_bytes, write_text
from medssl.data.csv_table import table_text
from medssl.evaluate.statistics import bootstrap_interval, paired_difference
from medssl.families.segment.results import CaseTable
from medssl.pipeline.config import load_config
from medssl.pipeline.results import Result
from medssl.pipeline.study import CEILING, Cell, Study

DRAWS = 2000


@dataclass(frozen=True)
class Arm:
    """One arm at one label budget.

    Attributes:
        seeds: seed to mean Dice over its cases.
        cases: case to Dice, mean over the seeds.
    """

    name: str
    labels: int
    seeds: dict[int, float]
    cases: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean Dice over cases."""
        return float(np.mean(list(self.cases.values())))

    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean, over cases."""
        return bootstrap_interval(list(self.cases.values()), DRAWS, np.random.default_rng(0))


def gather(results: Mapping[Cell, Result]) -> list[Arm]:
    """The runs by arm and budget, seeds pooled by the mean of each case."""
    grouped: dict[tuple[str, int], dict[int, CaseTable]] = {}
    for cell, run in results.items():
        grouped.setdefault((cell.arm, cell.labels or 0), {})[cell.seed] = run.scores
    return [
        Arm(name, labels, {seed: run.mean("dice") for seed, run in runs.items()}, pooled(runs))
        for (name, labels), runs in grouped.items()
    ]


def pooled(runs: Mapping[int, CaseTable]) -> dict[str, float]:
    """Case to Dice, mean over the seeds that tested it."""
    values: dict[str, list[float]] = {}
    for run in runs.values():
        for case, dice in run.values("dice").items():
            values.setdefault(case, []).append(dice)
    return {case: float(np.mean(found)) for case, found in sorted(values.items())}


def strongest(study: Study, arms: Sequence[Arm], labels: int) -> Arm | None:
    """The reference arm at a budget: of several, the one with the highest mean."""
    fitting = [arm for arm in arms if arm.labels == labels and arm.name in study.reference]
    return max(fitting, key=lambda arm: arm.mean, default=None)


def gap_closed(arm: Arm, reference: Arm, ceiling: Arm) -> tuple[float, float, float]:
    """Share of the gap between reference and ceiling that `arm` closes, with its 95 % interval.

    The bootstrap draws cases, the same for all three; draws without a gap are left out.
    """
    common = sorted(set(arm.cases) & set(reference.cases) & set(ceiling.cases))
    table = np.array([[one.cases[case] for case in common] for one in (arm, reference, ceiling)])
    drawn = np.random.default_rng(0).integers(len(common), size=(DRAWS, len(common)))
    tops, lows, highs = table[:, drawn].mean(axis=2)
    valid = highs > lows
    shares = (tops - lows)[valid] / (highs - lows)[valid]
    mine, low, high = table.mean(axis=1)
    interval = np.quantile(shares, [0.025, 0.975]) if len(shares) else (np.nan, np.nan)
    return float((mine - low) / (high - low)), float(interval[0]), float(interval[1])


def sections(study: Study, results: Mapping[Cell, Result]) -> list[str]:
    """A table for each label budget, and the ceiling."""
    arms = gather(results)
    ceiling = next((arm for arm in arms if arm.name == CEILING), None)
    lines: list[str] = []
    for labels in study.labels:
        lines += _budget(study, arms, labels, ceiling)
    if ceiling is not None:
        low, high = ceiling.interval()
        lines += [
            f"## Ceiling: {ceiling.labels} labels",
            "",
            f"Dice {ceiling.mean:.3f} [{low:.3f}, {high:.3f}]; by seed: {_by_seed(ceiling)}",
            "",
        ]
    return lines


def _budget(study: Study, arms: Sequence[Arm], labels: int, ceiling: Arm | None) -> list[str]:
    """The table of one label budget."""
    here = [arm for arm in arms if arm.labels == labels and arm.name != CEILING]
    reference = strongest(study, here, labels)
    if not here:
        return [f"## {labels} labels", "", "No run is finished.", ""]
    against = reference.name if reference else "reference"
    lines = [
        f"## {labels} labels",
        "",
        f"| arm | Dice [95 %] | by seed | minus {against} [95 %] | Wilcoxon p "
        "| gap closed [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for arm in here:
        low, high = arm.interval()
        cells = [arm.name, f"{arm.mean:.3f} [{low:.3f}, {high:.3f}]", _by_seed(arm)]
        lines.append("| " + " | ".join(cells + _against(arm, reference, ceiling)) + " |")
    return [*lines, ""]


def _against(arm: Arm, reference: Arm | None, ceiling: Arm | None) -> list[str]:
    """Difference, p-value and share of the gap; empty for the reference itself."""
    if reference is None or arm is reference:
        return ["", "", ""]
    common = sorted(set(arm.cases) & set(reference.cases))
    found = paired_difference(
        [arm.cases[case] for case in common],
        [reference.cases[case] for case in common],
        np.random.default_rng(0),
    )
    cells = [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]
    if ceiling is None or ceiling.mean <= reference.mean:
        return [*cells, ""]
    share, low, high = gap_closed(arm, reference, ceiling)
    return [*cells, f"{share:.0%} [{low:.0%}, {high:.0%}]"]


def _by_seed(arm: Arm) -> str:
    return ", ".join(f"{arm.seeds[seed]:.3f}" for seed in sorted(arm.seeds))


def draw_curve(study: Study, results: Mapping[Cell, Result], folder: Path) -> None:
    """learning_curve.csv and learning_curve.png: Dice against labels, a line per arm."""
    arms = gather(results)
    rows = [
        [arm.name, arm.labels, len(arm.seeds)]
        + [f"{value:.6f}" for value in (arm.mean, *arm.interval())]
        for arm in arms
    ]
    heads = ["arm", "labels", "seeds", "dice", "low", "high"]
    write_text(folder / "learning_curve.csv", table_text(heads, rows))
    write_bytes(folder / "learning_curve.png", _picture(study, arms))


def _picture(study: Study, arms: Sequence[Arm]) -> bytes:
    """The ceiling is dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(study.arms):
        points = sorted((arm for arm in arms if arm.name == name), key=lambda arm: arm.labels)
        if not points:
            continue
        middle = np.array([arm.mean for arm in points])
        bounds = np.array([arm.interval() for arm in points])
        reach = np.abs(bounds.T - middle)
        # Side by side, so that intervals at one budget do not hide each other.
        where = [arm.labels * (1 + 0.02 * number) for arm in points]
        axes.errorbar(where, middle, yerr=reach, marker="o", capsize=3, label=name)
    for arm in arms:
        if arm.name == CEILING:
            label = f"ceiling ({arm.labels} labels)"
            axes.axhline(arm.mean, color="0.5", linestyle="--", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(study.labels, [str(labels) for labels in study.labels])
    axes.minorticks_off()
    axes.set_xlabel("labelled cases")
    axes.set_ylabel("test Dice, 95 % interval over cases")
    simulated = " (simulated data)" if load_config(study.pipeline).spec.simulated else ""
    axes.set_title((study.title or study.name) + simulated)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
