"""The table of radiographs: its columns under any name, its faults, its fixed label lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from medssl.data.layouts import find_cases
from medssl.data.layouts.radiographs import LAYOUT, label_list, listed, patients_known
from medssl.data.spec import load_spec
from medssl.errors import DataError, UsageError
from tests.data.conftest import radiographs, refusing

cases = refusing(LAYOUT)


PLAIN = (
    "file,patient,grade,split,side\nx/a.png,p1,mild,,L\nx/b.dcm,p2,2,test,right\nc.png,p2,,val,\n"
)


def test_a_row_is_an_image(tmp_path: Path) -> None:
    first, second, third = cases(radiographs(tmp_path, PLAIN, spacing=0.2), tmp_path)
    assert (first.id, first.patient, first.part) == ("a", "p1", "train")
    assert first.images == {"radiograph": tmp_path / "x/a.png"}
    assert first.extra == {"class": 1, "side": "L", "spacing": 0.2, "file": "x/a.png"}
    assert (second.id, second.part, second.extra["class"], second.extra["side"]) == (
        "b", "test", 2, "R",
    )  # fmt: skip
    assert (third.part, third.extra["class"], third.extra["side"]) == ("validation", None, None)


def test_columns_and_words_of_the_split_have_any_name(tmp_path: Path) -> None:
    spec = radiographs(
        tmp_path,
        "image,who,kl,fold,name\na.png,p,severe,7,x\nb.png,q,none,9,y\n",
        columns={"file": "image", "patient": "who", "grade": "kl", "split": "fold", "case": "name"},
        parts={"train": ["7"], "test": ["9"]},
    )
    first, second = cases(spec, tmp_path)
    assert (first.id, first.patient, first.part, first.extra["class"]) == ("x", "p", "train", 2)
    assert second.part == "test"


def test_without_patients_each_image_is_its_own_and_that_is_known(tmp_path: Path) -> None:
    table = "file,grade,patient\na_1.png,none,x\nb_1.png,none,x\n"
    unknown = cases(radiographs(tmp_path, table, columns={"patient": None}), tmp_path)
    assert [case.patient for case in unknown] == ["a_1", "b_1"]
    assert not patients_known(unknown)
    assert patients_known(cases(radiographs(tmp_path, table), tmp_path))
    by_name = radiographs(tmp_path, table, columns={"patient": None})
    by_name = by_name.model_copy(update={"patient": "^([ab])"})
    assert [case.patient for case in cases(by_name, tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("name,grade\na.png,none\n", {}, "lacks the column file.*layout.columns"),
        ("file,kl\na.png,0\n", {"columns": {"side": "s"}}, "lacks the column grade and s"),
        ("file,grade\na.png,3\n", {}, "class '3', where the layout declares none, mild, severe"),
        ("file,grade\na.png,0\na.png,1\n", {}, "names the file a.png again"),
        ("file,grade\nx/a.png,0\ny/a.png,1\n", {}, "several images .* called a;.*column `case`"),
        ("file,grade\n,0\n", {}, "row 2 .* names no file"),
        ("file,grade,split\na.png,0,dev\n", {}, "row 2 .* split 'dev'; write one of train"),
        ("file,grade,side\na.png,0,up\n", {}, "row 2 .* side 'up'"),
    ],
)
def test_tables_that_cannot_be_are_refused(
    tmp_path: Path, table: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        cases(radiographs(tmp_path, table, **options), tmp_path)


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    found, faults = listed(
        radiographs(tmp_path, "file,grade\na.png,9\n,0\nb.png,none\nb.png,none\n"), tmp_path
    )
    assert [case.id for case in found] == ["a", "b"]
    assert [fault.rule for fault in faults] == ["label", "table", "duplicate"]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"classes": ["one"]}, "at least 2"),
        ({"classes": ["one", "one"]}, "two of the classes"),
        ({"spacing": -1.0}, "no positive number"),
        ({"spacing": "file"}, "spacing"),
        ({"columns": {"files": "x"}}, "unknown key 'columns.files'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, layout: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cases(radiographs(tmp_path, PLAIN, **layout), tmp_path)


def test_label_lists_are_those_of_the_seed_and_number(tmp_path: Path) -> None:
    spec = radiographs(tmp_path, PLAIN, label_lists="lists.json")
    (tmp_path / "lists.json").write_text(json.dumps({"0": {"1": ["x/a.png"], "2": ["c.png"]}}))
    assert label_list(spec, tmp_path, 0, 1) == ["x/a.png"]
    assert label_list(radiographs(tmp_path, PLAIN), tmp_path, 0, 1) is None
    with pytest.raises(UsageError, match=r"seed=1; lists.json has 0; .*split.lists=false"):
        label_list(spec, tmp_path, 1, 1)
    with pytest.raises(UsageError, match=r"split\.labels=3; lists\.json has 1, 2"):
        label_list(spec, tmp_path, 0, 3)
    (tmp_path / "lists.json").write_text("[1]")
    with pytest.raises(DataError, match="does not hold label lists"):
        label_list(spec, tmp_path, 0, 1)


def test_the_knees_table_is_used_as_it_is(shared_data: Path) -> None:
    spec = load_spec("knee")
    found = find_cases(spec)
    parts = [(case.part, case.extra["class"] is not None) for case in found]
    assert [
        parts.count(one)
        for one in (("train", True), ("validation", True), ("test", True), ("train", False))
    ] == [1220, 306, 826, 1480]
    assert {case.extra["side"] for case in found} == {"L", "R"}
    assert not patients_known(found)
    files = {case.extra["file"]: case.extra["class"] for case in found}
    few = label_list(spec, shared_data / "knee", 0, 5)
    assert few is not None
    assert sorted(files[file] for file in few) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    assert set(few) < set(label_list(spec, shared_data / "knee", 0, 35) or [])
