"""DMPLS: one encoder, two decoders, and pseudo-labels mixed of both, for scribbles.

Source: Luo et al., MICCAI 2022, arXiv 2203.02106, by WSL4MIS (sheet of partial labels, section 3);
DMSPS's first stage (Han et al. 2024) with its cross-entropy of logits, where the release takes the
softmax twice.

Legend: B items, C channels, K classes or regions, X Y Z voxels.
"""

from collections.abc import Iterable

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.draws import host, placed
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.segment.features import channels_kept, reach_features
from medssl.methods.segment.labelled_loss import OnLabels, known_cross_entropy
from medssl.methods.segment.losses import (
    at_least_float32,
    masked_dice,
    over_heads,
    probabilities,
)
from medssl.methods.settings.dmpls import Settings
from medssl.networks.encoder_decoder import Features, changed_features, divide, drop_encoder
from medssl.networks.ensemble import Ensemble
from medssl.networks.heads import heads_of
from medssl.networks.rows import rows_here


def mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Probabilities [B, K, X, Y, Z]: `share` of the first and the rest of the second, detached."""
    return (share * first + (1 - share) * second).detach()


class Dmpls(SegmentMethod):
    """A network, and a second decoder that sees its features with dropped channels."""

    streams: tuple[Stream, ...] = ("labelled",)

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings, self.outputs = settings, task.outputs
        self.main, self.second = task.new_network(1000 * seed), task.new_network(1000 * seed + 1)
        advice = "name another network, such as monai:SegResNet"
        parts = reach_features(self.main, task, "dmpls", advice).parts
        divide(self.second, parts)
        drop_encoder(self.second)
        self.on_labels = OnLabels(known_cross_entropy, task)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """What scribbles cost both decoders, and what their mixture does, over all voxels."""
        batch = batches["labelled"]
        image = batch.image[:, 0]
        both = self._answers(image, generator)
        first, second = (
            self.outputs.as_classes(at_least_float32(heads[0])).softmax(1) for heads in both
        )
        share = torch.rand(1, generator=host(generator))
        target = mixed(first, second, float(share))
        labels = torch.stack([self.on_labels(heads, batch, progress) for heads in both]).mean()
        taught = torch.stack([self._pseudo(heads, target) for heads in both]).mean()
        return {"supervised": labels, "pseudo": self._weight(progress) * taught}

    def _answers(self, image: Tensor, generator: Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Heads of both decoders on the features of one encoder."""

        def keep(features: Features) -> Features:
            kept.append(self._dropped(features, generator))
            return features

        kept: list[Features] = []
        with changed_features(self.main, keep):
            first = heads_of(self.main, image)
        with changed_features(self.second, kept[0]):
            second = heads_of(self.second, image)
        return first, second

    def _dropped(self, features: Features, generator: Generator) -> Features:
        here, dropped = rows_here(len(features.image)), []
        for one in features.maps:
            shape = (here.total, *one.shape[1:])
            kept = channels_kept(shape, self.settings.dropout, generator, one.device)
            dropped.append(one * kept[placed(here.index, one)].to(one.dtype))
        return features._replace(maps=dropped)

    def _pseudo(self, heads: list[Tensor], target: Tensor) -> Tensor:
        """What a mixture [B, K, X, Y, Z] of probabilities costs one decoder, over all voxels."""
        if self.settings.target == "soft":
            said = self.outputs.as_classes(at_least_float32(heads[0])).log_softmax(1)
            return -(target * said).sum(1).mean()
        label = self.outputs.targets(target.argmax(1))
        return over_heads(heads, self._dice, label)

    @staticmethod
    def _dice(logits: Tensor, label: Tensor) -> Tensor:
        found = probabilities(at_least_float32(logits), label)
        return masked_dice(found, label, torch.ones_like(label), smooth=1e-10)

    def _weight(self, progress: Progress) -> float:
        low, high = self.settings.rampup
        done = progress.step / progress.steps
        risen = 1.0 if done >= high else max(0.0, (done - low) / (high - low))
        return self.settings.weight * risen

    def networks(self) -> Iterable[nn.Module]:
        """The network, and the second decoder."""
        yield self.main
        yield self.second

    def predictor(self) -> Ensemble:
        """The network with the first decoder."""
        return Ensemble([self.main], self.outputs)
