"""Windows of scans: a random affine for each scan, and the box of voxels that its window needs.

Affine and place are drawn before a voxel is read, and only the box is read. The affine acts on the
whole volume, about its centre, with the border going on outside; the window is a box of what comes
out. Interpolation happens later, on the device (`ScanBatch.windows`).

Source: MONAI's RandAffine, as the release of modality-invariant learning uses it: an output voxel
is looked up at rotation x shear x scale of its place.

Legend: B items, V scans of an item, x y z voxels of a source box, X Y Z voxels of a volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from medssl.data.scan.settings import AffineSettings

Triple = tuple[int, int, int]

NUMBERS = 12
"""Random numbers of an affine: 3 angles, 3 scales, 6 shears."""

IN_PLANE = np.array([0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0])
"""Those that leave the third axis alone: about it, along the others, of these along each other."""


@dataclass(frozen=True)
class Window:
    """One place of each scan of an item, seen through each scan's own affine.

    Attributes:
        volumes: [X, Y, Z] of each scan, mirrored where the item is; all of one shape. One scan
            twice is the same array twice.
        start: first voxel of the window; negative where the volume is shorter.
        matrix: [V, 3, 3] float64, from the window's axes to the volume's, about its centre.
    """

    volumes: tuple[np.ndarray, ...]
    start: Triple
    matrix: np.ndarray


def draw_window(
    volumes: Sequence[np.ndarray],
    flips: Sequence[int],
    settings: AffineSettings,
    patch: Triple,
    rng: Generator,
) -> Window:
    """A window of `patch` voxels anywhere in the volumes [X, Y, Z], which have one shape.

    Of volumes one voxel thick (pictures), the affine stays in the plane.

    Args:
        flips: axes that are mirrored with probability 0.5, in all volumes alike.
    """
    mirrored = {axis for axis in flips if rng.random() < 0.5}
    turn = tuple(slice(None, None, -1 if axis in mirrored else 1) for axis in range(3))
    x, y, z = (
        int(rng.integers(n - side + 1)) if n >= side else -((side - n) // 2)
        for n, side in zip(volumes[0].shape, patch, strict=True)
    )
    numbers = rng.uniform(-1, 1, (len(volumes), NUMBERS))
    turned = {id(volume): volume[turn] for volume in volumes}
    views = tuple(turned[id(volume)] for volume in volumes)
    return Window(views, (x, y, z), matrices(numbers, settings, volumes[0].shape[2] == 1))


def matrices(numbers: np.ndarray, settings: AffineSettings, planar: bool = False) -> np.ndarray:
    """Matrices [V, 3, 3] from numbers [V, 12] in [-1, 1].

    Args:
        planar: leave the third axis as it is, and mix none with it.
    """
    if planar:
        numbers = numbers * IN_PLANE
    angles = settings.rotation * numbers[:, :3]
    shear = np.tile(np.eye(3), (len(numbers), 1, 1))
    rows, columns = np.nonzero(~np.eye(3, dtype=bool))
    shear[:, rows, columns] = settings.shear * numbers[:, 6:]
    turn = _about(0, angles[:, 0]) @ _about(1, angles[:, 1]) @ _about(2, angles[:, 2])
    scale = 1 + settings.scale * numbers[:, None, 3:6]
    return np.asarray(turn @ shear * scale)


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotations [V, 3, 3] about one axis, radians."""
    one, other = (a for a in range(3) if a != axis)
    turn = np.tile(np.eye(3), (len(angle), 1, 1))
    turn[:, one, one] = turn[:, other, other] = np.cos(angle)
    turn[:, other, one] = np.sin(angle)
    turn[:, one, other] = -np.sin(angle)
    return turn


def cut(windows: Sequence[Window], patch: Triple) -> Tensor:
    """The windows [B, V, 1, *patch] float32 themselves, where no affine is drawn."""
    starts = np.array([[window.start] * len(window.volumes) for window in windows])
    return _boxes(windows, starts, patch)


def cut_sources(
    windows: Sequence[Window], patch: Triple, about: Literal["volume", "window"] = "volume"
) -> tuple[Tensor, Tensor]:
    """Source boxes [B, V, 1, x, y, z] and affines [B, V, 3, 4], float32, as in a `ScanBatch`.

    Args:
        about: the volume or the window: whose centre the affines leave in place.
    """
    shape = np.array([window.volumes[0].shape for window in windows])[:, None]  # [B, 1, 3]
    centre = (shape - 1) / 2
    matrix = np.stack([window.matrix for window in windows])
    starts = np.array([window.start for window in windows])[:, None]
    reach = (np.array(patch) - 1) / 2
    fixed = centre if about == "volume" else starts + reach
    middle = fixed + _times(matrix, starts + reach - fixed)
    half = _times(np.abs(matrix), reach)
    low = np.clip(np.floor(middle - half).astype(int), 0, shape - 1)
    high = np.clip(np.ceil(middle + half).astype(int) + 1, low + 1, shape)
    for item, window in enumerate(windows):
        if len({id(volume) for volume in window.volumes}) < len(window.volumes):
            low[item], high[item] = low[item].min(0), high[item].max(0)
    x, y, z = (int(side) for side in (high - low).max((0, 1)))
    source = _boxes(windows, low, (x, y, z))
    return source, _normalised(matrix, middle - low, patch, (x, y, z))


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """[B, V, 3] from matrices [B, V, 3, 3] and vectors that broadcast to [B, V, 3]."""
    return np.asarray((matrix * vector[..., None, :]).sum(-1))


def _normalised(matrix: np.ndarray, middle: np.ndarray, patch: Triple, box: Triple) -> Tensor:
    """The maps as `affine_grid` wants them: coordinates -1..1 over outer faces, last axis first.

    Args:
        middle: [B, V, 3], where in the box the middle of the window is looked up, voxels.
    """
    sides = np.array(box)
    linear = matrix * np.array(patch) / sides[:, None]
    offset = (2 * middle + 1) / sides - 1
    affine = np.concatenate([linear[..., ::-1, ::-1], offset[..., ::-1, None]], axis=-1)
    return torch.from_numpy(affine.astype(np.float32))


def _boxes(windows: Sequence[Window], starts: np.ndarray, shape: Triple) -> Tensor:
    """Boxes [B, V, 1, *shape] at `starts` [B, V, 3]; equal boxes of one scan are read once."""
    source = torch.empty(*starts.shape[:2], 1, *shape)
    for item, window in enumerate(windows):
        for view, volume in enumerate(window.volumes):
            twin = next((v for v in range(view) if window.volumes[v] is volume), None)
            if twin is not None and (starts[item, view] == starts[item, twin]).all():
                source[item, view] = source[item, twin]
            else:
                _fill(source[item, view, 0], volume, starts[item, view].tolist())
    return source


def _fill(out: Tensor, volume: np.ndarray, start: Sequence[int]) -> None:
    """Writes `volume` from `start` on to `out` [x, y, z]; its border is repeated outside of it.

    Half precision becomes single in torch, which does that eight times faster than numpy.
    """
    stops = [
        min(low + side, n) for low, side, n in zip(start, out.shape, volume.shape, strict=True)
    ]
    inside = tuple(slice(max(low, 0), stop) for low, stop in zip(start, stops, strict=True))
    place = [
        slice(part.start - low, part.stop - low) for part, low in zip(inside, start, strict=True)
    ]
    out[tuple(place)].copy_(torch.from_numpy(np.array(volume[inside])))
    for axis, (part, side) in enumerate(zip(place, out.shape, strict=True)):
        rest = out[tuple([slice(None)] * axis + [slice(None)] + place[axis + 1 :])]
        if part.start:
            rest.narrow(axis, 0, part.start).copy_(rest.narrow(axis, part.start, 1))
        if part.stop < side:
            rest.narrow(axis, part.stop, side - part.stop).copy_(
                rest.narrow(axis, part.stop - 1, 1)
            )
