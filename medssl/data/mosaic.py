"""A contact sheet of captioned pictures as one PNG."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medssl.atomic import appearing
from medssl.errors import UsageError

_MARGIN, _CAPTION, _COLUMNS = 12, 34, 4  # pixels; panels a row


def mosaic(
    title: str, panels: Iterable[tuple[str, np.ndarray]], count: int, side: int, path: Path
) -> Path:
    """Write captioned panels to the PNG `path`; it appears complete or not at all.

    Args:
        title: above all.
        panels: caption, of at most two lines, and picture: uint8, [H, W] or [H, W, 3].
        count: how many there are.
        side: pixels that a picture has at most.

    Raises:
        UsageError: there is no panel, or `path` does not end in .png.
    """
    if not count or path.suffix.lower() != ".png":
        raise UsageError("there is no case to show" if not count else f"{path} must end in .png")
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    wide, high = side + _MARGIN, side + _CAPTION + _MARGIN
    sheet = Image.new("RGB", (columns * wide + _MARGIN, rows * high + _MARGIN + _CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, fill="black")
    for number, (caption, picture) in enumerate(panels):
        row, column = divmod(number, columns)
        corner = column * wide + _MARGIN, row * high + _MARGIN + _CAPTION
        draw.text(corner, caption, fill="black")
        sheet.paste(Image.fromarray(picture), (corner[0], corner[1] + _CAPTION))
    with appearing(path) as beside:
        sheet.save(beside, format="png")
    return path
