"""Changes of an image's grid that are exact, fast, and lead back.

Legend: C channels, X Y Z voxels.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ensure_tuple_rep

from medssl.data.geometry import Geometry
from medssl.data.patches import cut
from medssl.data.record import Record
from medssl.data.resample import copy_in_rows, linear_axis, nearest_axis, taps

Triple = tuple[int, int, int]

THICK = 3.0
"""nnU-Net's threshold: slices further apart than this, in voxels of the slice, share little."""


def geometry_of(image: MetaTensor) -> Geometry:
    """The grid of an image [C, X, Y, Z]; ValueError where its affine is none."""
    x, y, z = image.shape[1:]
    return Geometry((x, y, z), image.affine.cpu().numpy())


class GridTransform(MapTransform, InvertibleTransform):
    """A transform to another grid; images [C, X, Y, Z] are MetaTensors."""

    def _moved(self, image: MetaTensor, array: torch.Tensor, grid: Geometry) -> MetaTensor:
        """`array` on `grid`, with the transform in its record."""
        before = geometry_of(image)
        moved = MetaTensor(array, meta=image.meta, applied_operations=image.applied_operations)
        moved.affine = torch.from_numpy(np.array(grid.affine))
        info = {"affine": before.affine.tolist()}
        self.push_transform(moved, orig_size=before.shape, extra_info=info)
        return moved

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Images on the grid from which they came; linear, and nearest voxel for whole numbers."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            done = self.pop_transform(image)
            before = Geometry(tuple(done["orig_size"]), np.array(done["extra_info"]["affine"]))
            record = Record(before, geometry_of(image), cut=True)
            back = torch.stack([_restored(one, record) for one in image.as_tensor()])
            restored = MetaTensor(
                back, meta=image.meta, applied_operations=image.applied_operations
            )
            restored.affine = torch.from_numpy(np.array(before.affine))
            changed[key] = restored
        return changed


def _restored(channel: torch.Tensor, record: Record) -> torch.Tensor:
    array = channel.cpu().numpy()
    whole = np.zeros(record.source.shape, array.dtype)
    axis_read = linear_axis if array.dtype.kind == "f" else nearest_axis
    for axis in (2, 1, 0):
        array = axis_read(array, axis, record.axes[axis].taps)
    record.turned(whole)[...] = array
    return torch.from_numpy(whole)


class CropMarkedd(GridTransform):
    """Cuts images to the smallest box that holds all marked voxels; drops the mark.

    Args:
        keys: images [C, X, Y, Z] on one grid.
        mark: key of the marked voxels, bool [1, X, Y, Z], see `MarkForegroundd`.
    """

    def __init__(
        self, keys: KeysCollection, mark: str = "foreground", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mark = mark

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with images that are views of the given ones, and without the mark."""
        changed = dict(data)
        marked = changed.pop(self.mark).cpu().numpy()[0]
        (x, u), (y, v), (z, w) = (_ends(marked, axis) for axis in range(3))
        for key in self.key_iterator(changed):
            image = changed[key]
            box = image.as_tensor()[:, x:u, y:v, z:w]
            grid = geometry_of(image).cropped((x, y, z), (u, v, w))
            changed[key] = self._moved(image, box, grid)
        return changed


def _ends(marked: np.ndarray, axis: int) -> tuple[int, int]:
    """First position along `axis` that holds a true voxel, and one beyond the last."""
    others = tuple(other for other in range(3) if other != axis)
    places = np.flatnonzero(marked.any(axis=others))
    return int(places[0]), int(places[-1]) + 1


class CropPatchd(GridTransform):
    """Cuts a box from images; of a memory map it reads no more than the box.

    `monai.transforms.SpatialCropd` gives a view of the file, which cannot be written to, and stops
    at the borders. Training cuts its patches from the cache by the same code.

    Args:
        keys: images [C, ...] on one grid: arrays, which may be memory maps of `numpy.load`, or
            MetaTensors [C, X, Y, Z], whose affine follows.
        size: voxels along each axis.
        start: index of the first voxel along each axis, or the key that holds it; the box may
            stick out on any side, so it can be negative.
        fill: value of what lies outside, for all keys or for each.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int],
        start: Sequence[int] | Hashable = "start",
        fill: float | Sequence[float] = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size, self.start = tuple(size), start
        self.fill = ensure_tuple_rep(fill, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with boxes [C, *size], each a tensor of its image's type."""
        changed = dict(data)
        start = self.start if isinstance(self.start, list | tuple) else changed[self.start]
        for key, fill in self.key_iterator(changed, self.fill):
            image = changed[key]
            box = torch.from_numpy(cut(np.asarray(image), start, self.size, fill))
            if isinstance(image, MetaTensor):
                stop = [first + side for first, side in zip(start, self.size, strict=True)]
                grid = geometry_of(image).cropped(tuple(start), tuple(stop))
                box = self._moved(image, box, grid)
            changed[key] = box
        return changed


class FieldSpacingd(GridTransform):
    """Voxels of about another size in the same field of view, outer faces included.

    Images are resampled linearly; along an axis whose slices are more than three times as far apart
    as the voxels within a slice, the nearest slice is taken (nnU-Net's rule). Whole numbers, such
    as labels, take the nearest voxel. The number of voxels is whole, so that the spacing is exact
    to half a voxel; `monai.transforms.Spacingd` moves the outer faces instead.

    Args:
        keys: images [C, X, Y, Z] on one grid.
        pixdim: mm along each axis.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: tuple[float, float, float],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        x, y, z = pixdim
        self.pixdim = (float(x), float(y), float(z))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with resampled images, in C order."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            before = geometry_of(image)
            after = before.resampled(self.pixdim)
            array = image.as_tensor().cpu().numpy()
            out = np.empty((len(array), *after.shape), array.dtype)
            for channel, target in zip(array, out, strict=True):
                copy_in_rows(_resampled(channel, before, after.shape), target)
            changed[key] = self._moved(image, torch.from_numpy(out).to(image.device), after)
        return changed


def _resampled(array: np.ndarray, geometry: Geometry, shape: Triple) -> np.ndarray:
    for axis in _shrinking_first(array.shape, shape):
        points = taps(array.shape[axis], shape[axis])
        whole = array.dtype.kind != "f" or axis == _thick_axis(geometry.spacing)
        array = (nearest_axis if whole else linear_axis)(array, axis, points)
    return array


def _shrinking_first(own: tuple[int, ...], wanted: Triple) -> Iterator[int]:
    """The axes in the order that leaves the fewest voxels to the later ones."""
    yield from sorted(range(3), key=lambda axis: wanted[axis] / own[axis])


def _thick_axis(spacing: tuple[float, float, float]) -> int | None:
    """The axis across thick slices, if there is one."""
    axis = int(np.argmax(spacing))
    within = max(length for other, length in enumerate(spacing) if other != axis)
    return axis if spacing[axis] > THICK * within else None
