"""What a study shows: its tables, arms against the best, and the learning curve of each arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import write_bytes, write_text
from medssl.data.csv_table import table_text
from medssl.data.spec import load_spec
from medssl.evaluate.figure import png_of
from medssl.evaluate.statistics import crossed_means
from medssl.pipeline.comparison import DRAWS, Comparison, Result, Runs
from medssl.pipeline.study import CEILING, Cell, Study


def tables(study: Study, results: Mapping[Cell, Result], comparison: Comparison) -> list[str]:
    """Lines of Markdown: a section per label budget or data set."""
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
    arm: np.ndarray, reference: np.ndarray, ceiling: np.ndarray
) -> tuple[float, float, float]:
    """Share of the gap between reference and ceiling that an arm closes, with its 95 % interval.

    The bootstrap draws items, the same for all three, and seeds, the same for those that have as
    many; draws without a gap are left out.

    Args:
        arm, reference, ceiling: scores [S, N] of the same N test items, a row for each seed.
    """
    tables = [arm, reference, ceiling]
    tops, lows, highs = crossed_means(tables, DRAWS, np.random.default_rng(0))
    valid = highs > lows
    shares = (tops - lows)[valid] / (highs - lows)[valid]
    mine, low, high = (table.mean() for table in tables)
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
    arms = runs, base, top
    common = sorted(set.intersection(*(set(comparison.pooled(one)) for one in arms)))
    share, low, high = gap_closed(*(comparison.table(one, common) for one in arms))
    return f"{share:.0%} [{low:.0%}, {high:.0%}]"


def _mean(runs: Runs, comparison: Comparison) -> float:
    return float(np.mean([comparison.mean(run) for run in runs.values()]))


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table and an empty line."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, *rows)]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:], ""]


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
    """All arms and budgets, their intervals over items and seeds."""
    grouped: dict[tuple[str, int], dict[int, Result]] = {}
    for cell, run in results.items():
        grouped.setdefault((cell.arm, cell.labels or 0), {})[cell.seed] = run
    found = []
    for (arm, labels), runs in grouped.items():
        mean = float(np.mean(list(comparison.pooled(runs).values())))
        found.append(Point(arm, labels, len(runs), mean, *comparison.interval(runs)))
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
    figure.legend(loc="outside lower center", ncols=3, frameon=False)  # hides no interval
    return png_of(figure)
