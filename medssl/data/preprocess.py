"""Volume on disk to volume for the network: crop, orientation, intensity, resampling.

In numpy, for speed: what MONAI's CropForeground, Orientation, Spacing and intensity transforms do,
in a fraction of their time and without loading torch. Resampling keeps the grid's outer faces.
"""

import numpy as np

from medssl.data.geometry import Geometry, Orientation
from medssl.data.intensity import measure
from medssl.data.record import Record
from medssl.data.resample import copy_in_rows, linear_axis, nearest, nearest_axis
from medssl.data.volume import Volume
from medssl.settings import PreprocessSettings

__all__ = ["Record", "preprocess", "preprocess_mask"]

Triple = tuple[int, int, int]

# nnU-Net's threshold: slices further apart than this, in voxels of the slice, share little content.
_THICK = 3.0


def preprocess(volume: Volume, settings: PreprocessSettings) -> tuple[np.ndarray, Record]:
    """The image on the network's grid, float32 [C, X, Y, Z], and the record that undoes it.

    Images are resampled linearly; along an axis whose slices are more than three times as far apart
    as the voxels within a slice, the nearest slice is taken (nnU-Net's rule).

    Raises:
        DataError: if an intensity is not finite.
        UsageError: if the settings name no valid orientation.
    """
    start, stop = _foreground_box(volume, settings)
    box = volume.geometry.cropped(start, stop)
    turned, orientation = _turned(box, settings.orientation)
    network = turned if settings.spacing is None else turned.resampled(settings.spacing)
    intensity = tuple(
        measure(channel, settings, volume.file_of(index))
        for index, channel in enumerate(volume.array)
    )
    record = Record(volume.geometry, start, stop, orientation, network, intensity)
    result = np.empty((len(volume.array), *network.shape), np.float32)
    for channel, treatment, out in zip(volume.array, intensity, result, strict=True):
        view = record.turned(channel)
        treated = np.empty_like(view, dtype=np.float32)  # in the file's order of voxels
        treatment.apply(view, treated)
        copy_in_rows(_resampled(treated, turned, network.shape), out)
    return result, record


def preprocess_mask(mask: np.ndarray, record: Record) -> np.ndarray:
    """`mask` [X, Y, Z] of the source grid on the network's grid, uint8, nearest voxel."""
    view = record.turned(mask).astype(np.uint8, copy=False)
    result = np.empty(record.network.shape, np.uint8)
    copy_in_rows(nearest(view, record.network.shape), result)
    return result


def _turned(geometry: Geometry, code: str | None) -> tuple[Geometry, Orientation]:
    if code is None:
        return geometry, Orientation((0, 1, 2), (False, False, False))
    return geometry.oriented(code)


def _resampled(array: np.ndarray, geometry: Geometry, shape: Triple) -> np.ndarray:
    thick = _thick_axis(geometry.spacing)
    # shrink first: fewer voxels for the axes that follow
    for axis in sorted(range(3), key=lambda axis: shape[axis] / array.shape[axis]):
        resample = nearest_axis if axis == thick else linear_axis
        array = resample(array, axis, shape[axis])
    return array


def _thick_axis(spacing: tuple[float, float, float]) -> int | None:
    """The axis across thick slices, if there is one."""
    axis = int(np.argmax(spacing))
    within = max(length for other, length in enumerate(spacing) if other != axis)
    return axis if spacing[axis] > _THICK * within else None


def _foreground_box(volume: Volume, settings: PreprocessSettings) -> tuple[Triple, Triple]:
    """Smallest box of the foreground of all channels; the whole grid if there is none.

    Foreground lies above the channel's minimum, in CT above the window's lower end.
    """
    shape = volume.geometry.shape
    if not settings.crop_foreground:
        return (0, 0, 0), shape
    windowed = settings.intensity == "ct_window"
    inside = np.zeros(shape, bool, order="F")
    for channel in volume.array:
        inside |= channel > (settings.window[0] if windowed else channel.min())
    if not inside.any():
        return (0, 0, 0), shape
    (x, u), (y, v), (z, w) = (_ends(inside, axis) for axis in range(3))
    return (x, y, z), (u, v, w)


def _ends(inside: np.ndarray, axis: int) -> tuple[int, int]:
    """First position along `axis` that holds a true voxel, and one beyond the last."""
    others = tuple(other for other in range(3) if other != axis)
    places = np.flatnonzero(inside.any(axis=others))
    return int(places[0]), int(places[-1]) + 1
