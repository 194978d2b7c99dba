"""Alice's network: an encoder, a decoder, and a head on the tokens of both.

Source: sheet of Alice, sections 3 (steps 6, 7) and 4.

Legend: B crops, E channels of the deepest level, Lq its tokens, Ld tokens of the first decoder map,
b bottleneck of the head, O outputs (prototypes), X Y Z voxels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from medssl.networks.dino_head import Prototypes
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.skip_decoder import SkipDecoder


class Answers(NamedTuple):
    """What the network says of crops.

    Attributes:
        pooled: [B, E], mean of the deepest level's tokens.
        unit: [B, b], of unit length, what the head makes of `pooled` before the prototypes.
        scores: [B, O], cosines of `unit` with the prototypes.
        tokens: [B, Lq, O], scores of every token of the deepest level, with prototypes of their
            own.
        context: [B, Ld, O], scores of every token of the first decoder map; None if not asked for.
        values: [B, 1, X, Y, Z], the crop filled in; None where not asked for.
    """

    pooled: Tensor
    unit: Tensor
    scores: Tensor
    tokens: Tensor
    context: Tensor | None
    values: Tensor | None


class AliceHead(nn.Module):
    """Two projections to one width, an MLP for all, and prototypes for crops and for tokens.

    Args:
        project_crops: whether pooled features pass the projection of the deepest level's tokens.
    """

    def __init__(
        self,
        deep: int,
        upper: int,
        hidden: int,
        bottleneck: int,
        outputs: int,
        project_crops: bool = True,
    ) -> None:
        super().__init__()
        self.project_crops = project_crops
        self.project = nn.Linear(deep, deep)
        self.project_upper = nn.Linear(upper, deep)
        self.mlp = nn.Sequential(
            nn.Linear(deep, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.crops = Prototypes(bottleneck, outputs, fixed_gain=True)
        self.patches = Prototypes(bottleneck, outputs, fixed_gain=True)

    def crop(self, pooled: Tensor) -> Tensor:
        """Pooled features [B, E] to [B, b] of unit length."""
        return self.unit(self.project(pooled) if self.project_crops else pooled)

    def unit(self, projected: Tensor) -> Tensor:
        """[..., E] to [..., b] of unit length."""
        return normalize(self.mlp(projected), dim=-1)


class AliceNetwork(nn.Module):
    """The student; the teacher is a copy of it."""

    def __init__(
        self,
        encoder: VolumeEncoder,
        hidden: int,
        bottleneck: int,
        outputs: int,
        seed: int,
        project_crops: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = SkipDecoder(encoder.widths, encoder.strides)
            deep, upper = encoder.widths[-1], encoder.widths[-2]
            self.head = AliceHead(deep, upper, hidden, bottleneck, outputs, project_crops)

    def forward(
        self, image: Tensor, *, context: bool = True, values: bool = True, frozen: bool = False
    ) -> Answers:
        """Crops [B, 1, X, Y, Z] to the network's answers.

        Args:
            context: whether the decoder's tokens are wanted.
            values: whether the crop filled in is wanted.
            frozen: no gradient reaches the prototypes.
        """
        features = self.encoder(image)
        deep = features[-1].flatten(2).transpose(1, 2)
        pooled = deep.mean(1)
        head = self.head
        unit = head.crop(pooled)
        tokens = head.patches(head.unit(head.project(deep)), frozen)
        first = self.decoder.first(features) if context or values else None
        upper = filled = None
        if context and first is not None:
            flat = head.project_upper(first.flatten(2).transpose(1, 2))
            upper = head.patches(head.unit(flat), frozen)
        if values and first is not None:
            filled = self.decoder.rest(first, features)
        return Answers(pooled, unit, head.crops(unit, frozen), tokens, upper, filled)

    def filled(self, image: Tensor) -> Tensor:
        """Crops [B, 1, X, Y, Z] filled in, without the head."""
        features = self.encoder(image)
        return self.decoder.rest(self.decoder.first(features), features)
