"""How far representations have collapsed.

A collapsed network gives every image the same answer: the same prototype (one-hot) or all of them
alike (uniform). Either way its answer tells nothing of the image, which one number sees.

Legend: B images, E features, K prototypes.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Spread(NamedTuple):
    """How much a teacher's answers to a batch differ, as scalars in nats.

    Attributes:
        entropy: mean over the images of each answer's entropy.
        information: entropy of the mean answer, less `entropy`; 0 where all answers are equal, at
            most ln(min(B, K)).
    """

    entropy: Tensor
    information: Tensor


def spread(probability: Tensor) -> Spread:
    """Spread of answers [B, K], each with sum 1."""
    own = _entropy(probability).mean()
    return Spread(own, _entropy(probability.mean(0)) - own)


def _entropy(probability: Tensor) -> Tensor:
    return -torch.xlogy(probability, probability).sum(-1)


def feature_deviation(features: Tensor) -> Tensor:
    """Standard deviation over images of unit-length features [B, E], times sqrt(E).

    Mean over features: near 1 for directions spread over the sphere, 0 where all are equal.
    """
    unit = normalize(features.float(), dim=1)
    return unit.std(0, correction=0).mean() * sqrt(features.shape[1])


def effective_rank(features: Tensor) -> Tensor:
    """Exponential of the entropy of the normalised singular values of centred features [B, E].

    Roy & Vetterli, EUSIPCO 2007. At most min(B - 1, E); 0 where all features are equal.
    """
    values = torch.linalg.svdvals(features.float() - features.float().mean(0))
    total = values.sum()
    share = values / total.clamp_min(torch.finfo(values.dtype).tiny)
    return torch.where(total > 0, _entropy(share).exp(), torch.zeros_like(total))


LOOK_EVERY = 20
"""Steps after which a GPU is asked for a count, as the host has to wait for the answer."""


def too_many(count: Tensor, patience: int, step: int) -> bool:
    """Whether a count of steps has reached `patience`; a GPU's is looked at from time to time."""
    if count.device.type != "cpu" and step % LOOK_EVERY:
        return False
    return int(count) >= patience


class Alarm(nn.Module):
    """Counts the steps in a row that show one sign of collapse; travels with the weights.

    Args:
        what: the sign in words, to be read after "for so many steps".
        patience: steps in a row that are too many.
    """

    count: Tensor

    def __init__(self, what: str, patience: int) -> None:
        super().__init__()
        self.what, self.patience = what, patience
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def rings(self, sign: Tensor, step: int) -> bool:
        """Whether the sign, a bool, has now shown for too many steps; one without it ends a row."""
        self.count.copy_(torch.where(sign, self.count + 1, 0))
        return too_many(self.count, self.patience, step)
