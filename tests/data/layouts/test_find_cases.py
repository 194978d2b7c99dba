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


@pytest.mark.parametrize(
    ("kind", "do"),
    [("bins", "did you mean 'bids'?"), ("x", r"choose one of: bags, .*decathlon.*table")],
)
def test_an_unknown_layout_is_refused_with_the_known(tmp_path: Path, kind: str, do: str) -> None:
    with pytest.raises(UsageError, match=rf"no layout is called '{kind}' in the data spec .*{do}"):
        find_cases(declare(tmp_path, layout={"kind": kind}))


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


def named(kind: str, name: str, root: Path) -> dict[str, Any]:
    """A layout of `kind` with one case that is called `name`."""
    import json

    texts = {
        "table": ("cases.csv", f'case,t1\n"{name}",a.nii\n'),
        "datalist": (
            "datalist.json",
            json.dumps({"training": [{"image": "a.nii", "id": name}]}),
        ),
        "folders": ("train.list", name),
        "decathlon": (
            "dataset.json",
            json.dumps({"training": [{"image": f"imagesTr/{name}.nii"}]}),
        ),
        "bags": ("bags.csv", f'label,bag,x\n0,"{name}",1\n1,b,2\n'),
        "radiographs": ("labels.csv", f'file,grade,case\na.png,no,"{name}"\n'),
        "slides": ("labels.csv", f'slide,label\n"{name}",no\n'),
    }
    options: dict[str, dict[str, Any]] = {
        "folders": {"images": {"t1": "a.nii"}, "lists": {"train": "train.list"}},
        "bags": {"file": "bags.csv", "classes": ["no", "yes"]},
        "radiographs": {"classes": ["no", "yes"]},
        "slides": {"table": "labels.csv", "classes": ["no", "yes"]},
    }
    file, text = texts[kind]
    (root / file).write_text(text, encoding="utf-8")
    return {"kind": kind, **options.get(kind, {})}


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "<script>", "x" * 300, "a|b"])
@pytest.mark.parametrize(
    "kind", ["table", "datalist", "folders", "decathlon", "bags", "radiographs", "slides"]
)
def test_a_case_whose_name_cannot_be_a_file_is_refused_in_every_layout(
    tmp_path: Path, kind: str, name: str
) -> None:
    layout = named(kind, name, tmp_path)
    with pytest.raises(DataError) as caught:
        find_cases(declare(tmp_path, layout=layout))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "..", ""])
@pytest.mark.parametrize("kind", ["table", "folders", "datalist"])
def test_no_case_is_named_out_of_the_folder_of_results(
    tmp_path: Path, kind: str, name: str
) -> None:
    layout = named(kind, name, tmp_path)
    if kind == "datalist" and not name:
        (case,) = find_cases(declare(tmp_path, layout=layout))
        assert case.id == "a"  # an empty id is none: the file names the case
        return
    with pytest.raises(DataError):
        find_cases(declare(tmp_path, layout=layout))


def test_files_that_no_disk_can_hold_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,t1\nx," + "y" * 300 + "\n")
    with pytest.raises(DataError, match="too long or not printable"):
        find_cases(declare(tmp_path, layout={"kind": "table"}))


def test_lists_may_name_files_anywhere(tmp_path: Path) -> None:
    """As MONAI's do: whoever writes the list owns the data."""
    root = tmp_path / "set"
    root.mkdir()
    elsewhere = tmp_path / "elsewhere" / "a.nii"
    (root / "cases.csv").write_text(f"case,t1\nx,{elsewhere}\ny,../elsewhere/b.nii\n")
    one, two = find_cases(declare(root, layout={"kind": "table"}))
    assert one.images["t1"] == elsewhere
    assert two.images["t1"].resolve() == tmp_path / "elsewhere" / "b.nii"
