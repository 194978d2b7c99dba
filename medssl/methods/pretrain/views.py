"""Two views of a scan, and the rows by which methods compare them.

The views of an item are the same place, each seen through an affine of its own and with changed
intensities. A row is a scan, pooled, or a cell of the coarsest map at a place that both show.

Legend: B items, V views, E features, n rows, X Y Z voxels, x y z cells of the coarsest map.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from medssl.data.batch import Stream
from medssl.data.draws import placed, uniform
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.methods.encoder_method import PretrainMethod, PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.collapse import effective_rank, feature_deviation
from medssl.methods.pretrain.view_settings import ProjectedViewSettings, ViewSettings
from medssl.methods.segment.losses import at_least_float32
from medssl.networks.build import build_encoder
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.pooled import Pooled, pool


class Rows(NamedTuple):
    """What is compared.

    Attributes:
        features: [V, n, E]; row i of every view shows the same place.
        patient: [n] number of each row's patient.
        item: [n] index of each row's item in the batch.
        place: [n, 3] voxels of the first window; its centre where a row is a whole scan.
    """

    features: Tensor
    patient: Tensor
    item: Tensor
    place: Tensor


def draw_views(
    pairs: ScanBatch, settings: ViewSettings, count: int, generator: Generator
) -> list[Tensor]:
    """`count` views [B, 1, X, Y, Z] of each item; of four, two share an affine each."""
    first, second = pairs.windows().unbind(1)
    views = [first, second] * (count // 2)
    return [change_intensity(view, settings.intensity, generator) for view in views]


def scan_rows(pairs: ScanBatch, maps: Sequence[Tensor]) -> Rows:
    """Every scan as a row, from the coarsest map [B, E, x, y, z] of each view."""
    pooled = torch.stack([pool([one]) for one in maps])
    middle = (placed(pairs.patch, pooled, pooled.dtype) - 1) / 2
    item = torch.arange(len(pairs.patient), device=pooled.device)
    return Rows(pooled, pairs.patient, item, middle.expand(len(item), 3))


def token_rows(pairs: ScanBatch, maps: Sequence[Tensor], count: int, generator: Generator) -> Rows:
    """`count` random cells that all views show, of all items together.

    Where the views share fewer, some are taken twice.

    Args:
        maps: coarsest map [B, E, x, y, z] of each view, in the order of `draw_views`.
    """
    maps = [at_least_float32(one) for one in maps]
    shape = maps[0].shape[2:]
    moved, shown = list(maps), maps[0].new_ones(())
    for view in range(1, len(maps), 2):
        moved[view], shown = pairs.onto_first(maps[view])
    cells = torch.stack([one.flatten(2).transpose(1, 2).flatten(0, 1) for one in moved])
    drawn = uniform((len(cells[0]),), 0, 1, cells, generator)
    order = torch.where(shown.flatten(), drawn, 2).argsort()
    chosen = order[torch.arange(count, device=order.device) % shown.sum().clamp_min(1)]
    per_item = prod(shape)
    item, cell = chosen // per_item, chosen % per_item
    ratio = [side / most for side, most in zip(pairs.patch, shape, strict=True)]
    sides = placed(ratio, cells, cells.dtype)
    _, y, z = shape
    index = torch.stack([cell // (y * z), cell // z % y, cell % z], 1)
    return Rows(cells[:, chosen], pairs.patient[item], item, (index + 0.5) * sides - 0.5)


def projector(width: int, hidden: Sequence[int], outputs: int, last_norm: bool) -> nn.Sequential:
    """Rows [n, width] to [n, outputs]: linear maps with a batch norm and ReLU between.

    Linear maps have no bias before a norm, which would take it off; the last has none either where
    a norm follows, or means are taken off afterwards.

    Args:
        hidden: widths between.
        last_norm: whether a norm follows the last map too.
    """
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU()]
        width = size
    layers.append(nn.Linear(width, outputs, bias=False))
    if last_norm:
        layers.append(nn.BatchNorm1d(outputs))
    return nn.Sequential(*layers)


def two_layers(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Rows [n, width] to [n, outputs]: a linear map, batch norm and ReLU, and a linear map."""
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


class ViewMethod(PretrainMethod):
    """Base of methods that compare two views: an encoder with a projector.

    Args:
        head: from the width of the encoder's coarsest map to the projector.
    """

    streams: tuple[Stream, ...] = ("pairs",)

    def __init__(
        self,
        settings: ViewSettings,
        task: PretrainTask,
        seed: int,
        head: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.views = settings
        self.embedder = build_encoder(task.network, 1, 1000 * seed, task.start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 1)
            self.projector = head(self.embedder.widths[-1])
        self._last: Tensor | None = None

    def project(self, rows: Tensor) -> Tensor:
        """Rows [n, E] behind the projector [n, k], at least float32."""
        return at_least_float32(self.projector(rows))

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """The projected embedding of pooled scans."""
        return {"z": self.project(self.predictor()(image))}

    def rows_of(
        self, pairs: ScanBatch, maps: Sequence[Tensor], count: int, generator: Generator
    ) -> Rows:
        """Scans or `count` tokens, as the settings say, of the coarsest map of each view."""
        if self.views.rows == "scans":
            return scan_rows(pairs, maps)
        return token_rows(pairs, maps, count, generator)

    def tokens_in(self, maps: Tensor) -> int:
        """How many tokens of a batch with this coarsest map are drawn."""
        return min(self.views.tokens, maps[:, 0].numel())

    def remember(self, embedded: Tensor) -> None:
        """Keep rows [n, E] for `monitor`."""
        self._last = embedded.detach()

    def monitor(self) -> dict[str, float]:
        """Effective rank and deviation of the last rows (1: spread over the sphere)."""
        if self._last is None:
            return {}
        return {
            "rank": float(effective_rank(self._last)),
            "deviation": float(feature_deviation(normalize(self._last, dim=1))),
        }

    def pairs(self) -> PairSettings:
        """Which two scans are an item."""
        return self.views.pairs

    def affine(self) -> AffineSettings:
        """The range of the random affine of each view, `method.affine`."""
        return self.views.affine

    def encoder(self) -> VolumeEncoder:
        """The encoder that learns."""
        return self.embedder

    def predictor(self) -> Pooled:
        """Scans to their pooled features, before any projector."""
        return Pooled(self.embedder)


class ProjectedViews(ViewMethod):
    """Base of methods that compare features of two views, behind a projector of three layers."""

    def __init__(self, settings: ProjectedViewSettings, task: PretrainTask, seed: int) -> None:
        def head(width: int) -> nn.Module:
            return projector(width, [settings.hidden] * 2, settings.outputs, False)

        super().__init__(settings, task, seed, head)

    @abstractmethod
    def terms(self, one: Tensor, other: Tensor) -> dict[str, Tensor]:
        """Weighted, named loss terms of rows [n, k] of both views."""

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The terms of the method; never in half precision."""
        pairs = batches["pairs"]
        views = draw_views(pairs, self.views, 2, generator)
        maps = self.embedder(torch.cat(views))[-1].chunk(2)
        rows = self.rows_of(pairs, maps, self.tokens_in(maps[0]), generator).features
        with torch.autocast(rows.device.type, enabled=False):
            one, other = (self.project(view) for view in rows)
            self.remember(one)
            return self.terms(one, other)
