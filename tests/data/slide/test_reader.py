from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from medssl.data.slide import pyramid as module
from medssl.data.slide.reader import open_slide, slide_digest
from medssl.errors import DataError
from tests.data.slide.conftest import painted, write_levels, write_slide


def flat(width: int, height: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_level_0_is_read_pixel_for_pixel(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.size, slide.levels) == ((500, 400), (1.0, 2.0, 4.0))
        assert np.array_equal(slide.read(90, 70, 200, 130), pixels[70:200, 90:290])


def test_beyond_the_border_is_white(tmp_path: Path) -> None:
    pixels = write_slide(tmp_path / "a.tif", tissue=(0, 0, 500, 400))
    with open_slide(tmp_path / "a.tif") as slide:
        found = slide.read(-10, 380, 40, 40)
        far = slide.read(9000, 0, 8, 8)
    assert np.array_equal(found[:20, 10:], pixels[380:, :30])
    assert (found[20:] == 255).all()
    assert (found[:, :10] == 255).all()
    assert (far == 255).all()


@pytest.mark.parametrize(("side", "value"), [(64, 10), (40, 10), (32, 20), (20, 20), (16, 40)])
def test_the_coarsest_level_that_is_fine_enough_is_read(
    tmp_path: Path, side: int, value: int
) -> None:
    levels = [flat(512, 512, 10), flat(256, 256, 20), flat(128, 128, 40)]
    path = write_levels(tmp_path / "a.tif", levels)
    with open_slide(path) as slide:
        found = slide.read(64, 64, 64, 64, (side, side))
    assert found.shape == (side, side, 3)
    assert (found == value).all()


def test_shrinking_is_the_mean_over_each_pixels_area(tmp_path: Path) -> None:
    pixels = painted((256, 256), (0, 0, 256, 256))
    path = write_levels(tmp_path / "a.tif", [pixels])
    with open_slide(path) as slide:
        found = slide.read(16, 32, 128, 64, (32, 16))
    blocks = pixels[32:96, 16:144].reshape(16, 4, 32, 4, 3).mean((1, 3))
    assert np.abs(found - blocks).max() <= 1  # Pillow rounds after each axis


def test_a_large_region_is_put_together_from_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = painted((512, 384), (0, 0, 512, 384))
    path = write_levels(tmp_path / "a.tif", [pixels])
    with open_slide(path) as slide:
        whole = slide.thumbnail(128)
        held: list[int] = []
        monkeypatch.setattr(module, "_BLOCK", 64)
        read = slide._handle.read_region
        monkeypatch.setattr(
            slide._handle,
            "read_region",
            lambda place, level, size: held.append(size[0] * size[1]) or read(place, level, size),
        )
        assert np.array_equal(slide.thumbnail(128), whole)
    assert len(held) == 48
    assert max(held) == 64 * 64


def test_a_thumbnail_has_the_slides_proportions_and_is_never_enlarged(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.thumbnail(100).shape == (80, 100, 3)
        assert slide.thumbnail(9000).shape == (400, 500, 3)


def test_microns_per_pixel_come_from_the_file(tmp_path: Path) -> None:
    for name, mpp in (("a", 0.25), ("b", None), ("c", 25400 / 72)):
        write_slide(tmp_path / f"{name}.tif", mpp=mpp)
    found = []
    for name in "abc":
        with open_slide(tmp_path / f"{name}.tif") as slide:
            found.append((slide.mpp, slide.objective_power))
    assert found[0] == (pytest.approx(0.25), None)
    assert found[1:] == [(None, None), (None, None)]  # 72 dpi is what writers put when unknowing


def test_the_objective_is_read_where_the_scanner_states_it(tmp_path: Path) -> None:
    write_slide(
        tmp_path / "a.svs", mpp=None, about="Aperio Image Library v1\r\n500x400|AppMag = 40"
    )
    with open_slide(tmp_path / "a.svs") as slide:
        assert (slide.mpp, slide.objective_power) == (None, 40.0)


def test_what_openslide_does_not_know_is_read_by_tiffslide(tmp_path: Path) -> None:
    pixels = painted((200, 150), (50, 50, 150, 100))
    tifffile.imwrite(tmp_path / "strips.tif", pixels, photometric="rgb")
    with open_slide(tmp_path / "strips.tif") as slide:
        assert (slide.size, slide.levels) == ((200, 150), (1.0,))
        assert np.array_equal(slide.read(40, 30, 60, 50), pixels[30:80, 40:100])


@pytest.mark.parametrize("tiled", [True, False], ids=["openslide", "tiffslide"])
def test_threads_may_share_a_reader(tmp_path: Path, tiled: bool) -> None:
    pixels = painted((512, 512), (0, 0, 512, 512))
    path = tmp_path / "a.tif"
    if tiled:
        write_levels(path, [pixels])
    else:
        tifffile.imwrite(path, pixels, photometric="rgb")
    places = np.random.default_rng(0).integers(0, 400, (200, 2)).tolist()
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: slide.read(*place, 100, 100), places))
    for (x, y), tile in zip(places, found, strict=True):
        assert np.array_equal(tile, pixels[y : y + 100, x : x + 100])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "half of it": lambda content: content[: len(content) // 2],
    "all but the end": lambda content: content[:-40],
    "the first bytes": lambda content: content[:5],
    "nothing": lambda content: b"",
    "something else": lambda content: b"slide,label\na,1\n",
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("kind", ["tiles", "strips"])
def test_what_is_no_whole_slide_is_refused_in_one_sentence(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / "a.tif"
    if kind == "tiles":
        write_slide(path)
    else:
        tifffile.imwrite(path, painted((200, 150), (0, 0, 200, 150)), photometric="rgb")
    path.write_bytes(DAMAGE[name](path.read_bytes()))
    with pytest.raises(DataError) as caught:
        open_slide(path)
    assert caught.value.what == f"{path} cannot be read as a slide"
    assert "\n" not in str(caught.value)


def test_a_missing_slide_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no slide .*nothing\.svs"):
        open_slide(tmp_path / "nothing.svs")


def test_damage_inside_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", tissue=(0, 0, 500, 400))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offset = tiff.pages[0].dataoffsets[10]
    content[offset : offset + 200] = bytes(200)
    (tmp_path / "a.tif").write_bytes(content)
    with open_slide(tmp_path / "a.tif") as slide, pytest.raises(DataError, match="damaged there"):
        slide.read(0, 0, 500, 400)


def test_a_digest_tells_slides_apart_and_not_their_names(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    write_slide(tmp_path / "b.tif", seed=1)
    (tmp_path / "c.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    first, other, same = (slide_digest(tmp_path / f"{name}.tif") for name in "abc")
    assert first == same != other


def test_a_real_slide_that_was_cut_short(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "slides/CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "a.svs").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        open_slide(tmp_path / "a.svs")


def test_what_real_slides_state(shared_data: Path) -> None:
    with open_slide(shared_data / "slides/CMU-1-Small-Region.svs") as slide:
        assert (slide.size, slide.mpp, slide.objective_power) == ((2220, 2967), 0.499, 20.0)
        assert slide.levels == (1.0,)
    with open_slide(shared_data / "slides/TCGA-CR-7395-01A-01-TS1.svs") as slide:
        assert (slide.size, slide.mpp, slide.objective_power) == ((4443, 3567), None, None)
        assert slide.levels == (1.0, pytest.approx(2.0, abs=1e-3))
