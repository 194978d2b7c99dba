"""Marks of marker pens on a slide, by their colours, which haematoxylin and eosin do not have.

Bounds of hue and saturation were chosen so that two deeply stained real slides have less than 0.3 %
of such pixels at any scale, and strokes of common markers are found whole. A violet pen has the
hues of the stain and is not found.

Legend: H W pixels.
"""

import numpy as np

# Hues are of Pillow's HSV: 255 stand for 360 degrees. Saturation and value are of 255.
_RED = (246, 10)  # from 347 degrees over 0 to 15; eosin lies below
_RED_SATURATION = 170
_GREEN = (50, 134)  # 70 to 190 degrees: no stain of H&E
_GREEN_SATURATION = 51
_BLUE = (135, 164)  # to 232 degrees; haematoxylin lies above
_BLUE_SATURATION = 115
_BLACK_VALUE, _BLACK_CHROMA = 100, 30  # dark nuclei have more chroma
_REACH = 2  # pixels to each side
_MOST_AROUND = 13  # of the 25 pixels within reach: more than half
_STRIP = 128  # rows that are looked at together, so that they stay in the processor's cache


def pen_marks(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where a picture shows pen: [H, W] bool.

    Strokes with their rims; single pixels of such a colour, e.g. blood cells, are none.

    Args:
        hue, saturation, value: [H, W] uint8, as Pillow has them, of a picture so large that a
            stroke is at least 4 pixels wide.
    """
    marks = np.zeros(hue.shape, bool)
    for top in range(0, len(hue), _STRIP):
        first = max(0, top - 2 * _REACH)  # a mark depends on as many rows beyond the strip
        rows = slice(first, top + _STRIP + 2 * _REACH)
        coloured = _coloured(hue[rows], saturation[rows], value[rows])
        if coloured.any():
            marks[top : top + _STRIP] = _strokes(coloured)[top - first :][:_STRIP]
    return marks


def _coloured(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Pixels in the colours of pens, single ones too: [H, W] bool."""
    red = ((hue >= _RED[0]) | (hue <= _RED[1])) & (saturation >= _RED_SATURATION)
    green = (hue >= _GREEN[0]) & (hue <= _GREEN[1]) & (saturation >= _GREEN_SATURATION)
    blue = (hue >= _BLUE[0]) & (hue <= _BLUE[1]) & (saturation >= _BLUE_SATURATION)
    coloured: np.ndarray = red | green | blue
    dark = value < _BLACK_VALUE
    if dark.any():
        chroma = saturation[dark].astype(np.uint16) * value[dark] // 255
        coloured[dark] |= chroma < _BLACK_CHROMA
    return coloured


def _strokes(coloured: np.ndarray) -> np.ndarray:
    """Coloured pixels among others of their kind, and all within reach of them: [H, W] bool."""
    around = _sum_around(np.pad(coloured, _REACH, "edge"))
    return _sum_around(np.pad(coloured & (around >= _MOST_AROUND), _REACH)) > 0


def _sum_around(framed: np.ndarray) -> np.ndarray:
    """How many pixels within reach are marked: [H, W] uint8 of a mask with a frame of `_REACH`."""
    reach = range(1, 2 * _REACH + 1)
    height, width = (side - 2 * _REACH for side in framed.shape)
    rows = framed[:height].astype(np.uint8)
    for step in reach:
        rows += framed[step : step + height]
    counts = rows[:, :width].copy()
    for step in reach:
        counts += rows[:, step : step + width]
    return counts
