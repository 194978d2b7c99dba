"""All4One: contrast with neighbours, with their centroid, and between features.

Source: Estepa et al., ICCV 2023, as implemented in solo-learn and read by the sheet of All4One. The
queue may be of any length, as it is a ring; there it has to be a multiple of the batch.

Legend: B scans, k features, m neighbours, n rows.
"""

from collections.abc import Iterable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from medssl.data.scan.batch import ScanBatch
from medssl.methods.ema import update_ema
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.barlow_twins import standardised
from medssl.methods.pretrain.contrast import KeyQueue
from medssl.methods.pretrain.dino import teacher_momentum
from medssl.methods.pretrain.views import (
    ViewMethod,
    draw_views,
    projector,
    scan_rows,
    token_rows,
    two_layers,
)
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.all4one import Centroid, Feature, Settings
from medssl.networks.encoder import VolumeEncoder

TINY = 1e-12
"""Added to what a square root is taken of, whose gradient at 0 is infinite."""


def contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy of rows [B, k] of `one` finding their own among those of `other`."""
    likeness = normalize(one, dim=1) @ normalize(other, dim=1).T / temperature
    return cross_entropy(likeness, torch.arange(len(one), device=one.device))


def feature_loss(one: Tensor, other: Tensor, settings: Feature) -> Tensor:
    """How far features of one view and of the other's average are from agreeing one by one.

    Args:
        one, other: [2, n, k], rows of the average, and of the network for the other view.
    """
    if settings.standardised:
        one, other = standardised(one), standardised(other)
    cosines = normalize(one, dim=1).mT @ normalize(other, dim=1)
    diagonal = cosines.diagonal(dim1=1, dim2=2)
    own = ((diagonal - 1) ** 2).mean()
    rest = of_different(cosines) ** 2
    parts = settings.diagonal * (own + TINY).sqrt() + settings.others * (rest.mean() + TINY).sqrt()
    return settings.scale * parts


def of_different(square: Tensor) -> Tensor:
    """All but the diagonals of matrices [..., k, k], row by row: [..., k (k - 1)]."""
    side = square.shape[-1]
    rows = square.flatten(-2)[..., 1:].reshape(*square.shape[:-2], side - 1, side + 1)
    return rows[..., :-1].flatten(-2)


def place_codes(tokens: int, width: int) -> Tensor:
    """[tokens, width]: a sinusoid along the features for each token.

    As released: the code of places goes along the features, and the token says its frequency.
    """
    frequency = 10_000 ** (-torch.arange(0, tokens, 2) / (2 * ((tokens + 1) // 2)))
    angle = torch.arange(width) * frequency[:, None]
    return torch.stack([angle.sin(), angle.cos()], 1).flatten(0, 1)[:tokens]


class Summary(nn.Module):
    """Neighbours [B, m, k] to one vector [B, k]: the first token of a transformer."""

    codes: Tensor

    def __init__(self, settings: Centroid, neighbours: int, width: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, settings.hidden, settings.dropout, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, settings.layers, enable_nested_tensor=False)
        self.register_buffer("codes", place_codes(neighbours, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """The first token, once it has looked at the others."""
        summed: Tensor = self.encoder(tokens + self.codes)[:, 0]
        return summed


class Embedder(nn.Module):
    """An encoder and its projector."""

    def __init__(self, encoder: VolumeEncoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, head


class Seen(NamedTuple):
    """What an embedder makes of one view.

    Attributes:
        z: [B, k] of scans.
        rows: [n, k] of what features are correlated over.
    """

    z: Tensor
    rows: Tensor


class All4One(ViewMethod):
    """An embedder, its moving average, two predictors, a transformer and a queue."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        outputs = settings.outputs
        super().__init__(
            settings,
            task,
            seed,
            lambda width: projector(width, [settings.hidden] * 2, outputs, True),
        )
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 2)
            self.neighbour_predictor = two_layers(outputs, settings.predictor, outputs)
            self.centroid_predictor = two_layers(outputs, settings.predictor, outputs)
            self.summary = Summary(settings.centroid, settings.neighbours, outputs)
            self.queue = KeyQueue(settings.queue, outputs)
            self.queue.keys.copy_(normalize(torch.randn(self.queue.keys.shape), dim=1))
        own = Embedder(self.embedder, self.projector)
        self.average = deepcopy(own).requires_grad_(False)
        unused = {
            self.neighbour_predictor: settings.weights.neighbour,
            self.centroid_predictor: settings.weights.centroid,
            self.summary: settings.weights.centroid,
        }
        for module, weight in unused.items():
            module.requires_grad_(weight > 0)
        self._new: tuple[Tensor, Tensor] | None = None

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The three weighted terms, those of weight 0 left out."""
        pairs, weights = batches["pairs"], self.settings.weights
        views = draw_views(pairs, self.settings, 2, generator)
        state = generator.get_state()
        with torch.no_grad():
            averages = self._see(pairs, views, self.average, generator)
        generator.set_state(state)  # the same places for both
        seen = self._see(pairs, views, Embedder(self.embedder, self.projector), generator)
        keys = [normalize(one.z, dim=1) for one in averages]
        self.remember(seen[0].z)
        self._new = keys[0], pairs.patient
        terms = {}
        if weights.neighbour or weights.centroid:
            near = [self._neighbours(key, pairs.patient) for key in keys]
        if weights.neighbour:
            told = [self.neighbour_predictor(one.z) for one in seen]
            terms["neighbour"] = weights.neighbour * self._neighbour(near, told)
        if weights.centroid:
            asks = [self.centroid_predictor(one.z) for one in seen]
            terms["centroid"] = weights.centroid * self._centroid(near, asks)
        if weights.feature:
            one, other = (torch.stack([part.rows for part in of]) for of in (averages, seen[::-1]))
            terms["feature"] = weights.feature * feature_loss(one, other, self.settings.feature)
        return terms

    def _see(
        self, pairs: ScanBatch, views: list[Tensor], by: Embedder, generator: Generator
    ) -> list[Seen]:
        maps = by.encoder(torch.cat(views))[-1].chunk(2)
        scans = scan_rows(pairs, maps).features
        z = [at_least_float32(by.projector(one)) for one in scans]
        if self.settings.feature.rows == "scans" or not self.settings.weights.feature:
            return [Seen(one, one) for one in z]
        tokens = token_rows(pairs, maps, self.tokens_in(maps[0]), generator).features
        rows = [at_least_float32(by.projector(one)) for one in tokens]
        return [Seen(*both) for both in zip(z, rows, strict=True)]

    @torch.no_grad()
    def _neighbours(self, keys: Tensor, patient: Tensor) -> Tensor:
        """[B, m, k], the rows of the queue that are nearest to keys [B, k], best first."""
        likeness = keys @ self.queue.keys.T
        if self.settings.other_patients:
            own = self.queue.patients == patient[:, None]
            likeness = likeness.masked_fill(own, -torch.inf)
        return self.queue.keys[likeness.topk(self.settings.neighbours, 1).indices]

    def _neighbour(self, near: list[Tensor], told: list[Tensor]) -> Tensor:
        """Each view's nearest neighbour finds the other view."""
        sharp = self.settings.temperature
        ways = contrast(near[0][:, 0], told[1], sharp) + contrast(near[1][:, 0], told[0], sharp)
        return 0.5 * ways

    def _centroid(self, near: list[Tensor], asks: list[Tensor]) -> Tensor:
        """Each view's centroid finds that of the other, made with the other view in front."""
        whole = [self.summary(one) for one in near]
        shifted = [
            self.summary(torch.cat([ask[:, None], one[:, :-1]], 1))
            for ask, one in zip(asks, near, strict=True)
        ]
        sharp = self.settings.centroid_temperature
        ways = contrast(whole[0], shifted[1], sharp) + contrast(whole[1], shifted[0], sharp)
        return 0.5 * ways

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the average and store the first views of the step."""
        own = Embedder(self.embedder, self.projector)
        update_ema(self.average, own, teacher_momentum(self.settings.momentum, progress))
        if self._new is not None:
            self.queue.push(*self._new)

    def rate_factors(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """The transformer learns slower."""
        slow = [one for one in self.summary.parameters() if one.requires_grad]
        of_slow = set(slow)
        yield 1.0, [p for p in self.parameters() if p.requires_grad and p not in of_slow]
        yield self.settings.centroid.rate, slow
