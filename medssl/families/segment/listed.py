"""Predictions of a list of studies that no command line holds: one after the other, come what may.

What a line of the list stands for is found while others are predicted. What is done, and what
cannot be, is noted at once, so that the same command continues after whatever ended it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from medssl.errors import UsageError
from medssl.families.segment.asked import Asked
from medssl.families.segment.cohort import VOLUMES
from medssl.families.segment.scans import SERIES, write_series
from medssl.families.segment.work import Opened, Work, failure_of
from medssl.infer.measure import Measured, write_volumes
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.manifest import FAILED, Line, Shard, write_failed
from medssl.pipeline.outputs import Outputs, refuse_inputs
from medssl.pipeline.progress import ProgressReporter, QuietReporter, Steps
from medssl.train.distributed import TEAM

_NAME = "give each a name of its own in a column `name`"


@dataclass
class _Waiting:
    """The cases of a line that are under way.

    Attributes:
        files: what each writes.
        left: how many are not done.
        why: what is wrong with the line.
    """

    line: Line
    files: dict[str, list[str]] = field(default_factory=dict)
    left: int = 0
    why: str = ""


class Listed:
    """Predicts lines of a list.

    Args:
        asked: without cases; those that are under way are added.
        outputs: begun.
    """

    def __init__(self, asked: Asked, outputs: Outputs, keep_ids: bool) -> None:
        self._asked, self._outputs, self._keep_ids = asked, outputs, keep_ids
        self._cases: dict[str, Input] = asked.cases  # type: ignore[assignment]
        self._waiting: deque[_Waiting] = deque()

    def __call__(self, lines: Sequence[Line], work: Work) -> Iterator[bool]:
        """Of each line in turn, whether it has its results."""
        for done in work(self._found(lines)):
            one = self._waiting[0]
            one.left -= 1
            if done.error is not None:
                one.why = one.why or one.line.without_place(str(done.error))
            if self._cases.pop(done.case, None) is None and done.case:
                raise RuntimeError(f"{done.case} was not under way")
            if one.left:
                continue
            self._waiting.popleft()
            if one.why:
                self._outputs.add(failed={one.line.key: one.why})
            elif one.files:
                again = one.line.key in self._outputs.known.get("failed", {})
                self._outputs.add(
                    lines={one.line.key: one.files}, failed={one.line.key: None} if again else {}
                )
            yield not one.why

    def _found(self, lines: Sequence[Line]) -> Iterator[str | Opened]:
        """The cases of each line, and at least one entry without a name."""
        for line in lines:
            one = _Waiting(line)
            found: dict[str, Input] = {}
            if not self._is_done(line):
                try:
                    found = self._inputs(line)
                    for case, given in found.items():
                        if case in self._cases:
                            raise UsageError(f"{case} is the name of another line, too", do=_NAME)
                        self._cases[case] = given
                        one.files[case] = self._asked.names(case)
                        self._outputs.expect(case, self._asked.source(case), one.files[case])
                except Exception as error:
                    one.why = line.without_place(str(failure_of(error)))
                    for case in one.files:
                        self._cases.pop(case, None)
                    found, one.files = {}, {}
            missing = [case for case in found if not self._outputs.has(one.files[case])]
            for case in found:
                if case not in missing:
                    del self._cases[case]
            one.left = len(missing) + 1
            self._waiting.append(one)
            yield from missing
            yield Opened("")

    def _inputs(self, line: Line) -> dict[str, Input]:
        refuse_inputs(self._asked.out, [line.path])
        known = self._asked.found
        found = find_inputs(
            [line.path], known.channels, keep_ids=self._keep_ids, labels=known.classes[1:]
        )
        if not line.name:
            return found
        if len(found) > 1:
            raise UsageError(
                f"line {line.number} stands for {len(found)} cases, and names one",
                do="leave the name out, or give each case a line",
            )
        return dict(zip([line.name], found.values(), strict=True))

    def _is_done(self, line: Line) -> bool:
        """Whether the results of a line are there as they were written."""
        kept = self._outputs.known.get("lines", {}).get(line.key)
        if not isinstance(kept, dict):
            return False
        names = [str(name) for files in kept.values() for name in files]
        self._outputs.look_at(names)
        return self._outputs.has(names)


def predict_lines(
    asked: Asked,
    outputs: Outputs,
    work: Work,
    lines: Sequence[Line],
    shard: Shard,
    reporter: QuietReporter,
    table: Path | None,
    keep_ids: bool,
) -> tuple[int, int]:
    """Predict one shard of a list, or what this process has of all; says how many have results.

    Args:
        asked: what to predict with; its cases are none.
        table: CSV of volumes; None: volumes.csv beside the masks.

    Returns:
        Lines that have results, and lines that have none.
    """
    own = shard.own(lines)
    good = bad = 0
    whole = False
    try:
        with Steps(ProgressReporter(reporter), len(own)) as steps:
            for fine in Listed(asked, outputs, keep_ids)(own, work):
                good, bad = good + fine, bad + (not fine)
                steps.advance()
        if TEAM.size > 1:
            if not TEAM.leads:
                outputs.end()
            counts = TEAM.reported([good, bad])
            good, bad = (sum(numbers) for numbers in zip(*counts, strict=True))
            whole = TEAM.leads
    finally:
        outputs.end(alone=whole)
        if TEAM.leads:
            _write_tables(asked, outputs, lines, table or asked.out / VOLUMES)
    return good, bad


def _write_tables(asked: Asked, outputs: Outputs, lines: Sequence[Line], table: Path) -> None:
    """What is known by now of all shards."""
    known = outputs.known
    write_failed(asked.out / FAILED, lines, known.get("failed", {}))
    write_series(asked.out / SERIES, known.get("series", {}))
    measured = {}
    for case, one in outputs.measured.items():
        with suppress(KeyError, TypeError, ValueError):  # of a prediction that measured nothing
            measured[case] = Measured.from_plain(one)
    if measured:
        named = [(label.value, label.name) for label in asked.found.labels]
        write_volumes(table, measured, named, asked.found.empty_masks, asked.limit)
