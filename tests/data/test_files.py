from collections.abc import Callable
from pathlib import Path

from medssl.data.files import images_in, is_image, stem


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
