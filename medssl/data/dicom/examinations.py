"""Which examination a file is of, where several share a SeriesInstanceUID.

Careless exports give follow-ups one identity, and damage gives a slice another one. So no single
tag decides: of two examinations at least two of study, date and frame of reference differ, and what
one file among several says alone is taken for damage.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Examination:
    """What a header says of the examination; each is empty where it is not stated.

    Attributes:
        study: StudyInstanceUID.
        date: StudyDate.
        frame: FrameOfReferenceUID.
    """

    study: str = ""
    date: str = ""
    frame: str = ""

    def apart_from(self, other: "Examination") -> bool:
        """Whether both cannot be one."""
        return self._differences(other) > 1

    def may_be_apart_from(self, other: "Examination") -> bool:
        """Whether a tag differs, and no common frame of reference says that both are one."""
        alike = bool(self.frame) and self.frame == other.frame
        return self._differences(other) > 0 and not alike

    def _differences(self, other: "Examination") -> int:
        pairs = (self.study, other.study), (self.date, other.date), (self.frame, other.frame)
        return sum(bool(one and another and one != another) for one, another in pairs)


UNKNOWN = Examination()


def numbered(found: Sequence[Examination]) -> list[int]:
    """The number of the examination that each of some files or slices is of: 0 first, by date."""
    counts, leaders = Counter(found), list[Examination]()
    led: dict[Examination, Examination] = {}
    for one, count in counts.most_common():
        alone = count == 1 and len(found) > len(counts)
        leader = next((other for other in leaders if alone or not one.apart_from(other)), one)
        led[one] = leader
        leaders += [leader] if leader is one else []
    order = sorted(leaders, key=lambda one: one.date)
    return [order.index(led[one]) for one in found]
