"""What joint 2D-3D pre-training is given: images and volumes together.

Legend: B2 images, B3 volumes, N slices, S pixels of a side, all the same for both.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass
class Images:
    """Native images and loose slices.

    Attributes:
        pixels: [B2, S, S] float32.
        number: [B2] int64, of each among all images and slices of all data sets.
        source: [B2] int64, index of its data set.
    """

    pixels: Tensor
    number: Tensor
    source: Tensor


@dataclass
class Volumes:
    """Windows of volumes, slice by slice.

    Attributes:
        slices: [B3, N, S, S] float32; a short volume is filled up behind its last slice.
        valid: [B3, N] bool, true for the first slices of each; false for those that only pad it.
        spacing: [B3] float32, mm between slices.
        foreground: [B3, N] float32, share of each slice that is not air.
        number: [B3] int64, of each among the volumes of all data sets.
        slice_number: [B3, N] int64, of each slice among all images and slices; padding has the
            number of the last valid slice.
        source: [B3] int64, index of its data set.
    """

    slices: Tensor
    valid: Tensor
    spacing: Tensor
    foreground: Tensor
    number: Tensor
    slice_number: Tensor
    source: Tensor


@dataclass
class MixedBatch:
    """Images and volumes of one step; either may be none at all, with a first axis of 0."""

    images: Images
    volumes: Volumes
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        images = Images(**_moved(self.images, device))
        return type(self)(images, Volumes(**_moved(self.volumes, device)), self.ids)

    def damaged(self) -> tuple[str, ...]:
        """The cases with values that are not finite."""
        items = [*self.images.pixels, *self.volumes.slices]
        pairs = zip(self.ids, items, strict=True)
        return tuple(case for case, item in pairs if not bool(item.isfinite().all()))


def _moved(part: Images | Volumes, device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device, non_blocking=True) for name, value in vars(part).items()}
