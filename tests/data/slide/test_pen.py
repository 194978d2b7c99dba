"""Marker pens on slides neither are tissue nor displace it; the stains of H&E are no pen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.slide.pen import pen_marks
from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import TileGrid, tile_grid
from tests.data.slide.conftest import write_levels

TILES = TileSettings(size=32, mpp=8)
PALE = (214, 176, 204)
"""Faint tissue: a saturation of 45 of 255."""


def pale_tissue(pen: tuple[int, int, int] | None, height: int = 70) -> np.ndarray:
    """640 x 640 pixels, tissue in rows and columns 160 to 576, a stroke above it."""
    rng = np.random.default_rng(0)
    pixels = np.full((640, 640, 3), 243, np.int16)
    pixels[160:576, 160:576] = PALE
    if pen is not None:
        pixels[20 : 20 + height, 20:420] = pen
    return np.clip(pixels + rng.integers(-3, 4, pixels.shape), 0, 255).astype(np.uint8)


def kept(path: Path, pixels: np.ndarray, settings: TileSettings = TILES) -> TileGrid:
    with open_slide(write_levels(path, [pixels], mpp=8)) as slide:
        return tile_grid(slide, settings)


def places(grid: TileGrid) -> set[tuple[int, int]]:
    return {(int(column), int(row)) for column, row in grid.cells}


TISSUE = {(column, row) for column in range(5, 18) for row in range(5, 18)}


@pytest.mark.parametrize(
    "pen",
    [
        (200, 20, 30),
        (215, 60, 50),
        (225, 40, 60),
        (30, 130, 70),
        (0, 130, 130),
        (40, 190, 90),
        (30, 60, 150),
        (50, 90, 200),
        (20, 110, 190),
        (25, 25, 30),
        (60, 60, 66),
    ],
)
def test_a_stroke_neither_is_tissue_nor_displaces_it(tmp_path: Path, pen: tuple) -> None:
    assert places(kept(tmp_path / "bare.tif", pale_tissue(None))) == TISSUE
    found = kept(tmp_path / "marked.tif", pale_tissue(pen))
    assert places(found) == TISSUE
    assert found.pen == pytest.approx(70 * 400 / 640**2, abs=0.01)
    (note,) = found.notes
    assert "marked.tif has the colours of a marker pen" in note


def test_a_violet_pen_has_the_hue_of_the_stain_and_displaces_no_tissue_either(
    tmp_path: Path,
) -> None:
    found = kept(tmp_path / "a.tif", pale_tissue((90, 30, 140)))
    assert places(found) >= TISSUE
    assert found.pen == 0


def test_pen_on_tissue_costs_the_tiles_that_it_covers(tmp_path: Path) -> None:
    pixels = pale_tissue(None)
    pixels[256:352, 160:576] = (200, 20, 30)  # rows 8 to 10 of the grid
    assert places(kept(tmp_path / "a.tif", pixels)) == {
        (column, row) for column, row in TISSUE if row not in (8, 9, 10)
    }


def test_pen_may_be_kept_for_stains_of_its_colours(tmp_path: Path) -> None:
    pixels = pale_tissue(None)
    pixels[160:576, 160:576] = (90, 140, 200)  # collagen of a trichrome
    assert not len(kept(tmp_path / "a.tif", pixels))
    settings = TILES.model_copy(update={"drop_pen": False})
    assert places(kept(tmp_path / "a.tif", pixels, settings)) == TISSUE


def test_a_slide_that_is_all_pen_has_no_tissue(tmp_path: Path) -> None:
    found = kept(tmp_path / "a.tif", np.full((128, 128, 3), (200, 20, 30), np.uint8))
    assert (len(found), found.pen) == (0, 1.0)


def marks(colour: tuple[int, int, int], noise: int = 12) -> float:
    """Share of an even picture of a colour that counts as pen."""
    rng = np.random.default_rng(0)
    pixels = np.array(colour) + rng.integers(-noise, noise + 1, (64, 64, 3))
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("HSV")
    return float(pen_marks(*(np.asarray(band) for band in picture.split())).mean())


@pytest.mark.parametrize(
    "stain",
    [
        (235, 170, 200),  # eosin, faint
        (225, 100, 150),  # eosin
        (200, 50, 110),  # eosin, deep
        (150, 60, 140),  # both
        (120, 90, 160),  # haematoxylin
        (70, 50, 120),  # haematoxylin, deep
        (45, 25, 70),  # a dark nucleus
        (100, 95, 175),  # haematoxylin, blue
        (160, 110, 70),  # DAB
        (245, 243, 248),  # glass
    ],
)
def test_stains_and_glass_are_no_pen(stain: tuple) -> None:
    assert marks(stain) < 0.01


def test_single_blood_cells_are_no_stroke() -> None:
    pixels = np.full((64, 64, 3), (225, 120, 170), np.uint8)
    pixels[::4, ::4] = pixels[1::4, ::4] = (205, 20, 35)
    picture = Image.fromarray(pixels).convert("HSV")
    assert not pen_marks(*(np.asarray(band) for band in picture.split())).any()


@pytest.mark.parametrize(
    ("name", "count"), [("CMU-1-Small-Region.svs", 53), ("TCGA-CR-7395-01A-01-TS1.svs", 169)]
)
def test_real_slides_keep_the_tiles_that_they_had(shared_data: Path, name: str, count: int) -> None:
    with open_slide(shared_data / "slides" / name) as slide:
        found = tile_grid(slide, TileSettings())
    assert len(found) == count
    assert found.pen < 0.001
