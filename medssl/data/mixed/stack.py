"""Scans as stacks of slices of one size, for networks that see slices one by one.

Made once from a prepared scan and kept beside it. Slices lie along the scan's last axis, with rows
along y and columns along x, so that left and right are left and right in images too.

Legend: X Y Z voxels of the scan, S pixels of a side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.atomic import appearing
from medssl.data.cache import CachedCase
from medssl.data.resample import linear_axis, taps
from medssl.data.scan.sessions import ScanGroup
from medssl.data.sealed import is_kept, seal

AIR = 0.1
"""Voxels darker than this share of the way from the minimum to the 99th percentile are air."""


@dataclass(frozen=True)
class SliceStack:
    """One scan, slice by slice.

    Attributes:
        id: "data set/case/scan".
        path: the slices, [Z, S, S] float16.
        spacing: mm between slices.
        foreground: [Z] float32, share of each slice that is not air.
    """

    id: str
    path: Path
    spacing: float
    foreground: np.ndarray

    def __len__(self) -> int:
        """How many slices it has."""
        return len(self.foreground)

    @property
    def slices(self) -> np.ndarray:
        """[Z, S, S] float16, mapped from the file."""
        slices: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return slices


def stack_scans(
    groups: Sequence[ScanGroup],
    side: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[SliceStack]:
    """Every scan of every group, in order, as slices of `side` pixels."""
    stacks = []
    for count, group in enumerate(groups, 1):
        for scan, (case, channel) in zip(group.scans, group.places, strict=True):
            stacks.append(stack_scan(f"{group.id}/{scan}", case, channel, side))
        if on_progress is not None:
            on_progress(count, len(groups))
    return stacks


def stack_scan(name: str, case: CachedCase, channel: int, side: int) -> SliceStack:
    """One channel of a prepared case as slices of `side` pixels, made now if need be.

    The longer side of the field of view, in mm, fills the slice; the rest takes the scan's minimum.
    """
    path = case.folder / f"slices_{channel}_{side}.npy"
    beside = path.with_name(f"slices_{channel}_{side}_foreground.npy")
    if not is_kept(path) or not is_kept(beside):
        volume = np.asarray(case.image[channel], dtype=np.float32)
        within = case.record.network.spacing[:2]
        _write(beside, foreground(volume))
        _write(path, square_slices(volume, within, side).astype(np.float16))
    spacing = case.record.network.spacing[2]
    return SliceStack(name, path, spacing, np.load(beside, allow_pickle=False))


def square_slices(volume: np.ndarray, within: tuple[float, float], side: int) -> np.ndarray:
    """[X, Y, Z] float32 to [Z, side, side], as wide as high in mm.

    Args:
        within: spacing along X and Y, mm.
    """
    lengths = [count * gap for count, gap in zip(volume.shape, within, strict=False)]
    wanted = [max(1, round(side * length / max(lengths))) for length in lengths]
    low = float(volume.min())
    for axis in sorted((0, 1), key=lambda axis: wanted[axis] / volume.shape[axis]):
        volume = _shrunk(volume, axis, wanted[axis])
    result = np.full((volume.shape[2], side, side), low, np.float32)
    left, top = ((side - count) // 2 for count in wanted)
    result[:, top : top + wanted[1], left : left + wanted[0]] = volume.transpose(2, 1, 0)
    return result


def _shrunk(volume: np.ndarray, axis: int, wanted: int) -> np.ndarray:
    """Linear, after a mean over whole voxels where many become one, so that nothing is skipped."""
    times = volume.shape[axis] // wanted
    if times > 1:
        kept = volume.shape[axis] // times * times
        before = (volume.shape[axis] - kept) // 2
        moved = np.moveaxis(volume, axis, 0)[before : before + kept]
        means = moved.reshape(-1, times, *moved.shape[1:]).mean(1)
        volume = np.moveaxis(means, 0, axis)
    return linear_axis(np.ascontiguousarray(volume), axis, taps(volume.shape[axis], wanted))


def foreground(volume: np.ndarray) -> np.ndarray:
    """[Z] float32, the share of each slice of [X, Y, Z] that is not air."""
    low, high = float(volume.min()), float(np.percentile(volume, 99))
    share: np.ndarray = (volume > low + AIR * (high - low)).mean((0, 1))
    return share.astype(np.float32)


def _write(path: Path, array: np.ndarray) -> None:
    with appearing(path) as beside:
        np.save(beside, array)
        seal(beside)
