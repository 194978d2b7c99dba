"""A few random tiles of each slide in a file, for pre-training on few patches.

Legend: n drawn tiles, S pixels of a tile's side.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from medssl.atomic import appearing
from medssl.data.sealed import is_kept, seal
from medssl.data.slide.reader import SlideReader, open_slide, slide_digest
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import TileGrid, read_tile, tile_grid
from medssl.data.workers import Workers
from medssl.errors import DataError, UsageError
from medssl.transforms.tile_chain import AS_SCANNED, Prepare, TilePreprocess


def sample_slides(
    slides: Mapping[str, Path],
    folder: Path,
    settings: TileSettings,
    count: int,
    seed: int,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
    chain: TilePreprocess = AS_SCANNED,
) -> list[Path]:
    """Draw at most `count` tiles of each slide; a file per slide, in the slides' order.

    Each file is uint8 [n, S, S, 3] RGB in .npy, named after the slide and all that decides on its
    content, so that what is already there is kept and work goes on where it stopped.

    Args:
        slides: file of each slide by its id.
        folder: where the files go.
        settings: how slides are cut.
        count: most tiles of a slide.
        seed: with the slide's id, of the draw.
        workers: threads that read.
        on_progress: called with the numbers of slides done and in all.
        chain: what is done to a tile.

    Raises:
        UsageError: `count` is below 1, or a transform of the chain fails.
        DataError: a slide is missing, damaged or without tissue.
    """
    if count < 1:
        raise UsageError(f"{count} tiles of each slide are no sample", do="ask for at least 1")
    paths, prepare = [], chain.preparation(settings.mpp)
    for name, slide in slides.items():
        path = folder / f"{name}-{_key(slide, chain.key(settings.key), count, seed)}.npy"
        if not is_kept(path):
            _write(name, slide, path, settings, count, seed, workers, prepare)
        paths.append(path)
        if on_progress is not None:
            on_progress(len(paths), len(slides))
    return paths


def draw_tiles(grid: TileGrid, name: str, count: int, seed: int) -> np.ndarray:
    """Numbers of at most `count` kept tiles, int64, ascending; the same for equal id and seed."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], np.uint32)
    rng = np.random.default_rng([seed, *words.tolist()])
    return np.sort(rng.choice(len(grid), min(count, len(grid)), replace=False))


def read_tiles(
    reader: SlideReader, grid: TileGrid, numbers: np.ndarray, workers: int = 1
) -> np.ndarray:
    """Kept tiles by number, uint8 [n, S, S, 3] RGB."""
    tiles = np.empty((len(numbers), grid.size, grid.size, 3), np.uint8)

    def one(index: int) -> None:
        tiles[index] = read_tile(reader, grid, int(numbers[index]))

    with Workers(workers) as pool:
        for _ in pool.map(one, range(len(numbers))):
            pass
    return tiles


def no_tissue(path: Path) -> DataError:
    """The error for a slide of which no tile was kept."""
    return DataError(
        f"no tissue was found on {path}",
        "no tile passes the tissue test of the tile settings",
        "look at it with `medssl data show`, change the test, or leave the slide out",
    )


def _write(
    name: str,
    slide: Path,
    path: Path,
    settings: TileSettings,
    count: int,
    seed: int,
    workers: int,
    prepare: Prepare,
) -> None:
    with open_slide(slide) as reader:
        grid = tile_grid(reader, settings, workers)
        if not len(grid):
            raise no_tissue(slide)
        tiles = read_tiles(reader, grid, draw_tiles(grid, name, count, seed), workers)
    for tile in tiles:
        tile[...] = prepare(tile, str(slide))
    with appearing(path) as beside:
        np.save(beside, tiles, allow_pickle=False)
        seal(beside)


def _key(slide: Path, tiles: str, count: int, seed: int) -> str:
    if not slide.exists():
        raise DataError(f"there is no slide {slide}", do="check the path")
    parts = f"sealed {slide_digest(slide)} {tiles} {count} {seed}"
    return hashlib.sha256(parts.encode()).hexdigest()[:12]
