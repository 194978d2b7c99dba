"""Which tiles of a slide hold tissue.

Legend: C columns and R rows of the grid of tiles, H W pixels.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageStat

from medssl.data.slide.pen import pen_marks
from medssl.data.slide.reader import SlideReader
from medssl.data.workers import Workers

_THUMBNAIL = 4096  # longest side, pixels
_PIXELS_A_TILE = 16  # of the thumbnail, a side
_LEAST_SATURATION = 10  # of 255; on a bare slide Otsu would split the noise
_MOST_SATURATION = 120  # what is above counts as this for Otsu; real H&E keeps the same tiles
_LEAST_VALUE = 25  # of 255; near black, saturation is noise as well


class Tissue(NamedTuple):
    """What a thumbnail shows.

    Attributes:
        shares: [R, C] float, share of each tile that is tissue.
        pen: share of the slide that is marked by pen.
    """

    shares: np.ndarray
    pen: float


def find_tissue(
    reader: SlideReader, span: int, shape: tuple[int, int], drop_pen: bool = True
) -> Tissue:
    """Tissue by Otsu on a thumbnail's saturation, in which pen has no part.

    What is more saturated than tissue usually is counts as no more than that, so that pen which is
    not recognised as such cannot displace pale tissue either.

    Args:
        reader: the slide.
        span: side of a tile, level-0 pixels.
        shape: columns and rows of the grid; beyond the slide there is no tissue.
        drop_pen: whether pixels in the colours of pens are no tissue.
    """
    columns, rows = shape
    a_tile = max(1, min(_PIXELS_A_TILE, _THUMBNAIL // max(shape)))
    size = columns * a_tile, rows * a_tile
    picture = Image.fromarray(reader.read(0, 0, columns * span, rows * span, size))
    hue, saturation, value = (np.asarray(band) for band in picture.convert("HSV").split())
    inside = np.zeros(saturation.shape, bool)
    width, height = (int(np.ceil(side * a_tile / span)) for side in reader.size)
    inside[:height, :width] = True
    pen = np.zeros_like(inside)
    if drop_pen:
        pen = pen_marks(hue, saturation, value) & inside
    clean = inside & ~pen
    typical = saturation[clean].clip(max=_MOST_SATURATION)
    threshold = max(otsu_threshold(typical), _LEAST_SATURATION)
    tissue = clean & (saturation > threshold) & (value > _LEAST_VALUE)
    # Row by row of pixels, then column by column: of short axes numpy would sum slowly.
    high = tissue.view(np.uint8).reshape(rows, a_tile, size[0]).sum(1, dtype=np.uint16)
    found = np.zeros((rows, columns))
    for column in range(a_tile):
        found += high[:, column::a_tile]
    pen_share = np.count_nonzero(pen) / np.count_nonzero(inside)
    return Tissue(found / a_tile**2, pen_share)


def otsu_threshold(values: np.ndarray) -> int:
    """The threshold of uint8 values whose two sides differ most: `values > threshold` is one side.

    0 where there are no values.

    Source: Otsu, A threshold selection method from gray-level histograms, 1979, equation 18.
    """
    if not values.size:
        return 0
    counts = Image.fromarray(values.reshape(1, -1)).histogram()  # of bytes faster than numpy's
    share = np.array(counts) / values.size
    below = share.cumsum()
    mean_below = (share * np.arange(256)).cumsum()
    whole = mean_below[-1]
    apart = below * (1 - below)
    between = np.divide(
        (whole * below - mean_below) ** 2, apart, out=np.zeros(256), where=apart > 1e-12
    )
    return int(between.argmax())


def edge_statistic(tile: np.ndarray, side: int) -> float:
    """Mean edge strength of a tile, uint8 [H, W, 3], as the released tiling computes it.

    Pillow's FIND_EDGES, summed per channel, the mean of the channels, over `side` squared also
    where the tile is cut off by the slide's border. Source: the Snuffy and DSMIL release
    (sheet section 8).
    """
    sums = ImageStat.Stat(Image.fromarray(tile).filter(ImageFilter.FIND_EDGES)).sum
    return float(np.mean(sums)) / side**2


def edge_statistics(
    reader: SlideReader, span: int, side: int, shape: tuple[int, int], workers: int = 1
) -> np.ndarray:
    """`edge_statistic` of each tile, [R, C] float; reads the whole slide at the tiles' scale.

    Args:
        reader: the slide.
        span: side of a tile, level-0 pixels.
        side: side of a tile, pixels.
        shape: columns and rows of the grid.
        workers: threads that read.
    """
    columns, rows = shape
    width, height = reader.size

    def row(number: int) -> list[float]:
        found = []
        for column in range(columns):
            x, y = column * span, number * span
            wide, high = min(span, width - x), min(span, height - y)
            # Not padded: a white border would be an edge of its own.
            size = max(1, round(wide * side / span)), max(1, round(high * side / span))
            found.append(edge_statistic(reader.read(x, y, wide, high, size), side))
        return found

    with Workers(workers) as pool:
        return np.array(list(pool.map(row, range(rows))))
