"""What a study of graders found: study.csv and summary.md."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.data.rows import table_text
from medssl.data.spec import DataSpec
from medssl.evaluate.grade_difference import (
    accuracy_difference,
    greater_over_folds,
    kappa_difference,
)
from medssl.evaluate.grading import wilcoxon_greater
from medssl.pipeline.grades.results import GradeResult
from medssl.pipeline.study_grid import CEILING, Cell, Study
from medssl.pipeline.study_report import machine
from medssl.train.fingerprint import code_version

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

Runs = Mapping[int, GradeResult]
"""The runs of one arm by seed."""


def study_csv(results: Mapping[Cell, GradeResult]) -> str:
    """A row per run."""
    names = sorted({name for one in results.values() for name in one.numbers})
    rows = []
    for cell, one in results.items():
        shown = [f"{one.numbers[name]:.6f}" if name in one.numbers else "" for name in names]
        rows.append([cell.arm, cell.labels or "all", cell.seed, *shown, one.run_id])
    return table_text(["arm", "labels", "seed", *names, "mlflow_run"], rows)


def summary(
    study: Study,
    spec: DataSpec,
    results: Mapping[Cell, GradeResult],
    planned: int,
    command: str,
) -> str:
    """The whole page."""
    lines = [f"# {study.title or study.name}", ""]
    if spec.simulated:
        lines += ["**The data are simulated.**", ""]
    lines += [
        f"{len(results)} of {planned} runs. Data: {spec.title}. Scores are of the test images, "
        "mean (standard deviation) over seeds. Differences are to the reference arm with the same "
        "seeds: "
        f"their 95 % intervals draw test images again within their grade ({RESAMPLES} times, the "
        "same for both arms, seeds averaged); p are of the one-sided signed-rank test that the arm "
        f"is better, over seeds (with 5 at least 0.031) and over {FOLDS} stratified parts of the "
        "test images (balanced accuracy, seeds averaged). Not corrected for the number of arms.",
        "",
        f"- command: `{command}`",
        f"- code: {code_version()}",
        f"- machine: {machine()}",
        "",
    ]
    for labels in dict.fromkeys((*study.labels, *(cell.labels for cell in results))):
        arms: dict[str, dict[int, GradeResult]] = {}
        for cell, one in results.items():
            if cell.labels == labels:
                arms.setdefault(cell.arm, {})[cell.seed] = one
        lines += [f"## {f'{labels} labels per grade' if labels else 'All labels'}", ""]
        lines += _scores(arms) + _differences(study, arms) if arms else ["No run is finished.", ""]
    return "\n".join(lines)


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
    if not seeds or any(mine[s].images != base[s].images for s in seeds):
        return [""] * 7
    first = np.stack([mine[seed].predicted for seed in seeds])
    second = np.stack([base[seed].predicted for seed in seeds])
    truth = mine[seeds[0]].truth
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
