"""Masks that are pictures: a number for each class, or a colour that the data spec declares.

Legend: F frames, H rows, W columns, X Y pixels along rows and columns.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medssl.data.labels import Label
from medssl.data.picture.picture import Picture
from medssl.data.picture.read import read_picture
from medssl.errors import DataError

_MANY = 3
"""More unknown colours than these are not named."""

_MOST = 64
"""A picture of more colours is no mask."""

LOSSY = (".jpg", ".jpeg")
"""Endings of pictures whose values change where they are saved."""


class UnknownColour(DataError):
    """A mask has a colour that no label declares."""


def picture_mask(path: Path, labels: Sequence[Label] = ()) -> tuple[np.ndarray, Picture]:
    """Values [1, X, Y, F] of a mask, and its picture.

    Where labels have colours, each pixel has the value of the label of its colour, and black is 0.
    Elsewhere the numbers in the file count: of a palette the numbers of its colours, and of three
    equal colours one.

    Raises:
        UnknownColour: a pixel has a colour that no label declares; names the nearest.
        DataError: the file is no picture, is in colours and no label declares one, or is
            transparent in places.
    """
    picture = read_picture(path)
    colours = {label.rgb: label.value for label in labels if label.rgb is not None}
    if colours:
        values = _by_colour(picture, {rgb: value for rgb, value in colours.items() if rgb}, labels)
    elif picture.palette is not None or picture.pixels.shape[-1] == 1:
        values = picture.pixels[..., 0]
    elif picture.channels == 1:
        values = picture.as_channels(1)[0].transpose(2, 1, 0)
    else:
        raise DataError(
            f"{path} is a mask in colours",
            "and no label says which colour means it",
            "give each label its colour in the data spec, e.g. "
            f"colour: '{_hex(_commonest(picture))}'",
        )
    return np.ascontiguousarray(values.transpose(2, 1, 0))[None], picture


def colours_of(path: Path) -> tuple[str, ...]:
    """The colours of a mask but for black, as a data spec writes them; none where it is grey.

    Raises:
        DataError: the file is no picture, or has so many colours that it is no mask.
    """
    picture = read_picture(path)
    if picture.palette is not None or picture.channels == 1:
        return ()
    rgb = picture.as_channels(3).reshape(3, -1).astype(np.int64)
    codes = [code for code in np.unique((rgb[0] << 16) | (rgb[1] << 8) | rgb[2]).tolist() if code]
    if len(codes) > _MOST:
        raise DataError(
            f"{path} is no mask",
            f"it has {len(codes)} colours",
            "a mask has one for each structure; if it is an image, give the masks' folder as "
            "--labels, and save masks as PNG, since JPEG changes colours",
        )
    return tuple(_hex(code) for code in codes)


def _by_colour(
    picture: Picture, colours: dict[tuple[int, int, int], int], labels: Sequence[Label]
) -> np.ndarray:
    """Values [F, H, W]."""
    rgb = picture.as_channels(3).transpose(3, 2, 1, 0).astype(np.int64)  # [F, H, W, 3]
    if rgb.max() > 255:
        raise DataError(
            f"{picture.source} has more than 8 bits of each colour",
            "colours of labels have 8",
            "save it with 8 bits of each colour",
        )
    codes = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    values = np.zeros(codes.shape, np.uint8)
    known = codes == 0
    for (red, green, blue), value in colours.items():
        here = codes == (red << 16 | green << 8 | blue)
        values[here] = value
        known |= here
    if not known.all():
        raise _unknown(picture, codes[~known], labels)
    return values


def _unknown(picture: Picture, codes: np.ndarray, labels: Sequence[Label]) -> UnknownColour:
    found = Counter(codes.tolist()).most_common()
    named = ", ".join(f"{_hex(code)} ({count} pixels)" for code, count in found[:_MANY])
    more = f" and {len(found) - _MANY} more" if len(found) > _MANY else ""
    near = min(labels, key=lambda label: _distance(label, found[0][0]))
    lossy = picture.source.suffix.lower() in LOSSY
    return UnknownColour(
        f"{picture.source} holds the colour {named}{more}, which no label declares",
        f"the nearest is {near.colour} of '{near.name}'"
        + ("; JPEG changes colours" if lossy else ""),
        "save the mask as PNG"
        if lossy
        else "correct the mask or declare the colour under `labels` in the data spec",
    )


def _distance(label: Label, code: int) -> int:
    other = (code >> 16, code >> 8 & 255, code & 255)
    return sum((a - b) ** 2 for a, b in zip(label.rgb or (0, 0, 0), other, strict=True))


def _hex(code: int) -> str:
    return f"#{code:06x}"


def _commonest(picture: Picture) -> int:
    """The commonest colour of a mask beside black."""
    rgb = picture.coloured[..., :3].reshape(-1, 3).astype(np.int64)
    codes = (rgb[:, 0] << 16) | (rgb[:, 1] << 8) | rgb[:, 2]
    values, counts = np.unique(codes[codes > 0], return_counts=True)
    return int(values[counts.argmax()]) & 0xFFFFFF
