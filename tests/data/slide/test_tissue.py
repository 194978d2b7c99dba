from pathlib import Path

import numpy as np
import pytest

from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import tile_grid
from medssl.data.slide.tissue import (
    edge_statistic,
    edge_statistics,
    find_tissue,
    otsu_threshold,
)
from tests.data.slide.conftest import write_levels, write_slide


def test_otsu_parts_two_groups() -> None:
    values = np.array([10] * 50 + [12] * 50 + [200] * 30, np.uint8)
    assert 12 <= otsu_threshold(values) < 200


def test_otsu_by_hand() -> None:
    # Between-class variance of {0, 0, 1, 3}: 0.5 * 0.5 * 2^2 = 1 below 1, 0.75 * 0.25 * (8/3)^2 =
    # 1.333 below 3.
    assert otsu_threshold(np.array([0, 0, 1, 3], np.uint8)) == 1


def test_otsu_of_one_value_parts_nothing() -> None:
    assert otsu_threshold(np.full(9, 7, np.uint8)) == 0


def test_edges_of_a_flat_tile_are_its_border_alone() -> None:
    # The filter gives 0 inside and copies the 28 pixels of the border: 28 * 100 / 64.
    assert edge_statistic(np.full((8, 8, 3), 100, np.uint8), 8) == 43.75


def test_edges_of_one_point() -> None:
    # 8 * 20 at the point, below 0 around it and therefore 0.
    tile = np.zeros((8, 8, 3), np.uint8)
    tile[4, 4] = 20
    assert edge_statistic(tile, 8) == 160 / 64


def test_edges_are_clipped_in_each_channel_and_then_averaged() -> None:
    tile = np.zeros((8, 8, 3), np.uint8)
    tile[4, 4] = (0, 30, 200)
    assert edge_statistic(tile, 8) == pytest.approx((240 + 255) / 3 / 64)


def test_tiles_at_the_border_are_cut_but_divided_by_a_whole_tile(tmp_path: Path) -> None:
    path = write_levels(tmp_path / "a.tif", [np.full((64, 80, 3), 100, np.uint8)])
    with open_slide(path) as slide:
        found = edge_statistics(slide, 64, 64, (2, 1))
    # 252 pixels of border; 2 * 16 + 2 * 62 of the part of 16 columns.
    assert found.tolist() == [[25200 / 4096, 15600 / 4096]]


def test_threads_change_no_statistic(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        one = edge_statistics(slide, 64, 32, (8, 7))
        assert np.array_equal(one, edge_statistics(slide, 64, 32, (8, 7), workers=4))


def test_the_share_of_a_tile_that_is_tissue(tmp_path: Path) -> None:
    # Tissue from 64 to 160 on both axes: whole, half and quarter tiles of 64 pixels.
    write_slide(tmp_path / "a.tif", (256, 250), (64, 64, 160, 160))
    with open_slide(tmp_path / "a.tif") as slide:
        shares = find_tissue(slide, 64, (4, 4)).shares
    assert np.allclose(shares, np.outer((0, 1, 0.5, 0), (0, 1, 0.5, 0)), atol=0.03)


def test_beyond_the_border_is_no_tissue(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (96, 96), (0, 0, 96, 96))
    with open_slide(tmp_path / "a.tif") as slide:
        shares = find_tissue(slide, 64, (2, 2)).shares
    assert shares[0, 1] <= 0.5
    assert shares[1, 1] <= 0.25


@pytest.mark.parametrize("value", [0, 244, 255])
def test_a_slide_without_tissue_has_none(tmp_path: Path, value: int) -> None:
    rng = np.random.default_rng(0)
    bare = np.clip(value + rng.integers(-2, 3, (256, 256, 3)), 0, 255).astype(np.uint8)
    with open_slide(write_levels(tmp_path / "a.tif", [bare])) as slide:
        assert find_tissue(slide, 64, (4, 4)).shares.max() == 0
        assert len(tile_grid(slide, TileSettings(size=64))) == 0


REAL = {
    "CMU-1-Small-Region.svs": ((9, 12), {15: 48, 20: 42}),
    "TCGA-CR-7395-01A-01-TS1.svs": ((18, 14), {15: 150, 20: 112}),
}


@pytest.mark.parametrize("name", REAL)
def test_the_released_counts_on_real_slides(shared_data: Path, name: str) -> None:
    """Sheet section 8: full resolution, 256 pixels."""
    shape, counts = REAL[name]
    with open_slide(shared_data / "slides" / name) as slide:
        for threshold, count in counts.items():
            settings = TileSettings(tissue="edges", edge_threshold=threshold)
            grid = tile_grid(slide, settings, workers=2)
            assert (grid.shape, grid.span, len(grid)) == (shape, 256, count)
