"""A network that learns, and its moving average: what mean teacher, BCP and UniMatch begin with."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from torch import nn

from medssl.data.batch import Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import SegmentMethod, Task
from medssl.networks.ensemble import Ensemble


class StudentTeacher(SegmentMethod):
    """Two networks that start alike, of which the student alone has gradients."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")
    settings: Any

    def __init__(self, settings: Any, task: Task, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.outputs = task.outputs
        self.student = task.new_network(1000 * seed)
        self.teacher = deepcopy(self.student).requires_grad_(False)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def networks(self) -> Iterable[nn.Module]:
        """The student; the teacher has no gradient."""
        yield self.student

    def predictor(self) -> Ensemble:
        """The student, the teacher or both, as `method.predictor` says."""
        found = {
            "student": [self.student],
            "teacher": [self.teacher],
            "both": [self.student, self.teacher],
        }
        return Ensemble(found[self.settings.predictor], self.outputs)
