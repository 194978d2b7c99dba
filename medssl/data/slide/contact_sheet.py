"""A picture of what was kept of slides: kept tiles outlined, the rest dimmed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medssl.data.mosaic import mosaic
from medssl.data.slide.reader import SlideReader, open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import TileGrid, tile_grid
from medssl.data.spec import Case, DataSpec

OUTLINE = (0, 110, 60)
_PANEL = 480  # pixels
_DIM = 0.35  # share of contrast that is left where no tile was kept
_ROOM = 5  # pixels of a tile below which an outline would hide it


def kept_tiles(reader: SlideReader, grid: TileGrid, side: int) -> np.ndarray:
    """The slide in at most `side` pixels a side, uint8 [H, W, 3], with its kept tiles outlined."""
    thumbnail = reader.thumbnail(side)
    high, wide = thumbnail.shape[:2]
    scale = wide / grid.slide_size[0], high / grid.slide_size[1]
    corners = np.round(grid.places * scale).astype(int)
    ends = np.minimum(np.round((grid.places + grid.span) * scale).astype(int), (wide, high))
    picture = (255 - (255 - thumbnail.astype(np.float32)) * _DIM).astype(np.uint8)
    for (left, top), (right, low) in zip(corners, ends, strict=True):
        picture[top:low, left:right] = thumbnail[top:low, left:right]
    image = Image.fromarray(picture)
    if grid.span * min(scale) >= _ROOM:
        draw = ImageDraw.Draw(image)
        for (left, top), (right, low) in zip(corners, ends, strict=True):
            draw.rectangle((int(left), int(top), int(right) - 1, int(low) - 1), outline=OUTLINE)
    return np.array(image)


def slide_contact_sheet(
    spec: DataSpec, cases: Sequence[Case], path: Path, settings: TileSettings | None = None
) -> Path:
    """Write a panel per slide to the PNG `path`; it appears complete or not at all.

    Raises:
        UsageError: there is no case, or `path` does not end in .png.
        DataError: a slide cannot be read.
    """
    title = spec.title + " (simulated)" * spec.simulated
    panels = _panels(cases, settings or TileSettings())
    return mosaic(title, panels, len(cases), _PANEL, path)


def _panels(cases: Sequence[Case], settings: TileSettings) -> Iterator[tuple[str, np.ndarray]]:
    for case in cases:
        with open_slide(case.images["slide"]) as reader:
            grid = tile_grid(reader, settings)
            yield _caption(case.id, grid), kept_tiles(reader, grid, _PANEL)


def _caption(name: str, grid: TileGrid) -> str:
    of = grid.shape[0] * grid.shape[1]
    return (
        f"{name}\n{len(grid)} of {of} tiles kept, {grid.size} px at {grid.mpp:.3g} microns a pixel"
    )
