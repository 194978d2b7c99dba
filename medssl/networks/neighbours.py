"""A classifier by nearest neighbours: nothing is trained, labelled examples are kept.

Source: Wu et al., Unsupervised feature learning via non-parametric instance discrimination, CVPR
2018, as DINO and Battle of the Backbones (NeurIPS 2023) ask frozen encoders: cosine similarity s,
votes exp(s / 0.07). Features are set to mean 0 and deviation 1 over the examples first, so that
every channel counts.

Legend: B items, C channels, M examples, N queries, E features, K classes, X Y Z voxels.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, normalize

from medssl.networks.channel_groups import Use, only
from medssl.networks.encoder import VolumeEncoder

TEMPERATURE = 0.07

CHUNK = 1 << 14
"""Voxels that are classified at once, so that memory stays bounded."""

_NEAR = 1e-5


class Neighbours(nn.Module):
    """Features [N, E] to logits [N, K] by a vote of the most similar examples.

    Without examples all classes are alike.

    Attributes:
        examples: [M, E].
        labels: [M] int64.
    """

    examples: Tensor
    labels: Tensor

    def __init__(self, width: int, classes: int, nearest: int) -> None:
        super().__init__()
        self.classes, self.nearest = classes, nearest
        self.register_buffer("examples", torch.zeros(0, width))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_as_many)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def keep(self, features: Tensor, labels: Tensor) -> None:
        """Keep features [N, E] and their labels [N], but for those that are kept already."""
        features = features.float()
        if len(self.examples):
            exact = "donot_use_mm_for_euclid_dist"
            apart = torch.cdist(features, self.examples, compute_mode=exact).amin(1)
            new = apart > _NEAR * features.norm(dim=1)
            features, labels = features[new], labels[new]
        self.examples = torch.cat([self.examples, features])
        self.labels = torch.cat([self.labels, labels.to(self.labels)])

    def forward(self, features: Tensor) -> Tensor:
        """Logarithms of each class's share of the votes."""
        if not len(self.examples):
            return features.new_zeros(len(features), self.classes)
        spread, mean = torch.std_mean(self.examples, 0, correction=0)
        spread = spread.clamp_min(torch.finfo(spread.dtype).eps)
        known, asked = (
            normalize((one - mean) / spread, dim=1) for one in (self.examples, features.float())
        )
        nearest = (asked @ known.T).topk(min(self.nearest, len(known)), dim=1)
        votes = ((nearest.values - 1) / TEMPERATURE).exp()
        shares = votes.new_zeros(len(features), self.classes)
        shares.scatter_add_(1, self.labels[nearest.indices], votes)
        return (shares / shares.sum(1, keepdim=True)).clamp_min(1e-6).log()


def _as_many(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for as many examples as a state holds."""
    for name in ("examples", "labels"):
        kept, own = state.get(prefix + name), getattr(module, name)
        if kept is not None and kept.shape[1:] == own.shape[1:]:
            setattr(module, name, own.new_zeros(kept.shape))


class NeighbourNetwork(nn.Module):
    """An encoder at rest, and the vote of labelled voxels over the features of all its levels."""

    def __init__(
        self, encoder: VolumeEncoder, classes: int, nearest: int, use: Use = "both"
    ) -> None:
        super().__init__()
        self.encoder, self.use = encoder.requires_grad_(False), use
        self.decoder = Neighbours(sum(encoder.widths), classes, nearest)

    @torch.no_grad()
    def features(self, image: Tensor) -> list[Tensor]:
        """Features of every level of images [B, C, X, Y, Z], as in evaluation mode."""
        training = self.encoder.training
        found = only(self.encoder.eval()(image), self.use)
        self.encoder.train(training)
        return found

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        features, shape = self.features(image), image.shape[2:]
        voxels = torch.split(torch.arange(shape.numel(), device=image.device), CHUNK)
        answers = [
            torch.cat([self.decoder(at([one[item : item + 1] for one in features], shape, part))
                       for part in voxels])
            for item in range(len(image))
        ]  # fmt: skip
        return torch.stack(answers).transpose(1, 2).reshape(len(image), -1, *shape)


def at(maps: Sequence[Tensor], shape: Sequence[int], voxels: Tensor) -> Tensor:
    """Features of single voxels of an image: those of all levels, one after the other, [N, E].

    They are interpolated as `torch.nn.functional.interpolate` enlarges a map to the image.

    Args:
        maps: [1, E_l, ...] of each level.
        shape: of the image, X Y Z or X Y.
        voxels: [N] places in the image, counted row by row.
    """
    places = torch.stack(list(_between(voxels, shape))[::-1], -1)  # the last axis first
    grid = places.view(1, -1, *[1] * (len(shape) - 1), len(shape))
    found = [
        grid_sample(one.float(), grid, padding_mode="border", align_corners=False) for one in maps
    ]
    return torch.cat(found, 1).flatten(2)[0].T


def _between(voxels: Tensor, shape: Sequence[int]) -> Iterator[Tensor]:
    """Middles of voxels along each axis, -1 and 1 being the image's borders."""
    rest = voxels
    for axis, side in enumerate(shape):
        below = torch.Size(shape[axis + 1 :]).numel()
        yield ((rest // below) * 2 + 1) / side - 1
        rest = rest % below
