"""What a study of graders found: tables of its page."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.evaluate.grade_difference import (
    accuracy_difference,
    greater_over_folds,
    kappa_difference,
)
from medssl.evaluate.grading import wilcoxon_greater
from medssl.pipeline.results import Result
from medssl.pipeline.study import CEILING, Cell, Study

SCORES = {
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "mse": "MSE",
    "auc": "AUC",
    "average_precision": "AP",
    "ece": "ECE",
}
RESAMPLES = 2000
FOLDS = 20

Runs = Mapping[int, Result]
"""The runs of one arm by seed."""


def sections(study: Study, results: Mapping[Cell, Result]) -> list[str]:
    """Two tables for each label budget: scores, and differences to the reference."""
    lines: list[str] = []
    for labels in dict.fromkeys((*study.labels, *(cell.labels for cell in results))):
        arms: dict[str, dict[int, Result]] = {}
        for cell, run in results.items():
            if cell.labels == labels:
                arms.setdefault(cell.arm, {})[cell.seed] = run
        lines += [f"## {f'{labels} labels per grade' if labels else 'All labels'}", ""]
        lines += _scores(arms) + _differences(study, arms) if arms else ["No run is finished.", ""]
    return lines


def _scores(arms: Mapping[str, Runs]) -> list[str]:
    lines = _head(["arm", "seeds", *SCORES.values()])
    for arm, runs in arms.items():
        lines.append(_line([arm, str(len(runs)), *(_mean_sd(runs, name) for name in SCORES)]))
    return [*lines, ""]


def _differences(study: Study, arms: Mapping[str, Runs]) -> list[str]:
    """Every arm less the reference; of several references, the one of the best mean."""
    known = [arm for arm in study.reference if arm in arms]
    others = [arm for arm in arms if arm != CEILING]
    if not known or len(others) < 2:
        return []
    reference = max(known, key=lambda arm: np.mean(_values(arms[arm], "balanced_accuracy")))
    heads = [f"arm less {reference}", "balanced accuracy [95 %]", "by seed", "p seeds", "p parts"]
    heads += ["quadratic kappa [95 %]", "by seed", "p seeds"]
    lines = _head(heads)
    for arm in others:
        if arm != reference:
            lines.append(_line([arm, *_against(arms[arm], arms[reference])]))
    return [*lines, ""]


def _against(mine: Runs, base: Runs) -> list[str]:
    """Cells of one arm against the reference, over the seeds that both have."""
    seeds = sorted(set(mine) & set(base))
    if not seeds or any(mine[s].scores.images != base[s].scores.images for s in seeds):
        return [""] * 7
    first = np.stack([mine[seed].scores.predicted for seed in seeds])
    second = np.stack([base[seed].scores.predicted for seed in seeds])
    truth = mine[seeds[0]].scores.truth
    cells = []
    for name, difference in (
        ("balanced_accuracy", accuracy_difference),
        ("kappa", kappa_difference),
    ):
        found = difference(first, second, truth, RESAMPLES, np.random.default_rng(0))
        pairs = [(mine[s].numbers[name], base[s].numbers[name]) for s in seeds]
        cells += [
            f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
            ", ".join(f"{one - other:+.3f}" for one, other in pairs),
            f"{wilcoxon_greater(*map(np.array, zip(*pairs, strict=True))):.2g}",
        ]
    parts = greater_over_folds(first, second, truth, FOLDS, seed=0)
    return [*cells[:3], "-" if np.isnan(parts) else f"{parts:.2g}", *cells[3:]]


def _values(runs: Runs, name: str) -> list[float]:
    return [runs[seed].numbers[name] for seed in sorted(runs) if name in runs[seed].numbers]


def _mean_sd(runs: Runs, name: str) -> str:
    values = _values(runs, name)
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else "-"


def _head(heads: Sequence[str]) -> list[str]:
    return [_line(heads), "|" + "---|" * len(heads)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
