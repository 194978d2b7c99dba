"""Gated CRF: voxels that are near and look alike should be answered alike.

Source: Obukhov et al., arXiv 1906.04651 (sheet of partial labels, section 3). Released, places of a
window beyond the image add a constant; here they are left out, which no gradient tells.

Legend: B items, C channels, K classes, X Y Z voxels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from medssl.methods.segment.loss_settings import GatedCrf, Kernel


def gated_crf(probability: Tensor, image: Tensor, chosen: GatedCrf) -> Tensor:
    """1/V sum over v, and over u in the window of v, of k(u, v) (1 - sum over c of p_v p_u).

    Windows lie in the plane of x and y, so slices of volumes are looked at one by one.

    Args:
        probability: [B, K, X, Y, Z].
        image: [B, C, X, Y, Z]; intensities of all channels are compared together.
        chosen: window and kernels.
    """
    width, depth = image.shape[2:4]
    total = probability.new_zeros(())
    for across, along in _half_window(chosen.radius):
        if across >= width or abs(along) >= depth:
            continue
        pairs = [_shifted(one, across, along) for one in (probability, image)]
        (p, other_p), (values, other_values) = pairs
        apart = ((values - other_values) ** 2).sum(1)
        alike = sum(
            (_kernel(one, across**2 + along**2, apart) for one in chosen.kernels),
            torch.zeros_like(apart),
        )
        total = total + 2 * (alike * (1 - (p * other_p).sum(1))).sum()
    return total / probability[:, 0].numel()


def _half_window(radius: int) -> Iterator[tuple[int, int]]:
    """Shifts of which no two are each other's reverse."""
    yield from ((0, along) for along in range(1, radius + 1))
    for across in range(1, radius + 1):
        yield from ((across, along) for along in range(-radius, radius + 1))


def _shifted(values: Tensor, across: int, along: int) -> tuple[Tensor, Tensor]:
    """The voxels of which both are inside the image, and those `across` and `along` from them."""
    one, other = values[:, :, : values.shape[2] - across], values[:, :, across:]
    if along >= 0:
        return one[:, :, :, : values.shape[3] - along], other[:, :, :, along:]
    return one[:, :, :, -along:], other[:, :, :, :along]


def _kernel(chosen: Kernel, distance: int, apart: Tensor) -> Tensor:
    """Weights of pairs by their squared distances, in voxels and in intensity [B, x, y, Z]."""
    exponent = torch.full_like(apart, -distance / (2 * chosen.space**2))
    if chosen.intensity is not None:
        exponent = exponent - apart / (2 * chosen.intensity**2)
    return chosen.weight * exponent.exp()
