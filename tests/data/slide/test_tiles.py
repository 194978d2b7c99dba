from pathlib import Path

import numpy as np
import pytest

from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import TileGrid, read_tile, tile_grid
from tests.data.slide.conftest import write_levels, write_slide

ALL = TileSettings(size=64, tissue="all")


def grid_of(path: Path, settings: TileSettings) -> TileGrid:
    with open_slide(path) as slide:
        return tile_grid(slide, settings)


def test_tiles_cover_the_slide_without_overlap(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (200, 130))
    grid = grid_of(tmp_path / "a.tif", ALL)
    assert (grid.shape, grid.span, len(grid)) == ((4, 3), 64, 12)
    covered = np.zeros((192, 256), int)
    for x, y in grid.places:
        covered[y : y + 64, x : x + 64] += 1
    assert (covered == 1).all()


def test_places_are_the_cells_times_the_span_row_by_row(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (130, 70))
    grid = grid_of(tmp_path / "a.tif", ALL)
    assert grid.cells.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    assert np.array_equal(grid.places, grid.cells * 64)
    assert (grid.places.dtype, grid.cells.dtype) == (np.int32, np.int32)


def test_only_tiles_with_tissue_are_kept(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (256, 256), (64, 64, 160, 128))
    for tissue in ("otsu", "edges"):
        settings = TileSettings(size=64, tissue=tissue, edge_threshold=40)
        assert grid_of(tmp_path / "a.tif", settings).cells.tolist() == [[1, 1], [2, 1]]
    most = TileSettings(size=64, tissue_share=0.6)
    assert grid_of(tmp_path / "a.tif", most).cells.tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("stated", "wanted", "span"),
    [(0.5, 0.5, 64), (0.25, 0.5, 128), (0.25, 1.0, 256), (0.499, 0.5, 64), (0.23, 0.5, 139),
     (0.5, 0.25, 32)],
)  # fmt: skip
def test_a_tile_spans_what_its_scale_asks_for(
    tmp_path: Path, stated: float, wanted: float, span: int
) -> None:
    write_slide(tmp_path / "a.tif", mpp=stated)
    grid = grid_of(tmp_path / "a.tif", TileSettings(size=64, mpp=wanted))
    assert grid.span == span
    assert grid.mpp == pytest.approx(wanted, rel=0.01)


def test_a_level_near_to_the_scale_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "a.tif", mpp=0.2485, tissue=(0, 0, 500, 400))
    with open_slide(tmp_path / "a.tif") as slide:
        grid = tile_grid(slide, ALL)
        assert np.array_equal(read_tile(slide, grid, 1), pixels[::2, ::2][:64, 64:128])


def test_equal_scales_give_like_tiles_from_any_pyramid(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "a.tif", mpp=0.5)
    fine = write_levels(tmp_path / "b.tif", [pixels.repeat(2, axis=0).repeat(2, axis=1)], mpp=0.25)
    for path in (tmp_path / "a.tif", fine):
        with open_slide(path) as slide:
            grid = tile_grid(slide, ALL)
            assert grid.shape == (8, 7)
            assert np.array_equal(read_tile(slide, grid, 20), pixels[128:192, 256:320])


def test_a_tile_at_the_border_is_white_beyond_it(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "a.tif", (100, 64), (0, 0, 100, 64))
    with open_slide(tmp_path / "a.tif") as slide:
        tile = read_tile(slide, tile_grid(slide, ALL), 1)
    assert np.array_equal(tile[:, :36], pixels[:, 64:])
    assert (tile[:, 36:] == 255).all()


def test_the_objective_gives_the_scale_where_nothing_else_does(tmp_path: Path) -> None:
    about = "Aperio Image Library v1\r\n500x400|AppMag = 40"
    write_slide(tmp_path / "a.svs", mpp=None, about=about)
    grid = grid_of(tmp_path / "a.svs", ALL)
    assert grid.span == 128
    (note,) = grid.notes
    assert str(tmp_path / "a.svs") in note
    assert "0.25 is taken from its objective of 40x" in note


def test_without_any_scale_one_is_assumed_and_said(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", mpp=None)
    grid = grid_of(tmp_path / "a.tif", TileSettings(size=64, assumed_mpp=0.25))
    assert grid.span == 128
    (note,) = grid.notes
    assert str(tmp_path / "a.tif") in note
    assert "assumed_mpp=0.25" in note


def test_a_slide_that_states_its_scale_needs_no_note(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    assert grid_of(tmp_path / "a.tif", ALL).notes == ()


def test_enlarging_is_said(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", mpp=1.0)
    (note,) = grid_of(tmp_path / "a.tif", ALL).notes
    assert "coarser than mpp=0.5" in note


def test_settings_have_a_key_of_their_own() -> None:
    assert TileSettings().key == TileSettings(size=256).key
    assert TileSettings().key != TileSettings(mpp=0.25).key


def test_the_real_slide_that_states_no_scale(shared_data: Path) -> None:
    path = shared_data / "slides/TCGA-CR-7395-01A-01-TS1.svs"
    grid = grid_of(path, TileSettings(mpp=1.0))
    assert (grid.shape, grid.span) == ((9, 7), 512)
    (note,) = grid.notes
    assert "TCGA-CR-7395" in note
    assert "assumed_mpp=0.5" in note
