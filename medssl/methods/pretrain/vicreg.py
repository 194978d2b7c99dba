"""VICReg: variance, invariance and covariance of two views' features.

Source: Bardes et al., ICLR 2022, whose three terms these are.

Legend: n rows, k features.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.views import ViewMethod, draw_views, projector
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.vicreg import Settings

EPSILON = 1e-4
"""Added to variances."""


def variance_loss(rows: Tensor) -> Tensor:
    """Mean over features of rows [n, k] of what their standard deviation lacks to 1."""
    return (1 - (rows.var(0) + EPSILON).sqrt()).relu().mean()


def covariance_loss(rows: Tensor) -> Tensor:
    """Summed squares of the covariances between different features of rows [n, k], over k."""
    covariance = rows.T.cov()
    own = covariance.diagonal()
    return ((covariance**2).sum() - (own**2).sum()) / rows.shape[1]


class VicReg(ViewMethod):
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
        """The three weighted terms; variance is the mean over views, covariance their sum."""
        pairs, settings = batches["pairs"], self.settings
        maps = self.embedder(torch.cat(draw_views(pairs, settings, 2, generator)))[-1].chunk(2)
        rows = self.rows_of(pairs, maps, self.tokens_in(maps[0]), generator).features
        with torch.autocast(rows.device.type, enabled=False):
            one, other = (at_least_float32(self.projector(view)) for view in rows)
            self.remember(one)
            return {
                "invariance": settings.invariance * mse_loss(one, other),
                "variance": settings.variance * 0.5 * (variance_loss(one) + variance_loss(other)),
                "covariance": settings.covariance * (covariance_loss(one) + covariance_loss(other)),
            }

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """The projected embedding of pooled scans."""
        return {"z": at_least_float32(self.projector(self.predictor()(image)))}
