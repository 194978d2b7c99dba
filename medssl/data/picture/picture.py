"""A picture in memory, as its file has it, and the array and grid that it is for the pipeline.

Legend: F frames, H rows, W columns, S values of a pixel (1 grey, 3 colours, 4 with transparency),
C channels, X Y pixels along rows and columns.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.geometry import LARGEST_MM, SMALLEST_MM, Geometry
from medssl.data.stored import LPS_TO_RAS
from medssl.errors import DataError

LARGEST = 2**28
"""Pixels of all frames together; a damaged header may claim any number."""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""How bright red, green and blue are (ITU-R BT.601, as Pillow has it)."""


@dataclass(frozen=True)
class Picture:
    """What a file holds.

    Attributes:
        source: the file.
        pixels: [F, H, W, S] in the file's own type.
        spacing: mm from row to row and from column to column; None where the file does not say.
        palette: [N, 3] uint8 colours, where the pixels are numbers of these; None elsewhere.
    """

    source: Path
    pixels: np.ndarray
    spacing: tuple[float, float] | None = None
    palette: np.ndarray | None = None

    @property
    def geometry(self) -> Geometry:
        """The grid [X, Y, F]: as a picture hangs, right is the patient's left and down is back.

        A side of a pixel is 1 mm where the file does not say, as is the step between frames.
        """
        frames, rows, columns, _ = self.pixels.shape
        down, right = self.spacing or (1.0, 1.0)
        affine = LPS_TO_RAS @ np.diag([right, down, 1.0, 1.0])
        return Geometry((columns, rows, frames), affine)

    @property
    def coloured(self) -> np.ndarray:
        """The pixels [F, H, W, S] with colours in the place of their numbers."""
        if self.palette is None:
            return self.pixels
        return np.asarray(self.palette[self.pixels[..., 0]])

    @property
    def channels(self) -> int:
        """1 where all is grey, else 3; transparency does not count."""
        pixels = self.coloured
        if pixels.shape[-1] < 3:
            return 1
        return 1 if bool((pixels[..., :3] == pixels[..., :1]).all()) else 3

    def as_channels(self, wanted: int) -> np.ndarray:
        """[C, X, Y, F] with the wanted number of channels: 1 is grey, 3 are red, green and blue.

        Raises:
            DataError: the picture has no such channels, or is transparent in places.
        """
        pixels = self.coloured
        if wanted != 4 and pixels.shape[-1] in (2, 4):
            pixels = self._opaque(pixels)
        found = pixels.shape[-1]
        if wanted == 1 and found == 3:
            alike = bool((pixels == pixels[..., :1]).all())
            pixels = pixels[..., :1] if alike else (pixels.astype(np.float32) @ _GREY)[..., None]
        elif wanted == 3 and found == 1:
            pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
        elif wanted != found:
            raise DataError(
                f"{self.source} has {found} channel{'s' * (found > 1)} instead of {wanted}",
                "the data spec declares more or fewer channels than the file holds",
                "correct the channels in the data spec; a picture is grey (one) or in colour "
                "(three)",
            )
        return np.ascontiguousarray(pixels.transpose(3, 2, 1, 0))

    def _opaque(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels without their transparency, which must be none."""
        alpha = pixels[..., -1]
        full = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
        if not bool((alpha == full).all()):
            raise DataError(
                f"{self.source} is transparent in places",
                "how bright they are depends on what lies beneath",
                "export it without transparency",
            )
        return pixels[..., :-1]


def plausible(down: float, right: float) -> tuple[float, float] | None:
    """Sides of a pixel in mm where they can be such, else None."""
    both = down, right
    return both if all(SMALLEST_MM <= side <= LARGEST_MM for side in both) else None


def must_not_be_huge(path: Path, *sides: int) -> None:
    """Refuse a picture before memory is taken for it.

    Raises:
        DataError: it has more than LARGEST pixels, or none.
    """
    count = 1
    for side in sides:
        count *= side
    if not 0 < count <= LARGEST:
        raise DataError(
            f"{path} claims {' x '.join(map(str, sides))} pixels",
            f"medssl reads from 1 to {LARGEST // 10**6} million of one picture",
            "copy it again, or reduce its size",
        )


def unreadable(path: Path, why: str = "") -> DataError:
    """The error for a file that is no picture of its kind."""
    if path.stat().st_size == 0:
        return DataError(f"{path} is empty", "it has no bytes", "copy or download it again")
    return DataError(
        f"{path} cannot be read",
        f"it is truncated, damaged or not a {path.suffix[1:].upper()} file"
        + (f": {why}" if why else ""),
        "copy or export it again",
    )


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [F, H, W, S] as viewers show them, by the EXIF orientation of their file."""
    turned = {
        2: lambda one: one[:, :, ::-1],
        3: lambda one: one[:, ::-1, ::-1],
        4: lambda one: one[:, ::-1],
        5: lambda one: one.swapaxes(1, 2),
        6: lambda one: one.swapaxes(1, 2)[:, :, ::-1],
        7: lambda one: one.swapaxes(1, 2)[:, ::-1, ::-1],
        8: lambda one: one.swapaxes(1, 2)[:, ::-1],
    }
    return turned[orientation](pixels) if orientation in turned else pixels
