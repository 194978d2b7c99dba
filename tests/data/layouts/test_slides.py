from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medssl.data.classes import declared_classes
from medssl.data.layouts import find_cases
from medssl.data.layouts.slides import LAYOUT
from medssl.data.spec import Case, DataSpec, load_spec
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare, refusing

cases = refusing(LAYOUT)


Touch = Callable[[str], Path]


def spec_of(root: Path, **options: Any) -> DataSpec:
    layout = {"kind": "slides", **options}
    return declare(root, modality="SM", channels=["rgb"], labels=[], layout=layout)


def tabled(root: Path, rows: str, **options: Any) -> DataSpec:
    (root / "labels.csv").write_text(rows)
    return spec_of(root, table="labels.csv", **{"classes": ["normal", "tumour"], **options})


def listed(root: Path, rows: str, **options: Any) -> list[Case]:
    return cases(tabled(root, rows, **options), root)


def test_without_a_table_every_slide_is_an_unlabelled_case(tmp_path: Path, touch: Touch) -> None:
    for name in ("b.svs", "a.TIFF", "notes.txt", ".hidden.svs", "a.png"):
        touch(name)
    found = cases(spec_of(tmp_path), tmp_path)
    assert [(case.id, case.patient) for case in found] == [("a", "a"), ("b", "b")]
    assert found[1].images == {"slide": tmp_path / "b.svs"}
    assert found[1].extra == {"class": None, "annotation": None}


def test_the_table_says_what_slides_show(tmp_path: Path, touch: Touch) -> None:
    for name in ("x.svs", "y.svs", "z.svs"):
        touch(name)
    rows = "slide,label,patient,part,annotation\n"
    rows += "y.svs,tumour,p1,test,notes/y.xml\nx,normal,p2,train,\n"
    y, x, z = listed(tmp_path, rows)
    assert (y.id, y.patient, y.part) == ("y", "p1", "test")
    assert y.extra == {"class": 1, "annotation": tmp_path / "notes/y.xml"}
    assert (x.id, x.part, x.extra["class"], x.extra["annotation"]) == ("x", "train", 0, None)
    assert (z.id, z.part, z.extra["class"]) == ("z", None, None)
    assert x.images == {"slide": tmp_path / "x.svs"}


def test_labels_are_names_or_indices_or_absent(tmp_path: Path, touch: Touch) -> None:
    for name in "abc":
        touch(f"{name}.svs")
    found = listed(tmp_path, "slide,label\na,1\nb,normal\nc,\n")
    assert [case.extra["class"] for case in found] == [1, 0, None]


def test_slides_may_lie_in_folders(tmp_path: Path, touch: Touch) -> None:
    touch("normal/a.svs")
    touch("tumour/b.svs")
    rows = "slide,label\nnormal/a.svs,normal\nb,tumour\n"
    a, b = listed(tmp_path, rows, pattern="*/*")
    assert (a.id, b.id) == ("a", "b")
    assert b.images["slide"] == tmp_path / "tumour/b.svs"


def test_the_name_gives_the_patient_where_the_table_does_not(tmp_path: Path, touch: Touch) -> None:
    touch("TCGA-CR-7395-01A.svs")
    plain = tabled(tmp_path, "slide,label\nTCGA-CR-7395-01A,tumour\n")
    spec = plain.model_copy(update={"patient": r"^(TCGA-\w\w-\w{4})"})
    assert cases(spec, tmp_path)[0].patient == "TCGA-CR-7395"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("slide,label\na," + "9" * 5000 + "\n", "gives a the class '9"),
        ("slide,label\na,tumor\n", "gives a the class 'tumor', where the layout declares normal"),
        ("slide,label\na,2\n", "the class '2'"),
        ("slide,label\n,tumour\n", "row 2 .* names no slide; fill in"),
        ("slide,label\na,normal\na.svs,tumour\n", "row 3 .* names the slide a.svs again"),
        ("slide,label,part\na,normal,dev\n", "row 2 .* has the part 'dev'; write train"),
        ("file,label\na,normal\n", "lacks the column slide; it has file, label"),
        ("", "lacks the column slide and label; it has none"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    tmp_path: Path, touch: Touch, rows: str, sentence: str
) -> None:
    touch("a.svs")
    with pytest.raises(DataError, match=sentence) as caught:
        listed(tmp_path, rows)
    assert str(tmp_path / "labels.csv") in str(caught.value)


def test_the_columns_may_be_called_otherwise(tmp_path: Path, touch: Touch) -> None:
    touch("a.svs")
    (tmp_path / "labels.csv").write_text("slide_id,call,case\na,tumour,p1\n")
    columns = {"slide": "slide_id", "label": "call", "patient": "case"}
    given = {"table": "labels.csv", "classes": ["normal", "tumour"]}
    (case,) = cases(spec_of(tmp_path, columns=columns, **given), tmp_path)
    assert (case.extra["class"], case.patient) == (1, "p1")
    with pytest.raises(DataError, match=r"lacks the column site; it has .* \(layout\.columns\)"):
        cases(spec_of(tmp_path, columns={**columns, "patient": "site"}, **given), tmp_path)


def test_the_number_of_further_faults_is_told(tmp_path: Path, touch: Touch) -> None:
    touch("a.svs")
    touch("b.svs")
    with pytest.raises(DataError, match="1 more such faults"):
        listed(tmp_path, "slide,label\na,x\nb,y\n")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, table="none.csv", classes=["a", "b"])
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        cases(spec, tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    spec = tabled(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes("slide,label\nä,normal\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv is no CSV table in UTF-8"):
        cases(spec, tmp_path)


def test_a_handful_of_labels_needs_no_table(tmp_path: Path, touch: Touch) -> None:
    for name in ("a.svs", "b.svs", "c.svs"):
        touch(name)
    spec = spec_of(tmp_path, labels={"a": "normal", "b": "tumour"}, classes=["normal", "tumour"])
    assert [case.extra["class"] for case in cases(spec, tmp_path)] == [0, 1, None]


def test_two_slides_of_one_name_are_refused(tmp_path: Path, touch: Touch) -> None:
    touch("a.svs")
    touch("a.tif")
    with pytest.raises(DataError, match="occur more than once, first a"):
        find_cases(spec_of(tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": ""},
        {"pattern": "/slides/*"},
        {"table": "labels.csv"},
        {"table": "labels.csv", "classes": ["a", "a"]},
        {"labels": {"x": "a"}, "classes": ["n", "t"]},
        {"clas": 1},
    ],
)
def test_the_layout_itself_is_checked(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"layout of kind slides is wrong|did you mean 'classes'"):
        cases(spec_of(tmp_path, **options), tmp_path)


def test_the_classes_a_data_set_declares(tmp_path: Path) -> None:
    assert declared_classes(spec_of(tmp_path, classes=["n", "t"])) == ("n", "t")
    assert declared_classes(spec_of(tmp_path)) == ()


def test_the_real_slides(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    found = find_cases(load_spec("slides"))
    assert [case.id for case in found] == ["CMU-1-Small-Region", "TCGA-CR-7395-01A-01-TS1"]
    assert all(case.images["slide"].is_file() for case in found)
