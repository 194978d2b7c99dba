from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.data.layouts.folders import cases
from medssl.data.spec import load_spec
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare

Touch = Callable[[str], Path]
LAYOUT = {"kind": "folders", "images": {"t1": "image.nii"}, "label": "label.nii"}


def test_the_lists_order_the_cases_and_name_their_part(tmp_path: Path, touch: Touch) -> None:
    (tmp_path / "train.list").write_text("b\na\n\n")
    (tmp_path / "test.list").write_text("c")
    touch("train/a/label.nii")
    found = cases(declare(tmp_path, layout=LAYOUT), tmp_path)
    assert [(c.id, c.part) for c in found] == [("b", "train"), ("a", "train"), ("c", "test")]
    assert found[0].images == {"t1": tmp_path / "train/b/image.nii"}
    assert [c.label for c in found] == [None, tmp_path / "train/a/label.nii", None]


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.list does not exist"):
        cases(declare(tmp_path, layout=LAYOUT), tmp_path)


def test_files_are_named_for_every_channel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="channels are t1, t2"):
        cases(declare(tmp_path, layout=LAYOUT, channels=["t1", "t2"]), tmp_path)


def test_the_real_lists_keep_the_published_order(shared_data: Path) -> None:
    found = cases(load_spec("left_atrium"), shared_data / "left_atrium")
    assert [case.part for case in found] == ["train"] * 80 + ["test"] * 20
    assert found[0].id == "06SR5RBREL16DQ6M8LWS"
    assert found[80].id == "UPT6DX9IQY9JAZ7HJKA7"
    assert all(case.label for case in found)
