from pathlib import Path

import pytest

from medssl.data.layouts import all_cases, data_folder, find_cases
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare


def test_roots_are_relative_to_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path))
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    assert data_folder(declare(Path("toy"))) == tmp_path / "toy"
    made = declare(Path("toy"), layout={"kind": "brain_cohort"})
    assert data_folder(made) == tmp_path / "cache" / "toy"


def test_labels_without_image_are_left_out_of_training(toy: Path) -> None:
    (toy / "imagesTr" / "b.nii.gz").unlink()
    assert [case.id for case in find_cases(declare(toy))] == ["a", "c"]
    assert [case.id for case in all_cases(declare(toy))] == ["a", "b", "c"]


def test_a_missing_folder_says_how_to_get_the_data(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(DataError, match="MEDSSL_DATA"):
        find_cases(declare(absent))
    with pytest.raises(DataError, match="medssl data fetch toy"):
        find_cases(declare(absent, downloads=[{"url": "https://example.org/a.tar"}]))
    with pytest.raises(DataError, match="get it from https"):
        find_cases(declare(absent, homepage="https://example.org"))


def test_an_empty_folder_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no case of toy"):
        find_cases(declare(tmp_path))


def test_an_unknown_layout_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"decathlon.*glob.*nnunet.*table"):
        find_cases(declare(tmp_path, layout={"kind": "bins"}))


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,t1\nx,a.nii\nx,b.nii\n")
    with pytest.raises(DataError, match="more than once, first x"):
        find_cases(declare(tmp_path, layout={"kind": "table"}))
