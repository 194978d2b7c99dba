"""SAM: a vector for every place, alike for the same place under two views of a volume.

Source: Yan et al., SAM, IEEE TMI 2022, and its released code, as the sheet of Alice reads them
(sections 8.1 and 8.2). The release sets the similarity of what is no negative to 0, so that it may
enter the hardest; here it is left out.

Legend: B volumes, Q queries of a crop, M cells of both crops, m cells of one, d features, X Y Z
voxels of a window, x y z voxels of a crop.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, radians
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, avg_pool3d, grid_sample

from medssl.data.batch import Stream
from medssl.data.draws import placed, uniform
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings
from medssl.methods.encoder_method import PretrainMethod, PretrainTask
from medssl.methods.method import Progress
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.anatomical_embedding import CoarseLoss, FineLoss, Settings, Views
from medssl.networks.anatomical_embedding import (
    AnatomicalEmbedder,
    Embedding,
    build_embedder,
    on_fine_grid,
)
from medssl.networks.choice import NetworkChoice

Triple = tuple[int, int, int]


@dataclass
class Crop:
    """One view of every window of a batch.

    Attributes:
        image: [B, 1, x, y, z].
        affine: [B, 3, 4], from the crop's normalised coordinates to voxels of the window, both
            with the first axis first; -1 and 1 are the outer faces.
    """

    image: Tensor
    affine: Tensor

    def places(self, cells: Triple) -> Tensor:
        """Where the centres of a grid of `cells` lie: [B, m, 3] in voxels of the window."""
        axes = [
            (2 * torch.arange(count, device=self.affine.device) + 1) / count - 1 for count in cells
        ]
        grid = torch.cartesian_prod(*axes)
        return grid @ self.affine[:, :, :3].transpose(1, 2) + self.affine[:, None, :, 3]


def info_nce(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """-log of the positive's share, for each query; similarities [...] and [..., K].

    A negative of -inf counts for nothing.
    """
    every = torch.cat([positive[..., None], negatives], dim=-1) / temperature
    return every.logsumexp(-1) - positive / temperature


def draw_crops(image: Tensor, settings: Views, size: Triple, generator: Generator) -> list[Crop]:
    """Two crops of windows [B, 1, X, Y, Z], each with its own scale, rotation and intensities."""
    items = len(image)
    sides = placed(image.shape[2:], image, image.dtype)
    half = placed(size, image, image.dtype) / 2
    common = uniform((items, 3), 0, 1, image, generator)
    near = uniform((items, 1), 0, 1, image, generator) < settings.near
    crops = []
    for _ in range(2):
        around = common * sides + uniform((items, 3), -1, 1, image, generator) * half
        apart = uniform((items, 3), 0, 1, image, generator) * sides
        # A crop stays within the window where it can: what lies outside repeats the border.
        low, high = half.minimum(sides / 2), (sides - half).maximum(sides / 2)
        centre = torch.where(near, around, apart).clamp(low, high)
        zoom = uniform((items, 1, 1), *settings.scale, image, generator)
        turn = _rotations(items, radians(settings.rotation), image, generator)
        linear = turn * zoom * half  # columns: half a side of the crop, in voxels of the window
        affine = torch.cat([linear, (centre - 0.5)[:, :, None]], dim=2)
        crops.append(Crop(_intensities(_cut(image, affine, size), settings, generator), affine))
    return crops


def _rotations(items: int, most: float, like: Tensor, generator: Generator) -> Tensor:
    """[B, 3, 3]: turns about the three axes, each by an angle of its own."""
    angles = uniform((items, 3), -most, most, like, generator)
    generators = like.new_zeros(3, 3, 3)
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        generators[axis, one, other], generators[axis, other, one] = -1, 1
    turns = torch.linalg.matrix_exp(angles[..., None, None] * generators)
    rotation: Tensor = turns[:, 0] @ turns[:, 1] @ turns[:, 2]
    return rotation


def _cut(image: Tensor, affine: Tensor, size: Triple) -> Tensor:
    """Crops [B, 1, x, y, z]; trilinear, the border goes on outside."""
    sides = placed(image.shape[2:], affine, affine.dtype)
    # From voxel indices to normalised coordinates, then to the last axis first.
    scaled = affine * (2 / sides)[:, None]
    scaled[:, :, 3] += 1 / sides - 1
    order = scaled.flip(1)
    order = torch.cat([order[:, :, :3].flip(2), order[:, :, 3:]], dim=2)
    grid = affine_grid(order, [len(image), 1, *size], align_corners=False)
    return grid_sample(image, grid, padding_mode="border", align_corners=False)


def _intensities(crop: Tensor, settings: Views, generator: Generator) -> Tensor:
    items = (len(crop), 1, 1, 1, 1)
    crop = crop * uniform(items, 1 - settings.gain, 1 + settings.gain, crop, generator)
    crop = crop + uniform(items, -settings.offset, settings.offset, crop, generator)
    if settings.blur:
        chosen = uniform(items, 0, 1, crop, generator) < settings.blur
        crop = torch.where(chosen, avg_pool3d(crop, 3, 1, 1, count_include_pad=False), crop)
    if settings.noise:
        drawn = torch.randn(crop.shape, generator=generator, device=crop.device, dtype=crop.dtype)
        crop = crop + settings.noise * drawn
    return crop


class Level(NamedTuple):
    """The cells of both crops on one level.

    Attributes:
        vectors: [B, M, d], those of the first crop first.
        places: [B, M, 3] in voxels of the window.
        rank: [B, M, r], vectors whose products tell which negatives are hardest.
    """

    vectors: Tensor
    places: Tensor
    rank: Tensor


class Queries(NamedTuple):
    """Query cells of one crop, and the cells of the other crop that they should find.

    Attributes:
        asks: [B, Q] index of the cell among M.
        finds: [B, Q] index of the cell of the other crop that lies nearest.
        counts: [B, Q] bool; false where the crops share fewer places than there are queries.
    """

    asks: Tensor
    finds: Tensor
    counts: Tensor


def draw_queries(
    level: Level, first: bool, settings: FineLoss | CoarseLoss, generator: Generator
) -> Queries:
    """Random cells of the first or the second crop with a partner in the other."""
    cells = level.places.shape[1] // 2
    own, other = level.places[:, :cells], level.places[:, cells:]
    if not first:
        own, other = other, own
    distance, nearest = torch.cdist(own, other).min(2)
    shared = distance <= settings.positive
    if isinstance(settings, CoarseLoss) and settings.slices is not None:
        partner = other.gather(1, nearest[..., None].expand(-1, -1, 3))
        shared &= (partner[..., 2] - own[..., 2]).abs() <= settings.slices
    drawn = uniform(tuple(shared.shape), 0, 1, own, generator)
    order, asks = drawn.masked_fill(~shared, -1).topk(min(settings.queries, cells), dim=1)
    finds = nearest.gather(1, asks)
    shift = 0 if first else cells
    return Queries(asks + shift, finds + cells - shift, order >= 0)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """Rows [B, Q, e] of values [B, M, e] at [B, Q]."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def hard_negatives(
    level: Level, queries: Queries, settings: FineLoss | CoarseLoss, generator: Generator
) -> Tensor:
    """Similarities [B, Q, K] to random ones of the hardest cells; -inf where there are no more."""
    away = torch.cdist(pick(level.places, queries.asks), level.places) > settings.exclusion
    with torch.no_grad():
        rank = (pick(level.rank, queries.asks) @ level.rank.transpose(1, 2)).masked_fill(
            ~away, -inf
        )
        hardest = rank.topk(min(settings.hardest, rank.shape[2]), dim=2)
        drawn = uniform(tuple(hardest.values.shape), 0, 1, rank, generator)
        # What is excluded comes last, whatever is drawn for it.
        drawn = drawn.masked_fill(hardest.values == -inf, -1)
        chosen = drawn.topk(min(settings.negatives, drawn.shape[2]), dim=2)
        index = hardest.indices.gather(2, chosen.indices)
    similar = pick(level.vectors, queries.asks) @ level.vectors.transpose(1, 2)
    return similar.gather(2, index).masked_fill(chosen.values < 0, -inf)


def other_negatives(level: Level, asked: Tensor, count: int, generator: Generator) -> Tensor:
    """Similarities [B, Q, count] to random cells of other volumes; none where there is one."""
    items, cells = level.vectors.shape[:2]
    if items == 1 or count == 0:
        return asked.new_zeros((*asked.shape[:2], 0))
    draw = uniform((items, count), 0, 1, asked, generator)
    # The volumes after an item's own, in a ring, as one row of cells.
    place = (draw * ((items - 1) * cells)).long().clamp_max((items - 1) * cells - 1)
    own = torch.arange(items, device=asked.device)[:, None]
    row = (own + 1 + place // cells) % items * cells + place % cells
    return asked @ level.vectors.flatten(0, 1)[row].transpose(1, 2)


def level_loss(level: Level, settings: FineLoss | CoarseLoss, generator: Generator) -> Tensor:
    """InfoNCE of one level, mean over the queries of both crops; 0 where they share no place."""
    total, count = level.vectors.new_zeros(()), level.vectors.new_zeros(())
    for first in (True, False):
        queries = draw_queries(level, first, settings, generator)
        asked = pick(level.vectors, queries.asks)
        positive = (asked * pick(level.vectors, queries.finds)).sum(2)
        negatives = hard_negatives(level, queries, settings, generator)
        if isinstance(settings, CoarseLoss):
            others = other_negatives(level, asked, settings.others, generator)
            negatives = torch.cat([negatives, others], dim=2)
        losses = info_nce(positive, negatives, settings.temperature)
        total = total + losses.masked_fill(~queries.counts, 0).sum()
        count = count + queries.counts.sum()
    return total / count.clamp_min(1)


class AnatomicalEmbedding(PretrainMethod):
    """Trains an `AnatomicalEmbedder` on two crops of each window of the stream "scans".

    The predictor gives the coarse vectors' mean; `embedder` is what matching needs.
    """

    streams: tuple[Stream, ...] = ("scans",)

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.embedder = build_embedder(settings.embedder, 1000 * seed)
        self.size = settings.crop_in(task.patch)

    def affine(self) -> AffineSettings:
        """No affine: crops draw their own, so that the place of each cell is known."""
        return AffineSettings(rotation=0, scale=0, shear=0, flip_pairs=(), flip_scans=())

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """InfoNCE of both levels."""
        image = batches["scans"].windows()[:, 0]
        with torch.autocast(image.device.type, enabled=False):
            crops = draw_crops(image, self.settings.views, self.size, generator)
        found: Embedding = self.embedder(torch.cat([crop.image for crop in crops]))
        with torch.autocast(image.device.type, enabled=False):
            fine, coarse = _levels(found, crops, self.embedder)
            return {
                "fine": level_loss(fine, self.settings.fine, generator),
                "coarse": level_loss(coarse, self.settings.coarse, generator),
            }

    def networks(self) -> Iterable[nn.Module]:
        """The embedder, which is all that is trained."""
        yield self.embedder

    def encoder(self) -> AnatomicalEmbedder:
        """The embedder itself; it starts no segmentation network, but `alice` matches by it."""
        return self.embedder

    def described(
        self, network: NetworkChoice, contrasts: tuple[str, ...], told: dict[str, Any]
    ) -> BaseModel:
        """What a checkpoint of the embedder says of itself."""
        from medssl.train.embedder_checkpoint import EmbedderCheckpoint

        return EmbedderCheckpoint(embedder=self.settings.embedder, **told)

    def predictor(self) -> nn.Module:
        """Scans [B, 1, X, Y, Z] to the mean [B, d] of their coarse vectors."""
        return _Pooled(self.embedder)


class _Pooled(nn.Module):
    """Scans [B, 1, X, Y, Z] to the mean [B, d] of their coarse vectors."""

    def __init__(self, embedder: AnatomicalEmbedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, image: Tensor) -> Tensor:
        embedding: Embedding = self.embedder(image)
        return embedding.coarse.flatten(2).mean(2)


def _levels(
    found: Embedding, crops: list[Crop], embedder: AnatomicalEmbedder
) -> tuple[Level, Level]:
    """Fine and coarse level of embeddings [2 B, ...]; the second half is of the second crops."""
    strides = zip(embedder.coarse_stride, embedder.fine_stride, strict=True)
    first, second, third = (coarse // fine for coarse, fine in strides)
    fine, coarse = at_least_float32(found.fine), at_least_float32(found.coarse)
    spread = on_fine_grid(coarse.detach(), fine.shape[2:], (first, second, third))
    ranked = torch.cat([fine.detach(), spread], dim=1)
    return (
        Level(_cells(fine), _places(crops, fine), _cells(ranked)),
        Level(_cells(coarse), _places(crops, coarse), _cells(coarse.detach())),
    )


def _cells(maps: Tensor) -> Tensor:
    """[2 B, d, x, y, z] to [B, M, d]."""
    return torch.cat(list(maps.flatten(2).transpose(1, 2).chunk(2)), dim=1)


def _places(crops: list[Crop], maps: Tensor) -> Tensor:
    x, y, z = maps.shape[2:]
    return torch.cat([crop.places((x, y, z)) for crop in crops], dim=1)
