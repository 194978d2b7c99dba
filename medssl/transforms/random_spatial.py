"""Random changes of where voxels lie, with masks that follow; what falls outside becomes 0.

The laws of rotation, scaling and mirroring are those of nnU-Net. A random change of a patch leads
nowhere back, so no record is kept of it.

Legend: C channels, K classes, X Y Z voxels; planar images have no Z.
"""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from medssl.data.patches import Pose
from medssl.transforms.intensity import like
from medssl.transforms.linear import middle, plain, reading
from medssl.transforms.moves import Size
from medssl.transforms.rotation import PLANES, Rotation, turn


class RandomMove(RandomizableTransform, MapTransform):
    """A random change of grid that says beforehand what it needs to fill a box.

    As any transform of MONAI it is called with a dictionary, and image sizes stay. Who cuts patches
    out of a larger volume calls `randomize`, cuts `needs(size)` voxels, and has `apply` fill `size`
    voxels around the same centre, so that nothing comes from outside.
    """

    @abstractmethod
    def randomize(self, data: Any = None) -> None:
        """Draw for an image whose sides are `data`."""

    @abstractmethod
    def needs(self, size: Size) -> Size:
        """Sides of the box that fills `size`, by what was drawn; each larger by an even number."""

    @abstractmethod
    def apply(self, data: Mapping[Hashable, Tensor], size: Size) -> dict[Hashable, Tensor]:
        """The middle `size` voxels of the images, as drawn."""

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """The dictionary with changed images [C, X, Y] or [C, X, Y, Z] of the sizes given."""
        first = self.first_key(dict(data))
        if first not in data:
            return dict(data)
        size = tuple(data[first].shape[1:])
        self.randomize(size)
        return self.apply(data, size)


class RandPosed(RandomMove):
    """Quarter turns in the plane of the first two axes, then a flip along one of them or none.

    With `turns` and `flip="half"` along both axes, all eight orientations are equally frequent.
    Turned images whose sides differ are cut, or filled up with 0, around their middle.

    Args:
        keys: images and masks, [C, X, Y] or [C, X, Y, Z].
        turns: whether to turn by 0, 90, 180 or 270 degrees, each as often.
        flip: never, in half of the cases, or always.
        axes: a flip mirrors one of these.
    """

    def __init__(
        self,
        keys: KeysCollection,
        turns: bool = True,
        flip: Literal["none", "half", "always"] = "half",
        axes: Sequence[int] = (0, 1),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        if flip not in ("none", "half", "always"):
            raise ValueError(f"flip={flip!r} is none of none, half and always")
        if not set(axes) <= {0, 1} or not len(axes):
            raise ValueError(f"axes={list(axes)} are not out of 0 and 1")
        self.turns, self.flip, self.axes = turns, flip, tuple(axes)
        self.pose = Pose()

    def randomize(self, data: Any = None) -> None:
        """Draw the quarter turns and the flip, `pose`."""
        turns = int(self.R.randint(4)) if self.turns else 0
        flipped = self.flip == "always" or (self.flip == "half" and self.R.rand() < 0.5)
        self.pose = Pose(turns, int(self.R.choice(self.axes)) if flipped else None)

    def needs(self, size: Size) -> Size:
        """Sides of the box to cut; of two axes that are swapped, both as long as the longer."""
        if self.pose.turns % 2 == 0:
            return size
        side = max(size[:2])
        return (*(one + 2 * ((side - one + 1) // 2) for one in size[:2]), *size[2:])

    def apply(self, data: Mapping[Hashable, Tensor], size: Size) -> dict[Hashable, Tensor]:
        """The middle `size` voxels, turned and flipped as drawn."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = plain(changed[key])
            posed = torch.rot90(image, self.pose.turns, (1, 2)) if self.pose.turns else image
            if self.pose.flip is not None:
                posed = posed.flip(1 + self.pose.flip)
            changed[key] = like(changed[key], middle(posed, size))
        return changed


class RandMirrord(RandomMove):
    """Mirrors along each axis by itself.

    Args:
        keys: images and masks, [C, X, Y] or [C, X, Y, Z].
        prob: chance of each axis.
        axes: of X Y Z, as 0, 1, 2; those that an image lacks are left out.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        axes: Sequence[int] = (0, 1, 2),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if not set(axes) <= {0, 1, 2}:
            raise ValueError(f"axes={list(axes)} are not out of 0, 1 and 2")
        self.axes = tuple(axes)
        self._drawn: tuple[int, ...] = ()

    def randomize(self, data: Any = None) -> None:
        """Draw which axes are mirrored."""
        self._drawn = tuple(axis for axis in self.axes if self.R.rand() < self.prob)

    def needs(self, size: Size) -> Size:
        """`size` itself: mirroring reads nothing from outside."""
        return size

    def apply(self, data: Mapping[Hashable, Tensor], size: Size) -> dict[Hashable, Tensor]:
        """The middle `size` voxels, mirrored as drawn."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = middle(plain(changed[key]), size)
            axes = [1 + axis for axis in self._drawn if axis < len(size)]
            changed[key] = like(changed[key], image.flip(axes) if axes else image)
        return changed


class RandRotateScaled(RandomMove):
    """Rotates and scales at once, in one resampling: linear for images.

    Masks are resampled linearly class by class, and the class with the largest share wins, the
    lowest of equal ones.

    An image whose longest side is more than `plane_ratio` times its shortest is changed in the
    plane across the shortest axis alone: its slices are too thick to share.

    Args:
        keys: images and masks, [C, X, Y] or [C, X, Y, Z].
        prob_rotation, prob_scaling: chances, of each by itself.
        rotation: degrees; a rotation about each axis is uniform in +/- this.
        rotation_in_plane: degrees, for a rotation in a plane; None: 180, or 15 in planar images
            whose one side is more than 1.5 times the other.
        scaling: the factor of all axes is uniform in between; above 1 objects become smaller.
        plane_ratio: see above.
        masks: keys among `keys` that hold class indices.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob_rotation: float = 0.2,
        rotation: float = 30.0,
        prob_scaling: float = 0.2,
        scaling: tuple[float, float] = (0.7, 1.4),
        rotation_in_plane: float | None = None,
        plane_ratio: float = 3.0,
        masks: Sequence[str] = ("label",),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        low, high = scaling
        if not 0 < low <= high:
            raise ValueError(f"scaling={list(scaling)} does not go from above 0 to no less")
        self.prob_rotation, self.rotation = prob_rotation, rotation
        self.prob_scaling, self.scaling = prob_scaling, (float(low), float(high))
        self.rotation_in_plane, self.plane_ratio = rotation_in_plane, plane_ratio
        self.masks = set(masks)
        self._thick: int | None = None
        self._turn: np.ndarray | None = None
        self._scale = 1.0

    def randomize(self, data: Any = None) -> None:
        """Draw for an image whose sides are `data`."""
        size = tuple(data)
        thick = len(size) == 3 and max(size) > self.plane_ratio * min(size)
        self._thick = int(np.argmin(size)) if thick else None
        self._turn, self._scale = None, 1.0
        if self.R.rand() < self.prob_rotation:
            self._turn = self._rotation(size)
        if self.R.rand() < self.prob_scaling:
            self._scale = float(self.R.uniform(*self.scaling))
        self._do_transform = self._turn is not None or self._scale != 1.0

    def _rotation(self, size: Size) -> np.ndarray:
        """A rotation matrix over the axes that change."""
        if self._thick is None and len(size) == 3:
            angles = np.deg2rad(self.R.uniform(-self.rotation, self.rotation, 3))
            x, y, z = (turn(3, *axes, angle) for axes, angle in zip(PLANES, angles, strict=True))
            return np.asarray(x @ y @ z)
        most = self.rotation_in_plane
        if most is None:
            most = 15.0 if len(size) == 2 and max(size) > 1.5 * min(size) else 180.0
        return turn(2, 0, 1, float(np.deg2rad(self.R.uniform(-most, most))))

    def needs(self, size: Size) -> Size:
        """Sides of the box around all voxels that the drawn rotation and scaling read."""
        halves = (np.array(size) - 1) / 2
        far = np.abs(self._matrix(size)) @ halves
        more = (2 * max(0, ceil(round(one, 6))) for one in far - halves)
        return tuple(side + one for side, one in zip(size, more, strict=True))

    def apply(self, data: Mapping[Hashable, Tensor], size: Size) -> dict[Hashable, Tensor]:
        """The middle `size` voxels, rotated and scaled: images float32, masks in their own type."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = plain(changed[key])
            if not self._do_transform:
                made = middle(image, size)
            elif key in self.masks:
                made = Rotation(self._matrix(size)).classes(image, size)
            elif self._turn is None:
                made = self._stretched(image.float(), size)
            else:
                made = self._turned(image.float(), size)
            changed[key] = like(changed[key], made)
        return changed

    def _axes(self, size: Size) -> list[int]:
        return [axis for axis in range(len(size)) if axis != self._thick]

    def _matrix(self, size: Size) -> np.ndarray:
        """Where a voxel of the result, seen from the middle, is read."""
        axes, matrix = self._axes(size), np.eye(len(size))
        turned = np.eye(len(axes)) if self._turn is None else self._turn
        matrix[np.ix_(axes, axes)] = self._scale * turned
        return matrix

    def _turned(self, image: Tensor, size: Size) -> Tensor:
        """Rotated; thick slices as channels, in their plane."""
        if self._thick is None:
            return Rotation(self._matrix(size))(image, size)
        axes = self._axes(size)
        slices = image.movedim(1 + self._thick, 1)
        plane = tuple(size[axis] for axis in axes)
        read = Rotation(self._matrix(size)[np.ix_(axes, axes)])
        made = read(slices.flatten(0, 1), plane)
        return made.reshape(*slices.shape[:2], *plane).movedim(1, 1 + self._thick)

    def _stretched(self, image: Tensor, size: Size) -> Tensor:
        """Scaled alone: one axis after the other, the last one where voxels are fewest."""
        lines = {
            axis: reading(image.shape[1 + axis], size[axis], self._scale)
            for axis in self._axes(size)
        }
        inside = [slice(None)] * len(size)
        for axis, line in lines.items():
            image = image.narrow(1 + axis, line.first, line.used)
            inside[axis] = slice(line.start, line.start + len(line))
        for axis in sorted(lines, reverse=self._scale < 1):
            image = lines[axis].read(image, 1 + axis)
        if tuple(image.shape[1:]) == size:
            return image
        made = image.new_zeros(len(image), *size)
        made[(slice(None), *inside)] = image
        return made
