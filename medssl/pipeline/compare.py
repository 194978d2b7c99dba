"""The finished runs of a pipeline side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from medssl.errors import UsageError
from medssl.methods.registry import settings_class
from medssl.mistakes import nearest
from medssl.pipeline.comparison import Headline, Result
from medssl.pipeline.config import flatten
from medssl.pipeline.family import find_family
from medssl.pipeline.results import comparison_for, read_results

APART = ("seed", "name", "title", "split.labels", "method.name", "data")
"""Settings that have a column of their own, or do not matter."""


@dataclass(frozen=True)
class Compared:
    """Finished runs side by side.

    Attributes:
        reference: the method that the others are compared with.
        heads, rows: of the table, a row per run.
        headlines: the score by which each run is ranked, in the order of the rows.
    """

    runs: tuple[Result, ...]
    reference: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    headlines: tuple[Headline | None, ...]

    def __str__(self) -> str:
        return as_text(self.heads, self.rows)


def compare(pipeline: str, reference: str = "") -> Compared:
    """The finished runs of a pipeline side by side.

    Each run stands against the `reference` method's run on the same data with the same labels and
    seed: difference of the scores over the same cases, with its 95 % interval.

    Args:
        reference: name of a method; the usual one of the family unless it is given.

    Raises:
        UsageError: there are no finished runs, or none of the reference method.
    """
    runs = read_results(pipeline)
    known = sorted({run.method for run in runs})
    usual = find_family(settings_class(runs[0].method).family).scoring.usual_arms[0]
    if (reference or usual) not in known and (reference or len(known) > 1):
        raise UsageError(
            f"'{pipeline}' has no finished run of '{reference or usual}'",
            do=nearest(reference or usual, known).replace("mean", "mean --reference"),
        )
    return tabulate(runs, reference or usual)


def tabulate(runs: Sequence[Result], reference: str) -> Compared:
    """As `compare`, of runs that are at hand."""
    comparison = comparison_for(runs[0].config)
    axes = [axis for axis in ("data", "labels") if _differs(axis, runs)]
    brief = comparison.brief
    chosen = dict(enumerate(comparison.differences)) if brief is None else brief
    heads = ["method", *axes, "seed", *comparison.heads()]
    heads += [head.format(f"- {reference}") for head in chosen.values()]
    differing = differing_settings([(run.method, run.config) for run in runs])
    rows = []
    for run in runs:
        words = " ".join([run.method, *settings_in_words(run.config, differing)])
        partner = _partner(run, runs, reference, differing)
        row = [words, *(str(getattr(run, axis) or "all") for axis in axes), str(run.seed)]
        row += comparison.cells({run.seed: run})
        cells = (
            [] if partner is None else comparison.difference({run.seed: run}, {run.seed: partner})
        )
        row += [cells[number] if cells else "" for number in chosen]
        rows.append([*row, run.run_id[:8]])
    told = [
        place for place in range(len(heads)) if any(row[place] not in ("", "-") for row in rows)
    ]
    shown = tuple((*(row[place] for place in told), row[-1]) for row in rows)
    headlines = tuple(comparison.headline(run) for run in runs)
    named = (*(heads[place] for place in told), "MLflow run")
    return Compared(tuple(runs), reference, named, shown, headlines)


def _differs(axis: str, runs: Sequence[Result]) -> bool:
    """Label budgets are always told where there are any; data sets where there are several."""
    values = {getattr(run, axis) for run in runs}
    return len(values) > 1 or (axis == "labels" and values != {0})


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


def _partner(
    run: Result, runs: Sequence[Result], reference: str, differing: Sequence[str]
) -> Result | None:
    """The reference run on the same data, labels and seed; of several, the most alike."""
    if run.method == reference:
        return None
    wanted = (reference, run.data, run.labels, run.seed)
    mine = set(settings_in_words(run.config, differing))
    return min(
        (one for one in runs if (one.method, one.data, one.labels, one.seed) == wanted),
        key=lambda other: len(set(settings_in_words(other.config, differing)) ^ mine),
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
