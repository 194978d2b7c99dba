from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.data.dicom.study import studies_in
from medssl.data.files import images_in, is_image, stem
from medssl.data.found.items import items_below
from medssl.data.pixels import files_of
from medssl.errors import DataError
from medssl.pipeline.inputs import find_inputs


def test_the_stem_drops_image_suffixes_only() -> None:
    assert stem(Path("x/case.1.nii.gz")) == "case.1"
    assert stem(Path("CASE.NII.GZ")) == "CASE"
    assert stem(Path("case.txt")) == "case.txt"


def test_hidden_and_other_files_are_no_images() -> None:
    assert is_image(Path("a.mha"))
    assert not is_image(Path("._a.nii.gz"))
    assert not is_image(Path("a.json"))


def test_images_of_a_folder_are_sorted(tmp_path: Path, touch: Callable[[str], Path]) -> None:
    for name in ("b.nii", "a.nrrd", "c.txt"):
        touch(name)
    assert list(images_in(tmp_path)) == ["a", "b"]
    assert images_in(tmp_path / "absent") == {}


def test_one_image_in_two_files_is_no_choice(tmp_path: Path, touch: Callable[[str], Path]) -> None:
    touch("a.nii")
    touch("a.nii.gz")
    with pytest.raises(DataError, match="are one image by their names"):
        images_in(tmp_path)


def test_the_files_of_a_series_are_those_that_can_be_seen(
    tmp_path: Path, touch: Callable[[str], Path]
) -> None:
    for name in ("s/1.dcm", "s/._1.dcm", "s/.DS_Store", "s/more/2.dcm"):
        touch(name)
    assert files_of(tmp_path / "s") == [tmp_path / "s/1.dcm"]
    assert files_of(tmp_path / "s/1.dcm") == [tmp_path / "s/1.dcm"]


@pytest.fixture
def round_about(tmp_path: Path, touch: Callable[[str], Path]) -> Path:
    """A folder with one image, and links to folders that they lie in; one goes over another."""
    touch("set/one/a.nii")
    touch("set/two/notes.txt")
    (tmp_path / "set" / "one" / "back").symlink_to("..")
    (tmp_path / "set" / "two" / "over").symlink_to("../three")
    (tmp_path / "three").mkdir()
    (tmp_path / "set" / "three").symlink_to("../three")
    (tmp_path / "three" / "back").symlink_to("../set/two")
    return tmp_path / "set"


def test_links_do_not_lead_round_for_ever(round_about: Path) -> None:
    assert [item.plain for item in items_below(round_about)] == ["one/a"]
    assert studies_in(round_about) == []
    found = find_inputs([round_about], ["t1"], note=lambda words: None)
    assert list(found) == ["one"]
