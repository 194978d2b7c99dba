"""What a finished run of slides says to people: its score, and which calls to look at first."""

from collections.abc import Sequence

from medssl.evaluate.slide_calls import read_calls_csv
from medssl.families.slide.cohort import SlidePlan, results
from medssl.names import some_of
from medssl.pipeline.results import score_in_words

FIRST = 5
"""So many slides are named as the first to look at."""


def found(plan: SlidePlan) -> list[str]:
    """The score in a line, and the most doubtful calls of slides without a class, if any."""
    return [*score_in_words(plan), *_next(plan)]


def _next(plan: SlidePlan) -> list[str]:
    noun = "slide" if plan.config.tiled else "bag"
    places = results(plan)
    bare = {case.id for case in plan.cohort.cases if case.extra.get("class") is None}
    rows = [row for row in read_calls_csv(places["calls"]) if row["slide"] in bare]
    if rows:
        first = sorted(rows, key=lambda row: margin(row, plan.config.classes))
        names = some_of([row["slide"] for row in first], FIRST)
        what = f"{len(rows)} {noun}s without a class are called"
        if len(rows) == 1:
            what = f"1 {noun} without a class is called"
        return [
            f"{what} in {places['calls']}; look first, where the model doubts most, at {names}; "
            "what you know of them goes into the table of labels, then run again"
        ]
    if not plan.config.tiled:
        return []
    return [f"`medssl predict {places['model']} SLIDE.svs --out calls` calls a further slide"]


def margin(row: dict[str, str], classes: Sequence[str]) -> float:
    """How far a call is from another one: from the threshold, or of the two likeliest classes."""
    values = [float(row[name]) for name in classes]
    if len(values) == 2:
        return abs(values[1] - float(row["threshold"]))
    second, first = sorted(values)[-2:]
    return first - second
