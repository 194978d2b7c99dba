"""A mask as PNG: one of a mask of one slice, else one for each slice in a zip file."""

from pathlib import Path

import numpy as np

from medssl.data.volume import PNG_SLICES, read_mask, write_mask
from medssl.errors import DataError, UsageError

_MOST = 2**16 - 1


def export_png(mask: Path, out: Path) -> None:
    """The verb: a mask file as PNG, with 16 bits where its values need more than 8.

    Args:
        mask: any file that masks are read from.
        out: .png file to write, or of several slices .png.zip.

    Raises:
        UsageError: `out` is none of these, or is .png, and the mask has several slices.
        DataError: the mask cannot be read, or holds values that a PNG does not.
    """
    name = out.name.lower()
    if not name.endswith((".png", PNG_SLICES)):
        raise UsageError(f"{out} is no name for PNG", "", "let it end in .png or .png.zip")
    found = read_mask(mask)
    low, high = int(found.array.min()), int(found.array.max())
    if low < 0 or high > _MOST:
        raise DataError(
            f"{mask} cannot become a PNG",
            f"it holds the value {low if low < 0 else high}",
            f"give classes numbers from 0 to {_MOST}",
        )
    values = found.array[0]
    write_mask(values if high < 256 else values.astype(np.uint16), found.geometry, out)
