"""A heat map over a slide's thumbnail, as PNG.

Legend: N tiles, h w rows and columns of the thumbnail, M vertices.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medssl.evaluate.figure import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR_MAP = "viridis"
"""Its brightness rises evenly, colour-blind readers can read it, and it is far from the pinks of
stained tissue."""

_OPACITY = 0.7
_INK = "#1d262e"
_TRUTH = "#e8112d"


def heat_colours(values: np.ndarray) -> np.ndarray:
    """Colours [N, 3] uint8 of values [N] in [0, 1]."""
    from matplotlib import colormaps

    return np.asarray(colormaps[COLOUR_MAP](np.asarray(values, dtype=float), bytes=True))[..., :3]


def draw_heat_map(
    thumbnail: np.ndarray,
    size: tuple[int, int],
    places: np.ndarray,
    span: float,
    values: np.ndarray,
    label: str = "probability",
    outlines: Sequence[np.ndarray] = (),
) -> bytes:
    """A PNG with the slide and, beside it or below, the slide under coloured tiles.

    Tiles are coloured by their value itself, not rescaled per slide, so that colours mean the same
    on every slide. Where tiles share a pixel of the thumbnail the greatest value shows.

    Args:
        thumbnail: [h, w, 3] uint8 of the whole slide.
        size: width and height of the slide, level-0 px.
        places: [N, 2] top-left corners (x, y) of the tiles, level-0 px.
        span: side of a tile, level-0 px.
        values: [N] in [0, 1]; NaN leaves the tile as it is.
        label: what the values are.
        outlines: lesions as drawn, each [M, 2] (x, y), level-0 px.

    Raises:
        ValueError: a value lies outside [0, 1], or shapes do not fit.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    values = np.asarray(values, dtype=np.float64)
    if np.shape(places) != (len(values), 2):
        raise ValueError(f"places of shape {np.shape(places)} for {len(values)} values")
    if thumbnail.ndim != 3 or thumbnail.shape[2] != 3 or thumbnail.dtype != np.uint8:
        raise ValueError(f"a thumbnail of {thumbnail.shape} {thumbnail.dtype} is no RGB picture")
    cover = _cover(thumbnail.shape[:2], size, np.asarray(places), span, values)
    tall = thumbnail.shape[0] >= thumbnail.shape[1]
    figure = Figure(figsize=_figure_size(thumbnail.shape, tall), dpi=110, layout="constrained")
    plain, covered = figure.subplots(*((1, 2) if tall else (2, 1)))
    drawn = "slide, outlined: lesions as annotated" if outlines else "slide"
    for ax, title in ((plain, drawn), (covered, label)):
        ax.set_title(title, color=_INK, fontsize=9, loc="left")
        ax.imshow(thumbnail, extent=(0, size[0], size[1], 0))
        ax.set_axis_off()
        _draw_outlines(ax, outlines)
    covered.imshow(cover, extent=(0, size[0], size[1], 0), interpolation="nearest")
    bar = figure.colorbar(
        ScalarMappable(cmap=COLOUR_MAP), ax=[plain, covered], ticks=[0, 0.25, 0.5, 0.75, 1],
        alpha=_OPACITY, fraction=0.05, pad=0.02,
    )  # fmt: skip
    bar.ax.tick_params(colors=_INK, labelsize=8, length=2)
    bar.outline.set_visible(False)
    return png_of(figure)


def _cover(
    shape: tuple[int, ...],
    size: tuple[int, int],
    places: np.ndarray,
    span: float,
    values: np.ndarray,
) -> np.ndarray:
    """Colours [h, w, 4] of the tiles, transparent where there are none."""
    known = np.flatnonzero(np.isfinite(values))
    if ((values[known] < 0) | (values[known] > 1)).any() or np.isinf(values).any():
        raise ValueError("a value lies outside [0, 1]")
    cover = np.zeros((*shape, 4), dtype=np.uint8)
    scale = np.array([shape[1] / size[0], shape[0] / size[1]])
    order = known[np.argsort(values[known], kind="stable")]  # the greatest last, on top
    first = np.floor(places[order] * scale + 1e-6).astype(int).clip(0)
    last = np.ceil((places[order] + span) * scale - 1e-6).astype(int)
    colours = heat_colours(values[order])
    for (left, top), (right, bottom), colour in zip(first, last, colours, strict=True):
        cover[top:bottom, left:right] = (*colour, round(255 * _OPACITY))
    return cover


def _figure_size(shape: tuple[int, ...], tall: bool) -> tuple[float, float]:
    """Inches: two pictures and the colour bar, neither side above 10."""
    height, width = shape[0] / max(shape[:2]), shape[1] / max(shape[:2])
    width, height = (2 * width + 0.25, height) if tall else (width + 0.2, 2 * height)
    scale = min(10 / width, 10 / height, 6.5 / min(width, height))
    return width * scale, height * scale


def _draw_outlines(ax: "Axes", outlines: Sequence[np.ndarray]) -> None:
    for outline in outlines:
        closed = np.concatenate([outline, outline[:1]])
        ax.plot(*closed.T, color=_TRUTH, linewidth=1.0, scalex=False, scaley=False)
