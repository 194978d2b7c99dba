"""Decoupled contrastive learning: InfoNCE without the positive in its denominator.

Source: Yeh et al., arXiv 2110.06848, in the implementation that the sheet of decoupled contrastive
learning reads. What is masked is left out of sums, and not of similarity -103 as there.

Legend: n rows, k features of unit length.
"""

from math import inf

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.views import Rows, ViewMethod, draw_views, two_layers
from medssl.methods.settings.decoupled_contrastive import Settings


def barred_rows(rows: Rows, apart: float, other_patients: bool) -> Tensor:
    """[n, n] bool: which rows are no negatives of each other; always a row of itself.

    Args:
        apart: voxels; rows of one item that are nearer are barred.
        other_patients: whether all rows of a patient are barred from each other.
    """
    if other_patients:
        return rows.patient[:, None] == rows.patient
    near = torch.cdist(rows.place, rows.place) <= apart
    same = (rows.item[:, None] == rows.item) & near
    return same | torch.eye(len(same), dtype=torch.bool, device=same.device)


def decoupled_loss(
    one: Tensor,
    other: Tensor,
    barred: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    coupled: bool = False,
) -> Tensor:
    """One way of the loss: mean over rows of -w positive + log of the summed negatives.

    Rows without a negative cost nothing.

    Args:
        one, other: [n, k] of unit length; row i of both shows the same thing.
        barred: [n, n] bool, pairs that are no negatives, in both views.
        weight: [n]; None: 1.
        coupled: count the positive in the denominator, as NT-Xent does.

    Raises:
        ValueError: there is one row, which nothing can be told from.
    """
    if len(one) < 2:
        raise ValueError("a contrast needs two rows at least")
    positive = (one * other).sum(1) / temperature
    every = torch.cat([one @ one.T, one @ other.T], 1) / temperature
    negatives = every.masked_fill(barred.repeat(1, 2), -inf)
    told = ~barred.all(1)
    if coupled:
        negatives = torch.cat([positive[:, None], negatives], 1)
    # Rows without negatives get a finite one, so that their gradient is 0 and not undefined.
    pushed = torch.where(told[:, None], negatives, 0).logsumexp(1)
    pulled = positive if weight is None else weight * positive
    return torch.where(told, pushed - pulled, 0).sum() / told.sum().clamp_min(1)


def unlike_weights(one: Tensor, other: Tensor, sigma: float) -> Tensor:
    """[n], mean 1: more where the views [n, k] of a row are unlike."""
    return 2 - len(one) * ((one * other).sum(1) / sigma).softmax(0)


class DecoupledContrastive(ViewMethod):
    """An encoder with a projector; negatives are the other rows of the batch."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__(
            settings, task, seed, lambda width: two_layers(width, settings.hidden, settings.outputs)
        )
        self.settings = settings

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Both ways together; NT-Xent half of them, as it is a mean over both."""
        pairs, settings = batches["pairs"], self.settings
        views = draw_views(pairs, settings, 2, generator)
        maps = self.embedder(torch.cat(views))[-1].chunk(2)
        rows = self.rows_of(pairs, maps, self.tokens_in(maps[0]), generator)
        with torch.autocast(rows.features.device.type, enabled=False):
            one, other = (self.project(view) for view in rows.features)
            self.remember(one)
            barred = barred_rows(rows, settings.apart, settings.negatives == "other_patients")
            weight = None
            if settings.loss == "dclw":
                weight = unlike_weights(one, other, settings.sigma)
                weight = weight.detach() if settings.detach_weight else weight
            coupled = settings.loss == "nt_xent"
            how = barred, settings.temperature, weight, coupled
            ways = decoupled_loss(one, other, *how) + decoupled_loss(other, one, *how)
        return {"contrast": 0.5 * ways if coupled else ways}

    def project(self, rows: Tensor) -> Tensor:
        """Rows [n, E] on the unit sphere [n, k]."""
        return normalize(super().project(rows), dim=1)
