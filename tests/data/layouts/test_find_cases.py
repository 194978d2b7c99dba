from pathlib import Path
from typing import Any

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


SESSIONS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "glob": ({"images": {"t1": "{case}/t1.nii", "t2": "{case}/t2.nii"}}, {"p1_s2/t2.nii": ""}),
    "folders": (
        {"images": {"t1": "t1.nii", "t2": "t2.nii"}, "lists": {"train": "train.list"}},
        {"train.list": "p1_s2"},
    ),
    "nnunet": ({}, {"imagesTr/p1_s2_0001.nii": ""}),
    "decathlon": ({}, {"imagesTr/p1_s2.nii": ""}),
    "datalist": ({}, {"datalist.json": '{"training": [{"image": "p1_s2.nii"}]}'}),
    "table": ({}, {"cases.csv": "case,t1,t2\np1_s2,,a.nii\n"}),
}


@pytest.mark.parametrize("kind", SESSIONS)
def test_patient_and_session_are_found_in_the_names_of_every_layout(
    tmp_path: Path, kind: str
) -> None:
    options, files = SESSIONS[kind]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    layout = {"kind": kind, **options}
    names = {"patient": r"^(p\d)", "session": r"_(s\d)$"}
    (case,) = find_cases(declare(tmp_path, layout=layout, channels=["t1", "t2"], **names))
    assert (case.patient, case.session) == ("p1", "s2")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cases.csv", "case,t1,session\nx,a.nii,2019\ny,b.nii,\n"),
        (
            "datalist.json",
            '{"training": [{"image": "a.nii", "session": "2019"}, {"image": "b.nii"}]}',
        ),
    ],
)
def test_lists_may_name_the_session(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    kind = {"cases.csv": "table", "datalist.json": "datalist"}[name]
    found = find_cases(declare(tmp_path, layout={"kind": kind}, session="(.)$"))
    assert [case.session for case in found] == ["2019", found[1].id]
