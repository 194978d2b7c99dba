"""Where voxels lie in the patient: grids and the exact changes between them.

An affine maps voxel indices (i, j, k) to millimetres in RAS+ (x grows to the patient's right, y to
anterior, z to superior), as NIfTI does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, permutations
from typing import Any, ClassVar, Self

import numpy as np

from medssl.errors import UsageError

Triple = tuple[int, int, int]

SMALLEST_MM, LARGEST_MM = 1e-7, 1e4
"""Sides that a voxel can have: from a tenth of a nanometre to ten metres."""

_ENDS = ("LR", "PA", "IS")
_SHEAR = 1e-4
"""Cosine between axes above which ITK calls a NIfTI grid sheared."""


@dataclass(frozen=True)
class Orientation:
    """A reordering of voxel axes without interpolation.

    Attributes:
        order: new axis `a` is old axis `order[a]`.
        flips: whether new axis `a` runs backwards.
    """

    order: Triple
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """View of `array` [..., X, Y, Z] on the new axes; no copy."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return turned[(..., *self._steps())]

    def _steps(self) -> tuple[slice, slice, slice]:
        first, second, third = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return first, second, third

    def matrix(self, shape: Triple) -> np.ndarray:
        """4x4 matrix from new voxel indices to those of the old grid of `shape`."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for new, (old, flip) in enumerate(zip(self.order, self.flips, strict=True)):
            matrix[old, new] = -1 if flip else 1
            matrix[old, 3] = shape[old] - 1 if flip else 0
        return matrix


@dataclass(frozen=True)
class NiftiTransforms:
    """Both transforms of a NIfTI header, their codes and units, in the header's own words.

    Files of one grid that share them lie alike for every reader, by whatever rule it chooses
    between the two.

    Attributes:
        fields: value of each of FIELDS; numbers, or lists of them.
    """

    FIELDS: ClassVar = (
        "qform_code",
        "sform_code",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "qoffset_y",
        "qoffset_z",
        "srow_x",
        "srow_y",
        "srow_z",
        "pixdim",
        "xyzt_units",
    )
    fields: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the patient's space.

    Attributes:
        shape: voxels along each axis.
        affine: 4x4 float64, voxel index to RAS+ mm; read-only.
        nifti: what the file of this very grid said, where it was a NIfTI file; grids made from
            this one have none.

    Raises:
        ValueError: if the affine is not an invertible map, an axis has no voxel, or no voxel can
            be so small or large.
    """

    shape: Triple
    affine: np.ndarray
    nifti: NiftiTransforms | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        rows = affine.tolist()  # numpy is slow on so few numbers
        if affine.shape != (4, 4) or not all(map(math.isfinite, chain(*rows))):
            raise ValueError("the affine is not a finite 4x4 matrix")
        axes = list(zip(*(row[:3] for row in rows[:3]), strict=True))
        sides = [math.hypot(*axis) for axis in axes]
        if not SMALLEST_MM <= min(sides) <= max(sides) <= LARGEST_MM:
            raise ValueError(f"the voxels measure {_mm(sides)}, which is no volume")
        (a, b, c), (d, e, f), (g, h, i) = (
            [length / side for length in axis] for axis, side in zip(axes, sides, strict=True)
        )
        if abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) < 1e-6:
            raise ValueError("the voxels have no volume")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"the grid {_by(self.shape)} has no voxels")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(length) for length in self.shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @property
    def voxel(self) -> float:
        """Volume of a voxel, cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis, mm."""
        x, y, z = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @property
    def directions(self) -> np.ndarray:
        """3x3, one unit vector in RAS+ per column: where each voxel axis points."""
        return np.asarray(self.affine[:3, :3] / self.spacing)

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles, as of a CT with a tilted gantry."""
        cosines = self.directions.T @ self.directions - np.eye(3)
        return bool(np.abs(cosines).max() > _SHEAR)

    @property
    def opens_as_nifti(self) -> bool:
        """Whether viewers built on ITK open a NIfTI file of this grid: they refuse shears."""
        qform = self.nifti is not None and self.nifti.fields["qform_code"] > 0
        return qform or not self.is_sheared

    @property
    def orientation(self) -> str:
        """Where the voxel axes point, to the closest: "RAS", "LPS", "PIR", ..."""
        axes = self.closest
        return "".join(
            _ENDS[world][int(self.directions[world, axis] > 0)] for axis, world in enumerate(axes)
        )

    @property
    def closest(self) -> Triple:
        """The patient axis (0 right, 1 anterior, 2 superior) of each voxel axis, each used once."""
        cosines = np.abs(self.directions)
        first, second, third = max(
            permutations(range(3)),
            key=lambda axes: sum(cosines[world, axis] for axis, world in enumerate(axes)),
        )
        return first, second, third

    def runs_clearly(self, code: str) -> bool:
        """Whether the axes point as `code` says, each less than 37 degrees askew (cosine 0.8)."""
        near = np.abs(self.directions)[list(self.closest), range(3)]
        return self.orientation == code and bool(near.min() > 0.8)

    def corners(self) -> np.ndarray:
        """Centres of the eight corner voxels, mm, [8, 3]."""
        last = np.array(self.shape) - 1
        index = np.indices((2, 2, 2)).reshape(3, 8).T * last
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def oriented(self, code: str) -> tuple[Self, Orientation]:
        """The same voxels with axes reordered and reversed to point as `code` says.

        Raises:
            UsageError: if `code` does not name right/left, anterior/posterior, superior/inferior
                once each.
        """
        wanted = [next((w for w, ends in enumerate(_ENDS) if c in ends), -1) for c in code.upper()]
        if sorted(wanted) != [0, 1, 2]:
            raise UsageError(
                f"'{code}' is not an orientation",
                "it needs one letter of each pair R/L, A/P and S/I",
                "write for example RAS",
            )
        own, axes = self.orientation, self.closest
        first, second, third = (axes.index(world) for world in wanted)
        flips = tuple(own[axes.index(w)] != c for w, c in zip(wanted, code.upper(), strict=True))
        change = Orientation((first, second, third), (flips[0], flips[1], flips[2]))
        shape = (self.shape[first], self.shape[second], self.shape[third])
        return type(self)(shape, self.affine @ change.matrix(self.shape)), change

    def cropped(self, start: Triple, stop: Triple) -> Self:
        """The box `start` <= index < `stop`; indices outside the grid pad."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array(start)
        x, y, z = (int(high - low) for low, high in zip(start, stop, strict=True))
        return type(self)((x, y, z), affine)

    def reshaped(self, shape: Triple) -> Self:
        """The same field of view, outer voxel faces included, in `shape` voxels."""
        factor = np.array(self.shape) / np.array(shape)
        affine = self.affine.copy()
        affine[:3, :3] *= factor
        affine[:3, 3] += self.affine[:3, :3] @ (factor / 2 - 0.5)
        return type(self)(shape, affine)

    def resampled(self, spacing: tuple[float, float, float]) -> Self:
        """The same field of view at about `spacing` mm: whole voxels, so exact to half a voxel."""
        x, y, z = (
            max(1, round(length * own / wanted))
            for length, own, wanted in zip(self.shape, self.spacing, spacing, strict=True)
        )
        return self if (x, y, z) == self.shape else self.reshaped((x, y, z))

    def matches(self, other: "Geometry", tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same voxels at the same places, to `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() <= tolerance_mm)

    def difference(self, other: "Geometry", tolerance_mm: float = 1e-2) -> str:
        """What differs from `other`, as part of a sentence; empty if the grids match."""
        if self.matches(other, tolerance_mm):
            return ""
        parts = []
        if self.shape != other.shape:
            parts.append(f"shape {_by(self.shape)} against {_by(other.shape)}")
        extent = np.array(self.shape)
        if (np.abs(np.subtract(self.spacing, other.spacing)) * extent).max() > tolerance_mm:
            parts.append(f"spacing {_mm(self.spacing)} against {_mm(other.spacing)}")
        reach = extent * self.spacing
        if (np.abs(self.directions - other.directions) * reach).max() > tolerance_mm:
            parts.append(_turn(self, other))
        if np.abs(self.affine[:3, 3] - other.affine[:3, 3]).max() > tolerance_mm:
            parts.append(f"origin {_mm(self.affine[:3, 3])} against {_mm(other.affine[:3, 3])}")
        return ", ".join(parts) or "position of the corners"


def _turn(one: Geometry, other: Geometry) -> str:
    if one.orientation != other.orientation:
        return f"orientation {one.orientation} against {other.orientation}"
    cosines = np.clip((one.directions * other.directions).sum(axis=0), -1, 1)
    return f"orientation, by {np.degrees(np.arccos(cosines.min())):.2g} degrees"


def _by(shape: Triple) -> str:
    return "x".join(str(length) for length in shape)


def _mm(values: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ") mm"
