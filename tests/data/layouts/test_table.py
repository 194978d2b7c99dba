from pathlib import Path

import pytest

from medssl.data.layouts.table import cases
from medssl.data.spec import Case
from medssl.errors import DataError
from tests.data.conftest import declare


def table(root: Path, text: str, channels: tuple[str, ...] = ("t1",)) -> list[Case]:
    (root / "cases.csv").write_text(text, encoding="utf-8-sig")  # as spreadsheets write it
    return cases(declare(root, channels=channels), root)


def test_a_row_is_a_case(tmp_path: Path) -> None:
    (case,) = table(
        tmp_path,
        "case,patient,session,t1,t2,label,part\nx,p1,2,x/t1.nii,x/t2.nii, x/seg.nii ,test\n",
        ("t1", "t2"),
    )
    assert (case.id, case.patient, case.session, case.part) == ("x", "p1", "2", "test")
    assert case.images == {"t1": tmp_path / "x/t1.nii", "t2": tmp_path / "x/t2.nii"}
    assert case.label == tmp_path / "x/seg.nii"


def test_empty_cells_are_absent_files(tmp_path: Path) -> None:
    (case,) = table(tmp_path, "case,t1,t2,label\nx,,x2.nii,\n", ("t1", "t2"))
    assert list(case.images) == ["t2"]
    assert (case.label, case.part, case.patient) == (None, None, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,label\nx,y\n", "lacks the column t1"),
        ("case,t1\n,a.nii\n", "row 2.*has no name"),
        ("case,t1,part\nx,a.nii,\ny,b.nii,val\n", "row 3.*part is 'val'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, text)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cases\.csv does not exist"):
        cases(declare(tmp_path), tmp_path)
