from pathlib import Path

import numpy as np
import pytest

from medssl.data.slide import sample
from medssl.data.slide.reader import open_slide
from medssl.data.slide.sample import draw_tiles, sample_slides
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import read_tile, tile_grid
from medssl.errors import DataError, UsageError
from medssl.transforms.tile_chain import TilePreprocess
from tests.data.slide.conftest import write_slide

SETTINGS = TileSettings(size=32)


@pytest.fixture
def slides(tmp_path: Path) -> dict[str, Path]:
    for seed, name in enumerate("ab"):
        write_slide(tmp_path / f"{name}.tif", seed=seed)
    return {name: tmp_path / f"{name}.tif" for name in "ab"}


def test_at_most_so_many_tiles_of_each_slide(slides: dict[str, Path], tmp_path: Path) -> None:
    write_slide(tmp_path / "c.tif", tissue=(96, 96, 160, 128))
    paths = sample_slides({**slides, "c": tmp_path / "c.tif"}, tmp_path / "out", SETTINGS, 5, 0)
    found = [np.load(path) for path in paths]
    assert [array.shape for array in found] == [(5, 32, 32, 3)] * 2 + [(2, 32, 32, 3)]
    assert all(array.dtype == np.uint8 for array in found)


def test_the_tiles_are_kept_tiles_of_the_slide(slides: dict[str, Path], tmp_path: Path) -> None:
    (path, _) = sample_slides(slides, tmp_path / "out", SETTINGS, 6, 0)
    with open_slide(slides["a"]) as slide:
        grid = tile_grid(slide, SETTINGS)
        numbers = draw_tiles(grid, "a", 6, 0)
        expected = np.stack([read_tile(slide, grid, number) for number in numbers])
    assert len(set(numbers.tolist())) == 6
    assert np.array_equal(np.load(path), expected)


def test_a_draw_depends_on_slide_and_seed_alone(slides: dict[str, Path]) -> None:
    with open_slide(slides["a"]) as slide:
        grid = tile_grid(slide, SETTINGS)
    first = draw_tiles(grid, "a", 10, 0).tolist()
    assert draw_tiles(grid, "a", 10, 0).tolist() == first
    assert draw_tiles(grid, "b", 10, 0).tolist() != first
    assert draw_tiles(grid, "a", 10, 1).tolist() != first


def test_every_tile_is_drawn_as_often(slides: dict[str, Path]) -> None:
    with open_slide(slides["a"]) as slide:
        grid = tile_grid(slide, TileSettings(size=64))
    drawn = np.concatenate([draw_tiles(grid, "a", 4, seed) for seed in range(1000)])
    counts = np.bincount(drawn, minlength=len(grid))
    expected = 4000 / len(grid)
    # Chi-square, 99.9 % quantile of at most 24 degrees of freedom; drawing without replacement
    # only narrows it.
    assert len(grid) <= 25
    assert ((counts - expected) ** 2 / expected).sum() < 51.2


def test_what_is_there_is_kept_and_the_rest_is_made(
    slides: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    slides["b"].rename(tmp_path / "away.tif")
    with pytest.raises(DataError, match=r"no slide .*b\.tif"):
        sample_slides(slides, out, SETTINGS, 4, 0)
    assert [path.name.split("-")[0] for path in out.iterdir()] == ["a"]
    (tmp_path / "away.tif").rename(slides["b"])
    opened = []
    monkeypatch.setattr(
        sample, "open_slide", lambda path: opened.append(path.stem) or open_slide(path)
    )
    seen: list[tuple[int, int]] = []
    sample_slides(slides, out, SETTINGS, 4, 0, on_progress=lambda *now: seen.append(now))
    assert opened == ["b"]
    assert seen == [(1, 2), (2, 2)]


def test_other_settings_or_another_slide_make_another_file(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    one = {"a": slides["a"]}
    names = {
        *sample_slides(one, out, SETTINGS, 4, 0),
        *sample_slides(one, out, SETTINGS, 5, 0),
        *sample_slides(one, out, SETTINGS, 4, 1),
        *sample_slides(one, out, TileSettings(size=48), 4, 0),
        *sample_slides({"a": slides["b"]}, out, SETTINGS, 4, 0),
        *sample_slides(one, out, SETTINGS, 4, 0, chain=TilePreprocess.of("Flipd")),
    }
    assert len(names) == 6


def test_drawn_tiles_go_through_the_chain(slides: dict[str, Path], tmp_path: Path) -> None:
    (plain,) = sample_slides({"a": slides["a"]}, tmp_path, SETTINGS, 4, 0)
    chain = TilePreprocess.of({"Flipd": {"spatial_axis": 0}})
    (turned,) = sample_slides({"a": slides["a"]}, tmp_path, SETTINGS, 4, 0, chain=chain)
    assert np.array_equal(np.load(turned), np.load(plain)[:, ::-1])


def test_a_slide_without_tissue_is_named(tmp_path: Path) -> None:
    write_slide(tmp_path / "bare.tif", tissue=(0, 0, 0, 0))
    with pytest.raises(DataError, match=r"no tissue was found on .*bare\.tif"):
        sample_slides({"bare": tmp_path / "bare.tif"}, tmp_path / "out", SETTINGS, 4, 0)
    assert not list(tmp_path.rglob("out/*"))


def test_no_tiles_are_no_sample(slides: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        sample_slides(slides, tmp_path / "out", SETTINGS, 0, 0)
