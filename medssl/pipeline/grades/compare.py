"""The finished runs of a pipeline of radiographs side by side."""

from collections.abc import Sequence

import numpy as np

from medssl.evaluate.grade_difference import accuracy_difference, kappa_difference
from medssl.pipeline.compare import (
    as_text,
    differing_settings,
    refuse_reference,
    settings_in_words,
)
from medssl.pipeline.grades.results import GradeResult, read_results

HEADS = ["method", "labels", "seed", "balanced accuracy [95 %]", "kappa", "MSE", "AUC", "ECE"]
RESAMPLES = 1000


def compare_grades(pipeline: str, reference: str) -> str:
    """A table with a row per run, as text.

    Each run stands against the `reference` method's run with the same labels and seed: difference
    of balanced accuracy and of quadratic kappa over the same images, with 95 % intervals.

    Raises:
        UsageError: there are no finished runs, or none of the reference method.
    """
    runs = read_results(pipeline)
    refuse_reference(pipeline, reference, sorted({run.method for run in runs}))
    differing = differing_settings([(run.method, run.config) for run in runs])
    heads = [*HEADS, f"- {reference}", "kappa", "MLflow run"]
    return as_text(heads, [_row(run, runs, reference, differing) for run in runs])


def _row(
    run: GradeResult, runs: Sequence[GradeResult], reference: str, differing: Sequence[str]
) -> list[str]:
    numbers = run.numbers
    low, high = (numbers.get(f"balanced_accuracy_{end}", float("nan")) for end in ("low", "high"))
    row = [
        " ".join([run.method, *settings_in_words(run.config, differing)]),
        str(run.labels or "all"),
        str(run.seed),
        f"{_shown(numbers, 'balanced_accuracy')} [{low:.3f}, {high:.3f}]",
        *(_shown(numbers, name) for name in ("kappa", "mse", "auc", "ece")),
    ]
    return [*row, *_difference(run, _partner(run, runs, reference, differing)), run.run_id[:8]]


def _shown(numbers: dict[str, float], name: str) -> str:
    return f"{numbers[name]:.3f}" if name in numbers else "-"


def _partner(
    run: GradeResult, runs: Sequence[GradeResult], reference: str, differing: Sequence[str]
) -> GradeResult | None:
    """The reference run on the same labels and images; of several, the most alike in settings."""
    mine = set(settings_in_words(run.config, differing))
    fitting = [
        other
        for other in runs
        if (other.method, other.labels, other.seed) == (reference, run.labels, run.seed)
        and other.images == run.images
    ]
    return min(
        fitting,
        key=lambda other: len(set(settings_in_words(other.config, differing)) ^ mine),
        default=None,
    )


def _difference(run: GradeResult, partner: GradeResult | None) -> list[str]:
    if partner is None or partner.method == run.method:
        return ["", ""]
    cells = []
    for difference in (accuracy_difference, kappa_difference):
        given = run.predicted[None], partner.predicted[None]
        found = difference(*given, run.truth, RESAMPLES, np.random.default_rng(0))
        cells.append(f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
    return cells
