"""CutMix: boxes of other patches, in images and in all that is known of their voxels.

Sources: Yun et al., CutMix, ICCV 2019; for volumes the released code of TraCoCo (sheet section 6).

Legend: B items, C channels, X Y Z voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from medssl.data.draws import host
from medssl.data.patches import Box


@dataclass(frozen=True)
class Mixture:
    """One CutMix draw: a donor and a box [start, stop) per axis for each item."""

    donors: Sequence[int]
    boxes: Sequence[Box]

    def apply(self, tensor: Tensor, source: Tensor | None = None) -> Tensor:
        """`tensor` [B, C, X, Y, Z] with each item's box pasted from its donor; a copy.

        Args:
            source: what donors are items of; None: of `tensor` itself.
        """
        given, mixed = tensor if source is None else source, tensor.clone()
        for item, (donor, box) in enumerate(zip(self.donors, self.boxes, strict=True)):
            mixed[(item, slice(None), *box)] = given[(donor, slice(None), *box)]
        return mixed


def numpy_generator(generator: Generator) -> np.random.Generator:
    """A generator of numpy, seeded by the next draw of torch's."""
    seed = torch.randint(2**31, (1,), generator=host(generator))
    return np.random.default_rng(int(seed))


def draw_mixture(
    items: int,
    shape: Sequence[int],
    axes: Literal["xy", "xyz"],
    alpha: float,
    rng: np.random.Generator,
    side: Literal["volume", "square_root"] = "volume",
) -> Mixture:
    """CutMix boxes: one ratio lambda ~ Beta(alpha, alpha) per batch, one centre per item.

    Centres lie in {side // 8, ..., side - 1}; boxes are clipped to the patch. `axes` "xy" keeps the
    full depth in z. An axis of one voxel is never cut.

    Args:
        side: the share of each side: with "volume" a box holds 1 - lambda of the patch, with
            "square_root" it is (1 - lambda)^(1/2) whatever the number of axes.
    """
    cut = [axis for axis in range(2 if axes == "xy" else 3) if shape[axis] > 1]
    power = len(cut) if side == "volume" else 2
    share = (1 - rng.beta(alpha, alpha)) ** (1 / max(1, power))
    boxes = []
    for _ in range(items):
        x, y, z = (
            box_span(length, share, int(rng.integers(length // 8, length)))
            if axis in cut
            else slice(0, length)
            for axis, length in enumerate(shape)
        )
        boxes.append((x, y, z))
    return Mixture(rng.permutation(items).tolist(), boxes)


def box_span(side: int, share: float, centre: int) -> slice:
    """Box of int(share x side) voxels around `centre`, clipped to [0, side)."""
    half = int(share * side) // 2
    return slice(max(0, centre - half), min(side, centre + half))
