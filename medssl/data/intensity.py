"""Intensities of a channel made comparable between scans; one clip and one scaling each."""

from dataclasses import dataclass

import numpy as np

from medssl.errors import DataError
from medssl.settings import PreprocessSettings

# Percentiles of more voxels than this are taken from every n-th: sorting would take longer than
# all else, and half a million voxels place a percentile to a few hundredths of itself.
_SORTED_VOXELS = 500_000


@dataclass(frozen=True)
class Intensity:
    """(clip(value, low, high) - centre) / scale; null bounds do not clip."""

    low: float | None
    high: float | None
    centre: float
    scale: float

    def apply(self, array: np.ndarray, out: np.ndarray) -> None:
        """Writes the treated `array` to `out`, float32 of the same shape."""
        if self.low is None and self.high is None:
            out[...] = array
        else:
            np.clip(array, self.low, self.high, out=out)
        if self.centre:
            out -= np.float32(self.centre)
        if self.scale != 1:
            out /= np.float32(self.scale)


def measure(array: np.ndarray, settings: PreprocessSettings, source: str) -> Intensity:
    """The treatment of one channel [X, Y, Z], from its own values.

    `robust_zscore` clips to the percentiles 0.5 and 99.5 of the foreground and divides by its
    standard deviation after the clip (nnU-Net's treatment of CT, per scan); `zscore` uses mean and
    standard deviation of all voxels; `minmax` maps to 0..1; `ct_window` maps the window to 0..1.
    Foreground are the voxels above the channel's minimum, which is the value of air or padding.
    A constant channel becomes 0.

    Raises:
        DataError: if the channel holds NaN or infinity.
    """
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"{source} holds values that are not finite",
            "NaN or infinity cannot be scaled",
            "repair the file, for example by setting them to the background value",
        )
    match settings.intensity:
        case "none":
            return Intensity(None, None, 0.0, 1.0)
        case "ct_window":
            bottom, top = settings.window
            return Intensity(bottom, top, bottom, top - bottom)
        case "minmax":
            return Intensity(None, None, low, high - low or 1.0)
        case "zscore":
            return _zscore(array, None, None)
        case "robust_zscore":
            return _robust_zscore(array, low)


def _robust_zscore(array: np.ndarray, minimum: float) -> Intensity:
    step = max(1, array.size // _SORTED_VOXELS) | 1  # odd, so not in step with rows of 2^n voxels
    values = array.ravel(order="K")[::step]
    foreground = values[values > minimum]
    if not foreground.size:
        return Intensity(None, None, minimum, 1.0)
    low, high = (float(value) for value in np.percentile(foreground, (0.5, 99.5)))
    if low == high:  # nearly all foreground has one value: a clip would leave nothing
        return _zscore(foreground, None, None)
    return _zscore(np.clip(foreground, low, high), low, high)


def _zscore(values: np.ndarray, low: float | None, high: float | None) -> Intensity:
    # float64: float32 sums of values in the millions lose the digits that the deviation needs
    centre = float(values.mean(dtype=np.float64))
    scale = float(values.std(dtype=np.float64))
    return Intensity(low, high, centre, scale if scale > 1e-6 * max(1.0, abs(centre)) else 1.0)
