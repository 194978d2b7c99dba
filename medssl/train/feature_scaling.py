"""Features scaled to mean 0 and deviation 1 over the training bags; prediction scales alike.

Legend: N instances, E features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.bags.bag import BagSource


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation [E] float32 of every feature; 1 for a constant feature."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, bags: Sequence[BagSource]) -> Self:
        """The scale of all instances of `bags`; one bag is in memory at a time."""
        count, total, squares = 0, 0.0, 0.0
        for bag in bags:
            features = np.asarray(bag.features, np.float64)
            count += len(features)
            total = total + features.sum(0)
            squares = squares + (features**2).sum(0)
        mean = np.asarray(total / count)
        variance = np.maximum(squares / count - mean**2, 0.0)
        # Below the rounding of the sums a feature is constant.
        constant = variance <= 1e-10 * np.maximum(mean**2, 1.0)
        deviation = np.where(constant, 1.0, np.sqrt(variance))
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    @classmethod
    def none(cls, width: int) -> Self:
        """The scale that leaves features as they are."""
        return cls(np.zeros(width, np.float32), np.ones(width, np.float32))


@dataclass(frozen=True)
class ScaledBag:
    """A bag whose features are scaled when they are read."""

    source: BagSource
    scale: Scale

    @property
    def id(self) -> str:
        """The bag's name."""
        return self.source.id

    @property
    def label(self) -> int | None:
        """The bag's class index."""
        return self.source.label

    @property
    def features(self) -> np.ndarray:
        """[N, E] float32."""
        scaled: np.ndarray = (
            np.asarray(self.source.features, np.float32) - self.scale.mean
        ) / self.scale.deviation
        return scaled


class Scaled(nn.Module):
    """A predictor for features as they come: scales them first."""

    def __init__(self, predictor: nn.Module, scale: Scale) -> None:
        super().__init__()
        self.predictor = predictor
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.from_numpy(scale.mean))
        self.register_buffer("deviation", torch.from_numpy(scale.deviation))

    def forward(self, features: Tensor) -> object:
        """Features [N, E] to what the predictor says of them."""
        return self.predictor((features - self.mean) / self.deviation)
