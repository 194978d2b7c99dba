"""Streams and the cache of radiographs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medssl.data.layouts.radiographs import LAYOUT
from medssl.data.radiograph import cache as radiograph_cache
from medssl.data.radiograph.cache import cached_crops, read_case
from medssl.data.radiograph.stream import RadiographStream
from medssl.data.spec import Case
from medssl.errors import DataError
from medssl.transforms.radiograph_chain import RadiographPreprocess
from tests.data.conftest import radiographs, refusing, write_dicom

cases = refusing(LAYOUT)


CROPS = np.arange(6 * 2 * 4 * 4).reshape(6, 2, 4, 4).astype(np.uint8)
IDS = {1: "b", 3: "d", 4: "e"}


def stream(kind: str = "labelled", size: int = 2, seed: int = 0) -> RadiographStream:
    grades = {"b": 2, "d": 0, "e": 1} if kind == "labelled" else None
    return RadiographStream(kind, CROPS, IDS, grades, size, seed)


def test_every_image_comes_once_in_each_round_without_end() -> None:
    names = [name for number in range(6) for name in stream().batch(number).ids]
    assert [sorted(names[start : start + 3]) for start in (0, 3, 6, 9)] == [["b", "d", "e"]] * 4
    assert len({tuple(names[start : start + 3]) for start in (0, 3, 6, 9)}) > 1


def test_images_come_with_their_own_grades() -> None:
    batch = stream(size=5).batch(7)
    place = {name: number for number, name in IDS.items()}
    for name, crops, grade in zip(batch.ids, batch.image, batch.truth, strict=True):
        np.testing.assert_array_equal(crops.numpy(), CROPS[place[name]])
        assert int(grade) == {"b": 2, "d": 0, "e": 1}[name]


def test_a_batch_is_a_function_of_its_number_seed_and_kind() -> None:
    assert stream().batch(5).ids == stream().batch(5).ids

    def twenty(one: RadiographStream) -> list[tuple[str, ...]]:
        return [one.batch(number).ids for number in range(20)]

    assert twenty(stream()) != twenty(stream(seed=1))
    assert twenty(stream()) != twenty(stream("unlabelled"))


def test_an_unlabelled_stream_reads_no_grade() -> None:
    assert stream("unlabelled").batch(0).grade is None


@pytest.fixture
def knees(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(tmp_path / f"{name}.png")
    table = "file,grade,side\na.png,0,L\nb.png,1,R\nc.png,,R\n"
    return cases(radiographs(tmp_path, table), tmp_path)


def chain(**keys: Any) -> RadiographPreprocess:
    return RadiographPreprocess.of({"radiograph": {"field": None, "side": 10, **keys}})


def test_crops_are_made_once_and_lie_on_disk(
    tmp_path: Path, knees: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    found = cached_crops(knees, chain(), tmp_path / "cache", 1, lambda *s: seen.append(s))
    assert (found.shape, found.dtype) == ((3, 1, 10, 10), np.uint8)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(radiograph_cache, "read_radiograph", None)
    again = cached_crops(knees, chain(), tmp_path / "cache")
    np.testing.assert_array_equal(again, found)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]


def test_damaged_crops_are_made_anew(tmp_path: Path, knees: list[Case]) -> None:
    crops = np.array(cached_crops(knees, chain(), tmp_path / "cache"))
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 8]) + whole[201:])
    np.testing.assert_array_equal(cached_crops(knees, chain(), tmp_path / "cache"), crops)
    assert path.read_bytes() == whole


def test_a_change_of_image_side_or_settings_makes_them_anew(
    tmp_path: Path, knees: list[Case]
) -> None:
    folder = tmp_path / "cache"
    settings = chain(mirror="left")
    first = np.array(cached_crops(knees, settings, folder))
    knees[1].extra["side"] = "L"
    np.testing.assert_array_equal(cached_crops(knees, settings, folder)[1], first[1][..., ::-1])
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / "a.png")
    cached_crops(knees, settings, folder)
    cached_crops(knees, chain(mirror="left", side=12), folder)
    assert len(list(folder.iterdir())) == 4


def test_a_damaged_image_leaves_nothing_behind(tmp_path: Path, knees: list[Case]) -> None:
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        cached_crops(knees, chain(), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png does not exist"):
        cached_crops(knees, chain(), tmp_path / "cache")


def test_header_and_table_must_agree_on_the_side(tmp_path: Path) -> None:
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6)
    write_dicom(tmp_path / "a.dcm", pixels, Laterality="L", PixelSpacing=[0.1, 0.1])
    table = "file,grade,side\na.dcm,0,{}\n"
    (silent,) = cases(radiographs(tmp_path, table.format("")), tmp_path)
    assert (read_case(silent).side, read_case(silent).spacing) == ("L", (0.1, 0.1))
    (scaled,) = cases(radiographs(tmp_path, table.format("L"), spacing=0.2), tmp_path)
    assert read_case(scaled).spacing == (0.2, 0.2)
    (wrong,) = cases(radiographs(tmp_path, table.format("R")), tmp_path)
    with pytest.raises(DataError, match="side L by its header and R by the table"):
        read_case(wrong)
