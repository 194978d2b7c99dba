"""Barlow Twins: the correlation matrix of two views' features becomes the identity.

Source: Zbontar et al., ICML 2021, whose loss this is, without the factor of their optimiser.

Legend: n rows, k features.
"""

from torch import Tensor

from medssl.methods.encoder_method import PretrainTask
from medssl.methods.pretrain.views import ProjectedViews
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


class BarlowTwins(ProjectedViews):
    """An encoder with a projector of three layers."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__(settings, task, seed)
        self.settings = settings

    def terms(self, one: Tensor, other: Tensor) -> dict[str, Tensor]:
        """The loss of the correlations between both views."""
        return {"correlation": twins_loss(correlation(one, other), self.settings.redundancy)}
