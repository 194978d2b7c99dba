"""The page of a league: scores with intervals, ranks, and what has not been run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from medssl.atomic import write_text
from medssl.environment import runs_root
from medssl.evaluate.page import render_page
from medssl.pipeline.comparison import Headline, Result
from medssl.pipeline.league import League, Place
from medssl.pipeline.results import comparison_of
from medssl.pipeline.study import cells
from medssl.pipeline.study_report import finished, machine
from medssl.pipeline.study_tasks import failures_of
from medssl.train.fingerprint import code_version


@dataclass(frozen=True)
class Entry:
    """One arm in one column.

    Attributes:
        found: mean over seeds with its interval; None where no run is finished.
        seeds: finished ones.
        rank: among the arms with a score here, 1 the best; equals share theirs.
        why: there is no score.
    """

    found: Headline | None = None
    seeds: int = 0
    rank: float = float("nan")
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One arm over all columns.

    Attributes:
        beaten: mean over columns of the share of the other arms that score less, equals half; NaN
            where it stands alone everywhere.
        rank: mean over the same columns.
        columns: in how many it has a score.
    """

    arm: str
    entries: Sequence[Entry]
    beaten: float
    rank: float
    columns: int


def standings(league: League, columns: Sequence[Place]) -> list[Row]:
    """The arms, those that beat the largest share of others first."""
    entries = [_column(league, place) for place in columns]
    rows = [_row(arm, [one[arm] for one in entries], entries) for arm in league.arms]
    return sorted(rows, key=lambda row: -np.nan_to_num(row.beaten, nan=-1.0))


def _column(league: League, place: Place) -> dict[str, Entry]:
    comparison = comparison_of(place.config.family)
    arms: dict[str, dict[int, Result]] = {}
    for cell, run in finished(place.study, cells(place.study))[0].items():
        arms.setdefault(cell.arm, {})[cell.seed] = run
    found = {arm: comparison.standing(runs) for arm, runs in arms.items()}
    ranks = rankdata([-one.value for one in found.values()])
    ranked = dict(zip(found, ranks.tolist(), strict=True))
    reasons = _reasons(place)
    return {
        arm: Entry(found[arm], len(arms[arm]), ranked[arm])
        if arm in found
        else Entry(why=reasons.get(arm, "not run" if arm in place.study.arms else "not for this"))
        for arm in league.arms
    }


def _reasons(place: Place) -> dict[str, str]:
    """Why arms without a score have none, where that is known."""
    found = {arm: f"does not fit: {why}" for arm, why in place.unfit.items()}
    for failure in failures_of(place.study):
        for arm in place.study.arms:
            if f"arm {arm}," in f"{failure.task},":
                found.setdefault(arm, f"failed: {failure.reason}")
    return found


def _row(arm: str, own: Sequence[Entry], columns: Sequence[Mapping[str, Entry]]) -> Row:
    ranks, shares = [], []
    for entry, column in zip(own, columns, strict=True):
        others = sum(one.found is not None for one in column.values()) - 1
        if entry.found is not None and others:
            ranks.append(entry.rank)
            shares.append(1 - (entry.rank - 1) / others)
    beaten, rank = (float(np.mean(one)) if one else float("nan") for one in (shares, ranks))
    return Row(arm, own, beaten, rank, sum(entry.found is not None for entry in own))


def write_league(league: League, columns: Sequence[Place], command: str = "") -> Path:
    """Write league.html of what has been run so far; returns where it is."""
    rows = standings(league, columns)
    specs = {spec.name: spec for place in columns for spec in place.config.specs}
    scores = [
        [one.name for row in rows if (one := row.entries[number].found) is not None]
        for number in range(len(columns))
    ]
    heads = [(place, *names[:1]) for place, names in zip(columns, scores, strict=True)]
    page = render_page(
        "league.html.j2",
        {
            "title": league.title or league.name,
            "heads": heads,
            "rows": rows,
            "seeds": league.seeds,
            "simulated": [name for name, spec in specs.items() if spec.simulated],
            "command": command,
            "code": code_version(),
            "machine": machine(),
        },
    )
    path = runs_root() / league.name / "league.html"
    write_text(path, page)
    return path
