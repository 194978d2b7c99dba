"""What a run will take, as told before it starts, of whichever family."""

import time
from dataclasses import dataclass
from typing import NamedTuple

FEWEST = 50
"""Steps of a whole run below which nothing is worth telling."""


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


NO_TIME = Pace(0.0, 0.0)

OPENING = Pace(0.3, 0.3)
"""Of a training or a prediction beside its work: an entry in MLflow, opened and closed, and the
networks read or written. It is next to nothing of a long one and a third of one of seconds."""


@dataclass(frozen=True)
class Foretold:
    """What a run will take.

    Attributes:
        step: of training.
        steps: of each training: those of the folds, and the last.
        answer: of what a trained network answers to: a window of a scan, an image, a bag.
        validated: answers that are given during all trainings.
        predicted: answers that are given afterwards.
        result: beside what the networks take: reading and preparing a case, writing what is made.
        results: that are made afterwards.
        named: what they are called.
        memory: bytes.
        device: in words.
        save: of writing weights during a training, where that takes time beside the steps.
        saves: during all trainings.
        limit: GB that were planned for; None where none were given, or for another device.
    """

    step: Pace
    steps: tuple[int, ...]
    answer: Pace
    validated: float
    predicted: float
    result: Pace
    results: int
    named: str
    memory: int
    device: str
    save: Pace = NO_TIME
    saves: int = 0
    limit: float | None = None

    @property
    def training(self) -> Pace:
        """Of all trainings."""
        steps = self.step.times(sum(self.steps)).and_then(OPENING.times(len(self.steps)))
        answers, saves = self.answer.times(self.validated), self.save.times(self.saves)
        return steps.and_then(answers).and_then(saves)

    @property
    def prediction(self) -> Pace:
        """Of all results that are made afterwards."""
        answers, results = self.answer.times(self.predicted), self.result.times(self.results)
        return answers.and_then(results).and_then(OPENING)

    def __str__(self) -> str:
        least, most = min(self.steps), max(self.steps)
        what = f"{most} steps" if least == most else f"{least} to {most} steps"
        if len(self.steps) > 1:
            what = f"{len(self.steps)} trainings of {what}"
        said = f"{what} at {self.step.wall:.2g} s will take about {duration(self.training.wall)}"
        if self.results:
            said += f", then {self.results} {self.named} about {duration(self.prediction.wall)}"
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
