"""W-MSE: views of a scan meet once the batch is whitened; no negatives, no teacher.

Source: Ermolov et al., ICML 2021, and its released code, as the sheet of whitening reads them. The
second view takes its gradient too, as released there and not in other implementations.

Legend: V views, n rows, S sets of w rows, k features.
"""

from itertools import combinations

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from medssl.data.draws import placed, uniform
from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.views import ViewMethod, draw_views, projector
from medssl.methods.settings.whitening import Settings

RESCUES = (1e-4, 1e-3, 1e-2)
"""Shares of the identity that are tried in turn where a covariance cannot be decomposed."""


def whiten(rows: Tensor, shrink: float = 0.0) -> Tensor:
    """Rows [..., w, k] with mean 0 and, where `shrink` is 0, covariance I.

    By the inverse of the lower Cholesky factor of (1 - shrink) C + shrink I. Where C has no such
    factor, the least of `RESCUES` that helps is taken.
    """
    centred = rows - rows.mean(-2, keepdim=True)
    covariance = centred.mT @ centred / (rows.shape[-2] - 1)
    identity = torch.eye(rows.shape[-1], device=rows.device, dtype=rows.dtype)
    share = _share(covariance.detach(), identity, shrink)[..., None, None]
    factor = torch.linalg.cholesky_ex((1 - share) * covariance + share * identity).L
    white: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
    return white


def _share(covariance: Tensor, identity: Tensor, shrink: float) -> Tensor:
    """Of the identity: `shrink`, or the first of `RESCUES` by which each can be decomposed."""
    shares = placed([shrink, *RESCUES], identity, identity.dtype)
    found = shares[-1].expand(covariance.shape[:-2])
    for share in shares.flip(0):
        failed = torch.linalg.cholesky_ex((1 - share) * covariance + share * identity).info
        found = torch.where(failed == 0, share, found)
    return found


def distance(one: Tensor, other: Tensor, unit: bool) -> Tensor:
    """2 - 2 mean cosine of rows [..., w, k], in [0, 4]; or their mean squared difference."""
    if unit:
        return 2 - 2 * (normalize(one, dim=-1) * normalize(other, dim=-1)).sum(-1).mean()
    return ((one - other) ** 2).mean()


def whitened_loss(embedded: Tensor, size: int, shrink: float, unit: bool, order: Tensor) -> Tensor:
    """Mean distance of all pairs of views [V, n, k], whitened in sets of `size` rows.

    A set holds the same rows of all views; each view has a mean and covariance of its own there.

    Args:
        order: [n] permutation of the rows; what is left over of whole sets is left out.
    """
    sets = max(1, embedded.shape[1] // size)
    chosen = order[: sets * size]
    white = whiten(embedded[:, chosen].reshape(len(embedded), sets, -1, embedded.shape[2]), shrink)
    pairs = list(combinations(range(len(embedded)), 2))
    return torch.stack([distance(white[u], white[v], unit) for u, v in pairs]).mean()


class Whitening(ViewMethod):
    """An encoder with a projector, and nothing else."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__(
            settings,
            task,
            seed,
            lambda width: projector(width, [settings.hidden], settings.outputs, False),
        )
        self.settings = settings

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The mean over rounds and pairs of views; never in half precision."""
        pairs, settings = batches["pairs"], self.settings
        views = draw_views(pairs, settings, settings.count, generator)
        coarsest = self.embedder(torch.cat(views))[-1]
        size = settings.together
        maps = coarsest.chunk(len(views))
        count = max(size, self.tokens_in(maps[0]) // size * size)
        rows = self.rows_of(pairs, maps, count, generator).features
        with torch.autocast(rows.device.type, enabled=False):
            embedded = self.project(rows.flatten(0, 1)).reshape(*rows.shape[:2], -1)
            self.remember(embedded[0])
            losses = []
            for _ in range(settings.rounds):
                order = uniform((rows.shape[1],), 0, 1, rows, generator).argsort()
                losses.append(whitened_loss(embedded, size, settings.shrink, settings.unit, order))
        return {"whitened": torch.stack(losses).mean()}
