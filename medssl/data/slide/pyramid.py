"""Regions of a slide of several levels, whichever library opened it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from medssl.errors import DataError

_FACTS = ("mpp-x", "mpp-y", "objective-power")
_BLOCK = 2048  # level pixels of a side that are held at once
_PLAUSIBLE = (0.02, 50.0)  # microns per pixel; TIFF writers put 72 dpi where nothing is known
_NEAR = 1.01  # a level this much coarser than asked for still serves
_LARGEST = 2**22  # pixels of a side; a metre at 0.25 microns
_WHITE = (255, 255, 255)


class PyramidReader:
    """A slide behind OpenSlide's interface, which tiffslide shares.

    Args:
        path: the file.
        handle: the open slide of either library.
        prefix: of the library's own properties.
        stated: properties by that prefix that count instead of the library's.
        failures: what the library raises on damaged files.
        alone: held while the library reads, where it is not safe for threads.

    Raises:
        DataError: its size cannot be that of a slide.
    """

    def __init__(
        self,
        path: Path,
        handle: Any,
        prefix: str,
        failures: tuple[type[Exception], ...],
        alone: AbstractContextManager[Any],
        stated: Mapping[str, float] | None = None,
    ) -> None:
        self.path = path
        self.size: tuple[int, int] = tuple(handle.dimensions)
        if not 0 < min(self.size) <= max(self.size) <= _LARGEST:
            raise DataError(
                f"{path} says that it has {self.size[0]} x {self.size[1]} pixels",
                f"a slide has at most {_LARGEST} a side",
                "copy it again from where it came, or remove it",
            )
        self.levels: tuple[float, ...] = tuple(handle.level_downsamples)
        mine = stated or {}
        told = {key: mine.get(key, handle.properties.get(f"{prefix}.{key}")) for key in _FACTS}
        across = [_number(told[f"mpp-{axis}"]) for axis in "xy"]
        known = [mpp for mpp in across if mpp and _PLAUSIBLE[0] <= mpp <= _PLAUSIBLE[1]]
        self.mpp = sum(known) / len(known) if known else None
        self.objective_power = _number(told["objective-power"]) or None
        self._handle, self._failures, self._alone = handle, failures, alone

    def read(
        self, x: float, y: float, width: float, height: float, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        """See `SlideReader.read`: from the nearest finer level, block by block, resized."""
        wide, high = size or (round(width), round(height))
        across, down = width / wide, height / high
        scale = max(s for s in self.levels if s <= max(1.0, min(across, down) * _NEAR))
        level = self.levels.index(scale)
        step_x = max(1, int(_BLOCK * scale / across))
        step_y = max(1, int(_BLOCK * scale / down))
        pixels = np.empty((high, wide, 3), np.uint8)
        for top in range(0, high, step_y):
            for left in range(0, wide, step_x):
                right, low = min(wide, left + step_x), min(high, top + step_y)
                box = (
                    (x + left * across) / scale,
                    (y + top * down) / scale,
                    (x + right * across) / scale,
                    (y + low * down) / scale,
                )
                block = self._block(level, box, (right - left, low - top))
                pixels[top:low, left:right] = np.asarray(block)
        return pixels

    def thumbnail(self, side: int) -> np.ndarray:
        """See `SlideReader.thumbnail`; never enlarged."""
        width, height = self.size
        shrink = max(1.0, max(width, height) / side)
        size = max(1, round(width / shrink)), max(1, round(height / shrink))
        return self.read(0, 0, width, height, size)

    def _block(
        self, level: int, box: tuple[float, float, float, float], size: tuple[int, int]
    ) -> Image.Image:
        """The box (left, top, right, bottom), in pixels of the level, at `size`."""
        left, top, right, low = box
        shrink = min((right - left) / size[0], (low - top) / size[1])
        if abs(right - left - size[0]) <= 0.5 and abs(low - top - size[1]) <= 0.5:
            return self._pixels(level, (round(left), round(top)), size)
        corner = int(np.floor(left)), int(np.floor(top))
        end = int(np.ceil(right)), int(np.ceil(low))
        image = self._pixels(level, corner, (end[0] - corner[0], end[1] - corner[1]))
        # The mean over each pixel's area; nearer to one, Lanczos, which does not alias.
        how = Image.Resampling.BOX if shrink >= 2 else Image.Resampling.LANCZOS
        inner = left - corner[0], top - corner[1], right - corner[0], low - corner[1]
        return image.resize(size, how, inner)

    def _pixels(self, level: int, corner: tuple[int, int], size: tuple[int, int]) -> Image.Image:
        """Pixels of a level on white, also beyond the level's edges."""
        width, height = self._handle.level_dimensions[level]
        left, top = max(0, corner[0]), max(0, corner[1])
        right, low = min(width, corner[0] + size[0]), min(height, corner[1] + size[1])
        if left >= right or top >= low:
            return Image.new("RGB", size, _WHITE)
        scale = self.levels[level]
        place = round(left * scale), round(top * scale)
        try:
            with self._alone:
                part = right - left, low - top
                found: Image.Image = self._handle.read_region(place, level, part)
        except self._failures as error:
            raise DataError(
                f"{self.path} cannot be read at {place[0]}, {place[1]}",
                "it is truncated or damaged there",
                "copy it again from where it came",
            ) from error
        # Where a scanner saw nothing, the slide is transparent.
        opaque = found.mode != "RGBA" or found.getchannel("A").getextrema() == (255, 255)
        if opaque and found.size == size:
            return found.convert("RGB")
        canvas = Image.new("RGB", size, _WHITE)
        canvas.paste(found, (left - corner[0], top - corner[1]), None if opaque else found)
        return canvas

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
