"""What a run will take, as told before it starts."""

import time
from dataclasses import dataclass
from typing import NamedTuple


class Pace(NamedTuple):
    """Seconds that one thing takes.

    Attributes:
        wall: as a clock on the wall has them; on a machine that others use, as of now.
        processor: of all cores together, which other work changes little.
    """

    wall: float
    processor: float

    def times(self, count: float) -> "Pace":
        """The time of so many steps in a row."""
        return Pace(self.wall * count, self.processor * count)

    def and_then(self, other: "Pace") -> "Pace":
        """The time of both, one after the other."""
        return Pace(self.wall + other.wall, self.processor + other.processor)

    @classmethod
    def now(cls) -> "Pace":
        """Seconds that both clocks show now; meant for `since`."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, before: "Pace") -> "Pace":
        """The time between an earlier look at the clocks and this one."""
        return Pace(self.wall - before.wall, self.processor - before.processor)


OPENING = Pace(0.3, 0.3)
"""Of a training or a prediction beside its work: an entry in MLflow, opened and closed, and the
networks read or written. It is next to nothing of a long one and a third of one of seconds."""


@dataclass(frozen=True)
class Foretold:
    """What a run will take.

    Attributes:
        step: of training.
        steps: of each training.
        trainings: those of the folds, and the last.
        window: of prediction.
        mask: beside what the network takes: reading and preparing a scan, writing its mask.
        validated: windows that are predicted during all trainings.
        predicted: windows that are predicted afterwards.
        masks: that are made afterwards.
        memory: bytes.
        device: in words.
        limit: GB that were planned for; None where none were given, or for another device.
    """

    step: Pace
    steps: int
    trainings: int
    window: Pace
    mask: Pace
    validated: int
    predicted: int
    masks: int
    memory: int
    device: str
    limit: float | None = None

    @property
    def training(self) -> Pace:
        """Of all trainings."""
        steps = self.step.times(self.steps * self.trainings)
        looks = self.window.times(self.validated)
        return steps.and_then(looks).and_then(OPENING.times(self.trainings))

    @property
    def prediction(self) -> Pace:
        """Of all masks that are made afterwards."""
        windows, masks = self.window.times(self.predicted), self.mask.times(self.masks)
        return windows.and_then(masks).and_then(OPENING)

    def __str__(self) -> str:
        folds = f"{self.trainings} trainings of {self.steps} steps"
        what = folds if self.trainings > 1 else f"{self.steps} steps"
        said = f"{what} at {self.step.wall:.2g} s will take about {duration(self.training.wall)}"
        if self.masks:
            said += f", then {self.masks} masks about {duration(self.prediction.wall)}"
        needed, limit = self.memory / 1e9, self.limit
        beyond = limit is not None and needed > limit
        more = f", more than the {limit:.2g} GB of plan.memory" if beyond else ""
        return f"{said}; they need {needed:.2g} GB on the {self.device}{more}"


def duration(seconds: float) -> str:
    """A time in words, e.g. "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
