"""The tables of a study's page: a section per label budget or data set, arms against the best."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.data.spec import load_spec
from medssl.pipeline.comparison import DRAWS, Comparison, Result, Runs
from medssl.pipeline.study import CEILING, Cell, Study


def tables(study: Study, results: Mapping[Cell, Result], comparison: Comparison) -> list[str]:
    """Lines of Markdown."""
    own = comparison.tables(study, results)
    if own is not None:
        return own
    budget = comparison.budget
    top = {cell.seed: run for cell, run in results.items() if cell.arm == CEILING}
    lines: list[str] = []
    for data in study.data or (None,):
        for labels in study.labels or (None,):
            arms: dict[str, dict[int, Result]] = {}
            for cell, run in results.items():
                if (cell.data, cell.labels) == (data, labels) and cell.arm != CEILING:
                    arms.setdefault(cell.arm, {})[cell.seed] = run
            if data is not None:
                lines += [f"## {data}{' (simulated)' if load_spec(data).simulated else ''}", ""]
            if labels is not None:
                lines += [f"## {labels} {budget}", ""]
            lines += _section(study, arms, comparison, top) if arms else ["No run is finished.", ""]
    if top:
        amount = next(iter(top.values())).labels or "all"
        lines += [f"## Ceiling: {amount} {budget}", "", *_scores({CEILING: top}, comparison)]
    return lines


def strongest(study: Study, arms: Mapping[str, Runs], comparison: Comparison) -> str | None:
    """The reference arm: of several, the one of the highest mean over seeds."""
    known = [name for name in study.reference if name in arms]
    return max(known, key=lambda name: _mean(arms[name], comparison), default=None)


def gap_closed(
    arm: Mapping[str, float], reference: Mapping[str, float], ceiling: Mapping[str, float]
) -> tuple[float, float, float]:
    """Share of the gap between reference and ceiling that an arm closes, with its 95 % interval.

    The bootstrap draws items, the same for all three; draws without a gap are left out.

    Args:
        arm, reference, ceiling: score of each test item.
    """
    common = sorted(set(arm) & set(reference) & set(ceiling))
    table = np.array([[one[item] for item in common] for one in (arm, reference, ceiling)])
    drawn = np.random.default_rng(0).integers(len(common), size=(DRAWS, len(common)))
    tops, lows, highs = table[:, drawn].mean(axis=2)
    valid = highs > lows
    shares = (tops - lows)[valid] / (highs - lows)[valid]
    mine, low, high = table.mean(axis=1)
    interval = np.quantile(shares, [0.025, 0.975]) if len(shares) else (np.nan, np.nan)
    return float((mine - low) / (high - low)), float(interval[0]), float(interval[1])


def _section(
    study: Study, arms: Mapping[str, Runs], comparison: Comparison, top: Runs
) -> list[str]:
    reference = strongest(study, arms, comparison)
    others = [name for name in arms if name != reference]
    lines = _scores(arms, comparison)
    if reference is None or not others:
        return lines
    base = arms[reference]
    gaps = comparison.score and top and _mean(top, comparison) > _mean(base, comparison)
    heads = [
        f"arm less {reference}",
        *(head.format("difference") for head in comparison.differences),
    ]
    rows = [
        [name, *comparison.difference(arms[name], base)]
        + ([_gap(arms[name], base, top, comparison)] if gaps else [])
        for name in others
    ]
    return [*lines, *markdown([*heads, *(["gap closed [95 %]"] if gaps else [])], rows)]


def _scores(arms: Mapping[str, Runs], comparison: Comparison) -> list[str]:
    rows = []
    for name, runs in arms.items():
        by_seed = ", ".join(f"{comparison.mean(runs[seed]):.3f}" for seed in sorted(runs))
        rows.append([name, str(len(runs)), *comparison.cells(runs), by_seed])
    heads = ["arm", "seeds", *comparison.heads(), "by seed"]
    told = [place for place in range(len(heads)) if any(row[place] != "-" for row in rows)]
    return markdown([heads[n] for n in told], [[row[n] for n in told] for row in rows])


def _gap(runs: Runs, base: Runs, top: Runs, comparison: Comparison) -> str:
    pooled = [comparison.pooled(one) for one in (runs, base, top)]
    share, low, high = gap_closed(*pooled)
    return f"{share:.0%} [{low:.0%}, {high:.0%}]"


def _mean(runs: Runs, comparison: Comparison) -> float:
    return float(np.mean([comparison.mean(run) for run in runs.values()]))


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table and an empty line."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, *rows)]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:], ""]
