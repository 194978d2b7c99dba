"""Radiographs and slides from outside."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from medssl.data.radiograph.read import read_radiograph
from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import tile_grid
from tests.conftest import Medssl
from tests.data.conftest import crops_of


def test_jpeg_lossless_holds_the_same_pixels_as_the_plain_file(inputs: Path) -> None:
    folder = inputs / "radiograph_jpeg_lossless"
    plain, packed = (read_radiograph(folder / name) for name in ("plain.dcm", "jpegll.dcm"))
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.spacing == plain.spacing


@pytest.mark.parametrize("field", [None, 30.0])
def test_a_disc_of_oblong_pixels_is_round_whatever_the_field(
    inputs: Path, field: float | None
) -> None:
    image = read_radiograph(inputs / "radiograph_nonsquare_pixels" / "disc.dcm")
    (crop,) = crops_of(image, {"radiograph": {"field": field, "side": 300}})
    disc = crop > (int(crop.min()) + int(crop.max())) / 2
    height, width = (int(disc.any(axis=axis).sum()) for axis in (1, 0))
    assert height == pytest.approx(width, abs=2)


def test_a_bad_number_in_one_radiograph_is_named(
    inputs: Path, medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(inputs / "radiograph_bad_value"))
    code, out, _ = medssl("data", "check", inputs / "radiograph_bad_value" / "spec.yaml", "-q")
    assert code == 3
    assert any(line.startswith("error: ") and "frames_1A.dcm" in line for line in out.splitlines())


def test_an_ome_tiff_states_its_microns_per_pixel_and_its_pyramid(inputs: Path) -> None:
    path = inputs / "ome_tiff" / "pyramid.ome.tif"
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)
        assert len(slide.levels) == 3


def cells_of(path: Path) -> set[tuple[int, int]]:
    """Columns and rows of the kept tiles."""
    with open_slide(path) as slide:
        grid = tile_grid(slide, TileSettings(size=32, mpp=8))
    return {(int(x), int(y)) for x, y in grid.cells}


def test_a_pen_stroke_neither_hides_tissue_nor_counts_as_it(inputs: Path) -> None:
    folder = inputs / "slide_pen"
    names = ("syn_nopen", "syn_pen")
    bare, drawn = (cells_of(folder / f"{name}.tif") for name in names)
    pictures = [tifffile.imread(folder / f"{name}.tif").astype(int) for name in names]
    changed = np.abs(pictures[0] - pictures[1]).sum(-1) > 60
    ink = changed.reshape(20, 32, 20, 32).mean((1, 3))  # a tile is 32 pixels a side
    free = {(x, y) for x, y in bare if ink[y, x] == 0}
    covered = {(x, y) for x in range(20) for y in range(20) if ink[y, x] > 0.5}
    assert len(free) >= 168
    assert len(covered) >= 10
    assert free <= drawn
    assert not covered & drawn


def test_the_check_warns_of_a_pen(inputs: Path, medssl: Medssl, tmp_path: Path) -> None:
    spec = tmp_path / "pen.yaml"
    spec.write_text(
        f"title: x\nmodality: SM\nchannels: [rgb]\nroot: {inputs / 'slide_pen'}\n"
        "layout: {kind: slides}\nlicence: x\ncitation: none\n"
    )
    code, out, _ = medssl("data", "check", spec, "-q")
    assert code == 0
    warned = [line for line in out.splitlines() if line.startswith("warning: ") and "pen" in line]
    assert any("syn_pen" in line for line in warned)
    assert not any("syn_nopen" in line and "syn_pen.tif" not in line for line in warned)
