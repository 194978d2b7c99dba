"""Marks of marker pens on a slide, by their colours, which haematoxylin and eosin do not have.

Bounds of hue and saturation were chosen so that two deeply stained real slides have less than 0.3 %
of such pixels at any scale, and strokes of common markers are found whole. A violet pen has the
hues of the stain and is not found.

Legend: H W pixels.
"""

import numpy as np
from PIL import Image, ImageFilter

# Hues are of Pillow's HSV: 255 stand for 360 degrees. Saturation and value are of 255.
_RED = (246, 10)  # from 347 degrees over 0 to 15; eosin lies below
_RED_SATURATION = 170
_GREEN = (50, 134)  # 70 to 190 degrees: no stain of H&E
_GREEN_SATURATION = 51
_BLUE = (135, 164)  # to 232 degrees; haematoxylin lies above
_BLUE_SATURATION = 115
_BLACK_VALUE, _BLACK_CHROMA = 100, 30  # dark nuclei have more chroma
_REACH = 2  # pixels to each side


def pen_marks(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where a picture shows pen: [H, W] bool.

    Strokes with their rims; single pixels of such a colour, e.g. blood cells, are none.

    Args:
        hue, saturation, value: [H, W] uint8, as Pillow has them, of a picture so large that a
            stroke is at least 4 pixels wide.
    """
    red = ((hue >= _RED[0]) | (hue <= _RED[1])) & (saturation >= _RED_SATURATION)
    green = (hue >= _GREEN[0]) & (hue <= _GREEN[1]) & (saturation >= _GREEN_SATURATION)
    blue = (hue >= _BLUE[0]) & (hue <= _BLUE[1]) & (saturation >= _BLUE_SATURATION)
    coloured = red | green | blue
    dark = value < _BLACK_VALUE
    chroma = saturation[dark].astype(np.uint16) * value[dark] // 255
    coloured[dark] |= chroma < _BLACK_CHROMA
    if not coloured.any():
        return coloured
    return np.asarray(_mean_around(coloured & (_mean_around(coloured) >= 128)) > 0)


def _mean_around(mask: np.ndarray) -> np.ndarray:
    """Share of a pixel's neighbourhood that is marked, of 255."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    found: np.ndarray = np.asarray(image.filter(ImageFilter.BoxBlur(_REACH)))
    return found
