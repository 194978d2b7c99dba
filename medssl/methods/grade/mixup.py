"""Mixing of images and of their labels.

Sources: Zhang et al., mixup, ICLR 2018; fold and floor of Semixup (sheet, sections 2 and 4).

Legend: B images, V crops, S pixels of a side, K grades.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from medssl.data.draws import host


class Mixture(NamedTuple):
    """One weight for a whole batch, and the partner of every image.

    Attributes:
        weight: lambda, that of the image itself; its partner has 1 - lambda.
        order: [B] int64, index in the batch of each image's partner.
    """

    weight: float
    order: Tensor

    def mix(self, image: Tensor) -> Tensor:
        """Images [B, ...] mixed with their partners; all crops of an image have the same one."""
        return self.weight * image + (1 - self.weight) * image[self.order]


def draw_mixture(
    image: Tensor, alpha: float, generator: Generator, floor: float | None = None
) -> Mixture:
    """Partners of images [B, ...], and a weight of Beta(alpha, alpha).

    Args:
        floor: if given, a weight w below a half becomes 1 - w, and is then raised to `floor`.
    """
    weight = float(draw_weights(1, alpha, generator, floor)[0])
    order = torch.randperm(len(image), generator=generator, device=image.device)
    return Mixture(weight, order)


def draw_weights(
    count: int, alpha: float, generator: Generator, floor: float | None = None
) -> np.ndarray:
    """[count] float64; see `draw_mixture`."""
    seed = int(torch.randint(2**31, (1,), generator=host(generator)))
    weights = np.random.default_rng(seed).beta(alpha, alpha, size=count)
    return weights if floor is None else np.maximum(weights, 1 - weights).clip(min=floor)


def mixup_cross_entropy(logits: Tensor, grade: Tensor, mixture: Mixture) -> Tensor:
    """The weighted cross-entropies to the own and to the partner's grade.

    Args:
        logits: [B, K] of the mixes.
        grade: [B] of the images themselves.
    """
    own = cross_entropy(logits, grade)
    return mixture.weight * own + (1 - mixture.weight) * cross_entropy(logits, grade[mixture.order])
