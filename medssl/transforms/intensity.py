"""Intensities of each channel made comparable between scans, each scan for itself.

Legend: C channels, X Y Z voxels.
"""

from collections.abc import Hashable, Mapping
from math import sqrt

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

SORTED_VOXELS = 500_000
"""Percentiles of more voxels than this are taken from every n-th: sorting would take longer than
all else, and half a million voxels place a percentile to a few hundredths of itself."""


PIECE = 1 << 15
"""Values that are summed at once."""


class ZScored(MapTransform):
    """(value - mean) / standard deviation, per channel, in double precision.

    With `clip`, values are first clipped to these percentiles (nnU-Net's treatment of CT, per
    scan). With `foreground`, percentiles, mean and deviation are those of the voxels above the
    channel's minimum, which is the value of air or padding. A constant channel becomes 0.
    With `outside`, the voxels at the minimum get that value.

    Args:
        keys: images, [C, ...]; float32 comes out.
        clip: percentiles, for instance (0.5, 99.5); None clips nothing.
        foreground: leave out the voxels at the minimum.
        outside: value of these voxels in the result; None: scaled like all others.

    Raises:
        ValueError: the percentiles do not rise between 0 and 100.
    """

    def __init__(
        self,
        keys: KeysCollection,
        clip: tuple[float, float] | None = None,
        foreground: bool = False,
        outside: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if clip is not None and not (len(clip) == 2 and 0 <= clip[0] < clip[1] <= 100):
            raise ValueError(f"clip={list(clip)} are not two percentiles, the larger one last")
        self.clip, self.foreground, self.outside = clip, foreground, outside

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with its images scaled."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            array = image.detach().cpu().numpy()
            scaled = np.empty_like(array, dtype=np.float32)  # in the file's order of voxels
            for channel, out in zip(array, scaled, strict=True):
                self._scale(channel, out)
            changed[key] = like(image, torch.from_numpy(scaled))
        return changed

    def _scale(self, channel: np.ndarray, out: np.ndarray) -> None:
        low, high, values = None, None, channel
        if self.foreground or self.clip:
            values = channel.ravel(order="K")
            # An odd step is not in step with rows of 2^n voxels.
            step = max(1, values.size // SORTED_VOXELS) | 1
            values = values[::step]
        if self.foreground:
            minimum = channel.min()
            values = values[values > minimum]
            if not values.size:
                np.subtract(channel, minimum, out=out)
                return
        if self.clip:
            low, high = (float(value) for value in np.percentile(values, self.clip))
            if low == high:  # nearly all has one value: a clip would leave nothing
                low = high = None
            else:
                values = np.clip(values, low, high)
        centre, scale = mean_and_deviation(values)
        scale = scale if scale > 1e-6 * max(1.0, abs(centre)) else 1.0
        clipped = channel if low is None else np.clip(channel, low, high, out=out)
        np.subtract(clipped, np.float32(centre), out=out, casting="unsafe")
        out /= np.float32(scale)
        if self.outside is not None:
            out[channel == channel.min()] = self.outside


def mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    """Of all values, in double precision.

    float32 sums of values in the millions lose the digits that the deviation needs. Pieces that fit
    into the processor's cache are summed about nearly the mean, which is quick and keeps digits.
    """
    flat = values.ravel(order="K")
    origin = float(flat[:: flat.size // PIECE + 1].mean(dtype=np.float64))
    total = squares = 0.0
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE].astype(np.float64)
        piece -= origin
        total += float(piece.sum())
        squares += float(piece @ piece)
    mean = total / flat.size
    return origin + mean, sqrt(max(0.0, squares / flat.size - mean**2))


class MarkForegroundd(MapTransform):
    """Marks the foreground of all channels of an image, for `CropMarkedd`.

    Foreground lies above the channel's minimum, which is the value of air or padding, or above
    `above`. Where there is none, all is marked.

    Args:
        keys: one image, [C, X, Y, Z].
        above: for CT, the lower end of its window.
        mark: key that gets the marked voxels, bool [1, X, Y, Z].
    """

    def __init__(
        self,
        keys: KeysCollection,
        above: float | None = None,
        mark: str = "foreground",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.above, self.mark = above, mark

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with one key more."""
        changed = dict(data)
        image = changed[self.first_key(changed)]
        array = image.detach().cpu().numpy()
        marked = np.zeros_like(array[0], dtype=bool)
        for channel in array:
            marked |= channel > (channel.min() if self.above is None else self.above)
        if not marked.any():
            marked[...] = True
        changed[self.mark] = torch.from_numpy(marked[None])
        return changed


def like(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`values` on the grid and device of `image`, with its record of transforms."""
    values = values.to(image.device)
    if not isinstance(image, MetaTensor):
        return values
    made: torch.Tensor = MetaTensor(
        values, meta=image.meta, applied_operations=image.applied_operations
    )
    return made
