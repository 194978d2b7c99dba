"""Barlow Twins: the correlation matrix of two views' features becomes the identity.

Source: Zbontar et al., ICML 2021, whose loss this is, without the factor of their optimiser.

Legend: n rows, k features.
"""

import torch
from torch import Generator, Tensor

from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.views import ViewMethod, draw_views, projector
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.barlow_twins import Settings

EPSILON = 1e-5
"""Added to variances, as batch norms do."""


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """[k, k] between the features of rows [n, k], each standardised over the rows."""
    return standardised(one).T @ standardised(other) / len(one)


def standardised(rows: Tensor) -> Tensor:
    """Rows [..., n, k] with mean 0 and variance 1 in every feature."""
    spread = rows.var(-2, correction=0, keepdim=True)
    return (rows - rows.mean(-2, keepdim=True)) / (spread + EPSILON).sqrt()


def twins_loss(correlations: Tensor, redundancy: float) -> Tensor:
    """Sum of (1 - diagonal)^2, and `redundancy` times that of all else squared; of [k, k]."""
    own = correlations.diagonal()
    return ((1 - own) ** 2).sum() + redundancy * ((correlations**2).sum() - (own**2).sum())


class BarlowTwins(ViewMethod):
    """An encoder with a projector of three layers."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 1)
            width = self.embedder.widths[-1]
            self.projector = projector(width, [settings.hidden] * 2, settings.outputs, False)

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The loss of the correlations between both views."""
        pairs = batches["pairs"]
        maps = self.embedder(torch.cat(draw_views(pairs, self.settings, 2, generator)))[-1].chunk(2)
        rows = self.rows_of(pairs, maps, self.tokens_in(maps[0]), generator).features
        with torch.autocast(rows.device.type, enabled=False):
            one, other = (at_least_float32(self.projector(view)) for view in rows)
            self.remember(one)
            loss = twins_loss(correlation(one, other), self.settings.redundancy)
        return {"correlation": loss}

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """The projected embedding of pooled scans."""
        return {"z": at_least_float32(self.projector(self.predictor()(image)))}
