"""VICReg: variance, invariance and covariance of two views' features.

Source: Bardes et al., ICLR 2022, whose three terms these are.

Legend: n rows, k features.
"""

from torch import Tensor
from torch.nn.functional import mse_loss

from medssl.methods.encoder_method import PretrainTask
from medssl.methods.pretrain.views import ProjectedViews
from medssl.methods.settings.vicreg import Settings

EPSILON = 1e-4
"""Added to variances."""


def variance_loss(rows: Tensor) -> Tensor:
    """Mean over features of rows [n, k] of what their standard deviation lacks to 1."""
    return (1 - (rows.var(0) + EPSILON).sqrt()).relu().mean()


def covariance_loss(rows: Tensor) -> Tensor:
    """Summed squares of the covariances between different features of rows [n, k], over k."""
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / (len(rows) - 1)  # torch.cov waits for the device
    own = covariance.diagonal()
    return ((covariance**2).sum() - (own**2).sum()) / rows.shape[1]


class VicReg(ProjectedViews):
    """An encoder with a projector of three layers."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.settings = settings

    def terms(self, one: Tensor, other: Tensor) -> dict[str, Tensor]:
        """The three weighted terms; variance is the mean over views, covariance their sum."""
        weights = self.settings
        return {
            "invariance": weights.invariance * mse_loss(one, other),
            "variance": weights.variance * 0.5 * (variance_loss(one) + variance_loss(other)),
            "covariance": weights.covariance * (covariance_loss(one) + covariance_loss(other)),
        }
