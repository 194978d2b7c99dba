"""Carrying out a league: its columns one after the other, each as a study."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from medssl.pipeline.league import League, Place, places, select
from medssl.pipeline.league_page import write_league
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study_run import StudyEnd

Carry = Callable[[Place, Sequence[str]], StudyEnd]


def run_league(
    league: League, reporter: QuietReporter, only: Sequence[str], command: str, carry: Carry
) -> StudyEnd:
    """Carry out what is missing of the columns that `only` names, and write the page.

    A run that fails stops no other; neither does a column.

    Args:
        carry: carries out a column, or hands it over to a cluster, given what narrows it.

    Raises:
        UsageError: as `select`.
        Stopped: a signal asked for it; the same call continues.
    """
    chosen = select(league, only)
    for place, _ in chosen:
        for arm, why in place.unfit.items():
            reporter.note(f"{place.task}, {place.protocol}: {arm} does not fit: {why}")
    ends = []
    for number, (place, further) in enumerate(chosen, 1):
        reporter.note(f"column {number}/{len(chosen)}: {place.task}, {place.protocol}")
        end = carry(place, further)
        where = f"{place.task}, {place.protocol}: "
        ends.append(replace(end, failures=tuple(
            replace(one, task=where + one.task) for one in end.failures
        )))  # fmt: skip
        page = write_league(league, places(league), command)
    said = "\n".join([*(end.said for end in ends), f"page     {page}"])
    failures = tuple(one for end in ends for one in end.failures)
    return StudyEnd(said, failures, sum(end.tried for end in ends))
