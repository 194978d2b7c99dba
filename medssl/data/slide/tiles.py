"""The tiles of a slide: a grid by microns per pixel, of which those with tissue are kept.

Legend: N kept tiles, S pixels of a tile's side.
"""

from dataclasses import dataclass

import numpy as np

from medssl.data.slide.reader import SlideReader
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tissue import edge_statistics, find_tissue

MUCH_PEN = 0.005
"""Share of a slide from which on marker pen is reported."""

_NEAR = 0.01  # relative; a level this near to the scale asked for is read as it is


@dataclass(frozen=True)
class TileGrid:
    """The kept tiles of a slide, row by row.

    Attributes:
        places: [N, 2] int32, top-left corner (x, y) in level-0 pixels.
        cells: [N, 2] int32, (column, row) in the grid.
        shape: columns and rows of the whole grid.
        span: side of a tile in level-0 pixels.
        size: side of a tile in pixels, S.
        mpp: microns per pixel of a tile, as far as the slide's scale is known.
        slide_size: width and height of the slide in level-0 pixels.
        pen: share of the slide that is marked by pen, as far as it was looked for.
        notes: what was assumed or is unusual, a sentence each that names slide and setting.
    """

    places: np.ndarray
    cells: np.ndarray
    shape: tuple[int, int]
    span: int
    size: int
    mpp: float
    slide_size: tuple[int, int]
    pen: float = 0.0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)


def tile_grid(reader: SlideReader, settings: TileSettings, workers: int = 1) -> TileGrid:
    """The tiles that hold tissue; there may be none.

    Tiles touch without overlap, the first at the slide's corner; the last column and row may reach
    beyond its border. `workers` threads read where the settings ask for every tile's edges.

    Raises:
        DataError: the slide is damaged.
    """
    mpp, notes = slide_mpp(reader, settings)
    span = _span(reader, settings, mpp)
    width, height = reader.size
    shape = columns, rows = -(-width // span), -(-height // span)
    pen = 0.0
    if settings.tissue == "otsu":
        shares, pen = find_tissue(reader, span, shape, settings.drop_pen)
        kept = shares >= settings.tissue_share
        if pen >= MUCH_PEN:
            notes = (*notes, pen_note(reader, pen))
    elif settings.tissue == "edges":
        strength = edge_statistics(reader, span, settings.size, shape, workers)
        kept = strength > settings.edge_threshold
    else:
        kept = np.ones((rows, columns), bool)
    cells = np.argwhere(kept)[:, ::-1].astype(np.int32)
    return TileGrid(
        places=np.ascontiguousarray(cells * np.int32(span)),
        cells=np.ascontiguousarray(cells),
        shape=shape,
        span=span,
        size=settings.size,
        mpp=mpp * span / settings.size,
        slide_size=reader.size,
        pen=pen,
        notes=notes,
    )


def read_tile(reader: SlideReader, grid: TileGrid, number: int) -> np.ndarray:
    """Kept tile `number`, uint8 [S, S, 3] RGB; white beyond the slide's border.

    The release stretches tiles at the border instead, which changes their scale.
    """
    x, y = (int(place) for place in grid.places[number])
    return reader.read(x, y, grid.span, grid.span, (grid.size, grid.size))


def slide_mpp(reader: SlideReader, settings: TileSettings) -> tuple[float, tuple[str, ...]]:
    """Microns per level-0 pixel: stated, else 10 / objective power, else assumed; and notes."""
    if reader.mpp is not None:
        mpp, notes = reader.mpp, []
    elif reader.objective_power is not None:
        mpp = 10 / reader.objective_power
        notes = [
            f"{reader.path} states no microns per pixel; {mpp:g} is taken from its objective of "
            f"{reader.objective_power:g}x"
        ]
    else:
        mpp = settings.assumed_mpp
        notes = [
            f"{reader.path} states neither microns per pixel nor the objective's power; "
            f"assumed_mpp={mpp:g} of the tile settings is taken"
        ]
    if settings.mpp < mpp * (1 - _NEAR):
        notes.append(
            f"{reader.path} has {mpp:g} microns per pixel, coarser than mpp={settings.mpp:g} of "
            "the tile settings; its tiles are enlarged"
        )
    return mpp, tuple(notes)


def pen_note(reader: SlideReader, pen: float) -> str:
    """The note that a slide is marked by pen, and how much of it."""
    return (
        f"{pen:.1%} of {reader.path} has the colours of a marker pen and does not count as tissue "
        "(drop_pen of the tile settings)"
    )


def _span(reader: SlideReader, settings: TileSettings, mpp: float) -> int:
    """Side of a tile in level-0 pixels; a level near the wanted scale is taken as it is."""
    factor = settings.mpp / mpp
    for scale in reader.levels:
        if abs(factor / scale - 1) <= _NEAR:
            return round(settings.size * scale)
    return max(1, round(settings.size * factor))
