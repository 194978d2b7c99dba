"""The finished runs of a pipeline side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from medssl.errors import UsageError
from medssl.evaluate.statistics import bootstrap_interval, paired_difference
from medssl.mistakes import nearest
from medssl.pipeline.config import flatten
from medssl.pipeline.scores import RunScores, read_runs

APART = ("seed", "name", "title", "split.labels", "method.name")
"""Settings with a column of their own, or without weight."""


def compare(pipeline: str, reference: str = "supervised") -> str:
    """A table with a row per run, as text.

    Each run stands against the `reference` method's run with the same labels and seed: difference
    of mean Dice over the same cases, its 95 % interval, and the Wilcoxon signed-rank p-value.

    Raises:
        UsageError: there are no finished runs, or none of the reference method.
    """
    runs = read_runs(pipeline)
    refuse_reference(pipeline, reference, sorted({run.method for run in runs}))
    return tabulate(runs, reference)


def refuse_reference(pipeline: str, reference: str, known: Sequence[str]) -> None:
    """Refuse a reference method of which there is no run; of one method alone none is needed.

    Raises:
        UsageError: names the nearest.
    """
    if reference not in known and len(known) > 1:
        raise UsageError(
            f"'{pipeline}' has no finished run of '{reference}'",
            do=nearest(reference, known).replace("did you mean", "did you mean --reference"),
        )


def tabulate(runs: Sequence[RunScores], reference: str) -> str:
    """The table of `compare` for runs that are at hand."""
    heads = ["method", "labels", "seed", "Dice [95 %]", "HD95 mm", "ASD mm"]
    heads += [f"- {reference}", "p", "MLflow run"]
    differing = differing_settings([(run.method, run.config) for run in runs])
    rows = [_row(run, _partner(run, runs, reference, differing), differing) for run in runs]
    return as_text(heads, rows)


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without borders; its first column to the left, the others to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _row(run: RunScores, partner: RunScores | None, differing: Sequence[str]) -> list[str]:
    dice = list(run.values("dice").values())
    low, high = bootstrap_interval(dice, 2000, np.random.default_rng(0))
    row = [
        " ".join([run.method, *settings_in_words(run.config, differing)]),
        str(run.labels),
        str(run.seed),
        f"{run.mean('dice'):.3f} [{low:.3f}, {high:.3f}]",
        f"{run.mean('hd95'):.2f}",
        f"{run.mean('asd'):.2f}",
    ]
    return [*row, *_difference(run, partner), run.run_id[:8]]


def _difference(run: RunScores, partner: RunScores | None) -> list[str]:
    if partner is None:
        return ["", ""]
    mine, theirs = run.values("dice"), partner.values("dice")
    common = sorted(set(mine) & set(theirs))
    if len(common) < 2:
        return ["", ""]
    found = paired_difference(
        [mine[case] for case in common],
        [theirs[case] for case in common],
        np.random.default_rng(0),
    )
    return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]


def _partner(
    run: RunScores, runs: Sequence[RunScores], reference: str, differing: Sequence[str]
) -> RunScores | None:
    """The reference run with the same labels and seed; the plainest where there are several."""
    if run.method == reference:
        return None
    fitting = [
        other
        for other in runs
        if (other.method, other.labels, other.seed) == (reference, run.labels, run.seed)
    ]
    mine = settings_in_words(run.config, differing)
    return min(
        fitting,
        key=lambda other: len(set(settings_in_words(other.config, differing)) ^ set(mine)),
        default=None,
    )


def differing_settings(runs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Settings that tell runs apart: other values in runs of one method, or across methods.

    Args:
        runs: method and resolved configuration of each.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    for method, config in runs:
        for key, value in flatten(config).items():
            owner = method if key.startswith("method.") else ""
            seen.setdefault((owner, key), set()).add(repr(value))
    return sorted({key for (_, key), values in seen.items() if len(values) > 1} - set(APART))


def settings_in_words(config: Mapping[str, Any], differing: Sequence[str]) -> list[str]:
    """The differing settings that a run has, e.g. ["members=2"]."""
    flat: dict[str, Any] = flatten(config)
    return [f"{key.removeprefix('method.')}={flat[key]}" for key in differing if key in flat]
