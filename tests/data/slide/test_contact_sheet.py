from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.layouts import find_cases
from medssl.data.show import contact_sheet
from medssl.data.slide.contact_sheet import OUTLINE, kept_tiles
from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import tile_grid
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare
from tests.data.slide.conftest import write_slide

SETTINGS = TileSettings(size=64)


def spec_of(root: Path) -> DataSpec:
    return declare(root, modality="SM", channels=["rgb"], labels=[], layout={"kind": "slides"})


def test_kept_tiles_are_outlined_and_shown_as_they_are(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (256, 256), (64, 64, 160, 128))
    with open_slide(tmp_path / "a.tif") as slide:
        grid = tile_grid(slide, SETTINGS)
        picture, plain = kept_tiles(slide, grid, 256), slide.thumbnail(256)
    for column, row in ((1, 1), (2, 1)):
        left, top = 64 * column, 64 * row
        assert (picture[top, left : left + 64] == OUTLINE).all()
        assert (picture[top + 63, left : left + 64] == OUTLINE).all()
        assert (picture[top : top + 64, left] == OUTLINE).all()
        inner = np.s_[top + 1 : top + 63, left + 1 : left + 63]
        assert np.array_equal(picture[inner], plain[inner])


def test_the_rest_is_dimmed(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (256, 256), (64, 64, 144, 128))
    few = TileSettings(size=64, tissue_share=0.5)
    with open_slide(tmp_path / "a.tif") as slide:
        picture, plain = kept_tiles(slide, tile_grid(slide, few), 256), slide.thumbnail(256)
    dropped = np.s_[64:128, 128:144]  # a quarter of a tile
    assert picture[dropped].mean() > plain[dropped].mean() + 50


def test_tiles_too_small_to_outline_are_still_told_apart(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", (512, 512), (64, 64, 320, 320))
    with open_slide(tmp_path / "a.tif") as slide:
        grid = tile_grid(slide, TileSettings(size=16))
        picture, plain = kept_tiles(slide, grid, 128), slide.thumbnail(128)
    assert np.array_equal(picture[20:76, 20:76], plain[20:76, 20:76])
    assert not (picture == OUTLINE).all(-1).any()


def test_a_sheet_has_a_panel_per_slide(tmp_path: Path) -> None:
    for name in "abcde":
        write_slide(tmp_path / f"{name}.tif")
    spec = spec_of(tmp_path)
    one = contact_sheet(spec, find_cases(spec)[:1], tmp_path / "out" / "one.png")
    all_five = contact_sheet(spec, find_cases(spec), tmp_path / "out" / "all.png")
    with Image.open(one) as small, Image.open(all_five) as large:
        assert large.size[0] > 3 * small.size[0]
        assert large.size[1] > 1.5 * small.size[1]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.png", "all.png"}


def test_a_damaged_slide_leaves_no_sheet(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"no slide")
    spec = spec_of(tmp_path)
    with pytest.raises(DataError, match=r"a\.svs cannot be read"):
        contact_sheet(spec, find_cases(spec), tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_only_a_png_is_written_and_only_of_something(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    spec = spec_of(tmp_path)
    with pytest.raises(UsageError, match=r"must end in \.png"):
        contact_sheet(spec, find_cases(spec), tmp_path / "sheet.jpg")
    with pytest.raises(UsageError, match="no case"):
        contact_sheet(spec, [], tmp_path / "sheet.png")


def test_bags_have_nothing_to_draw(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("0,1,0.5\n1,2,0.25\n")
    layout = {"kind": "bags", "file": "b.csv", "classes": ["a", "b"]}
    spec = declare(tmp_path, modality="OT", channels=["features"], labels=[], layout=layout)
    with pytest.raises(UsageError, match="nothing to draw"):
        contact_sheet(spec, find_cases(spec), tmp_path / "sheet.png")


def test_the_real_slides(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    spec = load_spec("slides")
    with Image.open(contact_sheet(spec, find_cases(spec), tmp_path / "s.png")) as sheet:
        green = (np.asarray(sheet) == OUTLINE).all(-1)
    assert green[:, : green.shape[1] // 2].any()
    assert green[:, green.shape[1] // 2 :].any()
