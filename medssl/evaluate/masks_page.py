"""One self-contained HTML page of predicted masks, those to be looked at first on top."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medssl.atomic import write_text
from medssl.data.geometry import Geometry
from medssl.evaluate.overlay import COLOURS
from medssl.evaluate.page import render_page

Ranges = Literal["", "left out", "networks"]
"""What stands in brackets behind sizes: nothing, 95 % intervals by cases that a cross-validation
left out, or the least and the greatest that any network gives."""

MOST = 200
"""Cases that a page shows; a table says the rest."""

SIDE = 240
"""Pixels of the longer side of a picture."""


@dataclass(frozen=True)
class MaskCard:
    """One case on the page.

    Attributes:
        doubt: 0 to 1.
        volumes: of each structure in words, e.g. "liver 1.2 ml (1.1 to 1.4)".
        png: the picture.
        unlike: in what the scan is unlike those of training.
        page: file name of the case's own page, where it has one.
    """

    case: str
    doubt: float
    empty: bool
    volumes: Sequence[str]
    png: bytes
    unlike: Sequence[str] = ()
    page: str = ""


def write_masks_page(
    path: Path,
    title: str,
    about: str,
    cards: Iterable[MaskCard],
    classes: Sequence[str],
    total: int,
    pictures: bool = False,
    ranges: Ranges = "",
) -> None:
    """Write the page, atomically.

    Args:
        about: what is to be done with it, in a sentence.
        cards: in the order of the page.
        classes: names, background first.
        total: cases in all, where not all are shown.
        pictures: whether the cases are 2-D.
        ranges: what sizes have in brackets.
    """
    colours = colours_of(len(classes) - 1)
    shown = list(cards)
    values = {
        "title": title,
        "about": about,
        "cards": shown,
        "total": total,
        "pictures": pictures,
        "ranges": ranges,
        "legend": list(zip(classes[1:], colours, strict=True)),
    }
    write_text(path, render_page("masks.html.j2", values))


def colours_of(count: int) -> list[str]:
    """Of so many foreground classes, in their order."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def draw_mask(
    image: np.ndarray, labels: np.ndarray, geometry: Geometry, entropy: np.ndarray | None
) -> bytes:
    """An axial slice with the outlines of the mask, PNG; beside it the entropy where it is known.

    It is the slice with most of the mask, or the middle one; the patient's left is on the right.

    Args:
        image: [X, Y, Z] float32.
        labels: [X, Y, Z] class indices.
        entropy: [X, Y, Z] in 0..1.
    """
    from PIL import Image

    grid, turn = geometry.oriented("LPS")
    marked = turn.apply(labels)
    per_slice = np.count_nonzero(marked, axis=(0, 1))
    index = int(per_slice.argmax()) if per_slice.any() else marked.shape[2] // 2
    plane, mask = turn.apply(image)[..., index].T, marked[..., index].T
    low, high = np.nanpercentile(plane, (1, 99))
    grey = np.nan_to_num(np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1))
    sides = np.multiply(mask.shape, (grid.spacing[1], grid.spacing[0]))  # rows, columns; mm
    height, width = (max(1, round(side)) for side in sides / sides.max() * SIDE)
    shown = np.asarray(Image.fromarray((255 * grey).astype(np.uint8)).resize((width, height)))
    large = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((width, height), 0))
    picture = np.repeat(shown[..., None], 3, axis=2).copy()
    for value in np.unique(large[large > 0]):
        colour = COLOURS[(int(value) - 1) % len(COLOURS)]
        picture[_edge(large == value)] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    panels = [picture]
    if entropy is not None:
        unsure = (255 * np.clip(turn.apply(entropy)[..., index].T, 0, 1)).astype(np.uint8)
        map_ = np.asarray(Image.fromarray(unsure).resize((width, height)))
        panels.append(np.stack([map_, map_ // 2, map_ // 8], axis=2))
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(panels, axis=1)).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _edge(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch what is outside it."""
    around = np.pad(mask, 1)
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edge: np.ndarray = mask & ~inside
    return edge
