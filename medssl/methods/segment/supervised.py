"""Supervised training: the baseline that every other method has to beat."""

from collections.abc import Iterable
from functools import partial

from torch import Generator, Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.draws import uniform
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import supervised_loss
from medssl.methods.settings.supervised import Settings
from medssl.networks.ensemble import Ensemble
from medssl.networks.heads import heads_of


class Supervised(SegmentMethod):
    """Cross-entropy and Dice; several members train side by side on the same batches."""

    streams: tuple[Stream, ...] = ("labelled",)

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.members = nn.ModuleList(
            task.new_network(1000 * seed + index) for index in range(settings.members)
        )
        self.outputs = task.outputs
        self.parts = settings.members
        self.on_labels = OnLabels(partial(supervised_loss, dice=settings.dice), task)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """The supervised loss of one member."""
        batch = batches["labelled"]
        image, amplitude = batch.image[:, 0], self.settings.noise
        if amplitude:
            image = image + uniform(image.shape, -amplitude, amplitude, image, generator)
        heads = heads_of(self.members[part], image)
        return {f"supervised_{part + 1}": self.on_labels(heads, batch, progress)}

    def networks(self) -> Iterable[nn.Module]:
        """The members."""
        return self.members

    def predictor(self) -> Ensemble:
        """Mean of the members."""
        return Ensemble(self.members, self.outputs)
