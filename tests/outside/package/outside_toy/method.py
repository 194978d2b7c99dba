"""The method `steady`."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from medssl.data.batch import Batch, Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.segment.losses import supervised_loss
from medssl.networks.build import build_network
from medssl.networks.ensemble import Ensemble
from outside_toy.settings import Settings


class Steady(SegmentMethod):
    """One network, whose logits are not to change under noise."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings = settings
        channels, classes = len(task.channels), len(task.classes)
        self.network = build_network(task.network, channels, classes, seed, task.encoder)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """The loss against labels, and the change under noise."""
        labelled, scans = batches["labelled"], batches["unlabelled"].image[:, 0]
        noise = torch.randn(scans.shape, generator=generator, device=scans.device)
        moved = self.network(scans + self.settings.noise * noise)
        return {
            "supervised": supervised_loss(self.network(labelled.image[:, 0]), labelled.truth),
            "steady": self.settings.weight * mse_loss(moved, self.network(scans).detach()),
        }

    def predictor(self) -> Ensemble:
        """The network."""
        return Ensemble([self.network])
