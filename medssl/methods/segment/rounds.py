"""Training in rounds: in each, networks learn from what those of the round before say.

Pseudo-labels are what the networks of the last round say of each unlabelled patch, when it comes;
classically of whole cases, stored once a round. The number of rounds is fixed, so that a training
has as many steps as another: no round is left out because pseudo-labels have hardly changed.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn

from medssl.data.batch import Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.ramps import linear_ramp
from medssl.methods.segment.passes import taught_by
from medssl.networks.ensemble import Ensemble

SEEDS = 1000
"""Seeds of networks are apart by this for another seed of the run, and within it by member and
round."""


class InRounds(SegmentMethod):
    """Members that learn side by side, and the members of the round before, who teach.

    Attributes:
        members: networks in training.
        teachers: as the members were when the last round ended.
    """

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")
    on_host: ClassVar[tuple[str, ...]] = ("seed",)
    seed: Tensor

    def __init__(self, task: Task, seed: int, members: int, rounds: int, warm: bool) -> None:
        super().__init__()
        self.task, self.warm, self.parts = task, warm, members
        self.register_buffer("seed", torch.tensor(seed))
        self.members = nn.ModuleList(self._fresh(index, 0) for index in range(members))
        self.teachers = deepcopy(self.members).requires_grad_(False)
        self.rounds = rounds + 1

    def _fresh(self, member: int, number: int) -> nn.Module:
        """A network as a member begins a round with."""
        return self.task.new_network(SEEDS * int(self.seed) + self.parts * number + member)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    @torch.no_grad()
    def begin(self, progress: Progress) -> tuple[int, Progress]:
        """Which round a step is of, and where in it; in the first step of one, members teach.

        They then begin anew from other random weights, or go on if `warm`.
        """
        number, within = progress.within(self.rounds)
        if number and within.step == 1:
            self.teachers.load_state_dict(self.members.state_dict())
            for index, member in enumerate(self.members):
                if not self.warm:
                    fresh = self._fresh(index, number).state_dict()
                    member.load_state_dict(fresh)
        return number, within

    def said(self, image: Tensor) -> list[Tensor]:
        """Probabilities of classes [B, K, X, Y, Z] of each teacher, in evaluation mode."""
        outputs = self.task.outputs
        return [taught_by(one, image, False, outputs).softmax(1) for one in self.teachers]

    def networks(self) -> Iterable[nn.Module]:
        """The members; the teachers have no gradient."""
        return self.members

    def predictor(self) -> Ensemble:
        """Mean of the members."""
        return Ensemble(self.members, self.task.outputs)


def ramp(number: int, within: Progress, weight: float, share: float, start: float = 0.0) -> float:
    """Weight of pseudo-labels: none in the first round, then rising from `start` over `share`."""
    return weight * linear_ramp(within, share, start) if number else 0.0
