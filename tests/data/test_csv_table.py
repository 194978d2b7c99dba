"""Tables that users give are read whole or named; tables that medssl writes run nothing."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import medssl
from medssl.data.csv_table import read_rows, read_table, table_text
from medssl.errors import DataError

KEY, NAMES = "layout.table", "file, grade"


def rows_of(path: Path, content: bytes) -> list[dict[str, str]]:
    (path / "a.csv").write_bytes(content)
    return read_rows(path / "a.csv", ["file", "grade"], KEY, NAMES)


@pytest.mark.parametrize(
    "content",
    [
        b"file,grade\na.png,1\nb.png,\n",
        b"\xef\xbb\xbffile,grade\r\na.png,1\r\nb.png,\r\n",
        b" file , grade,\n a.png ,1,\n\nb.png\n",
        b'"file","grade"\r"a.png","1"\rb.png,\r',
        b"file;grade\r\na.png;1\r\nb.png;\r\n",
        b'"file"\tgrade\na.png\t1\nb.png\t\n',
    ],
)
def test_tables_are_read_as_spreadsheets_save_them(tmp_path: Path, content: bytes) -> None:
    assert rows_of(tmp_path, content) == [
        {"file": "a.png", "grade": "1"},
        {"file": "b.png", "grade": ""},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column file and grade; it has none"),
        (b"file grade\na.png 1\n", "it has file grade; name the columns file, grade"),
        (b"file;grade\nDoe; J.png;1\n", r"row 2 of .*a\.csv has 3 cells"),
        (b"file,grade,file\na.png,1,b.png\n", "has two columns file"),
        (b"file,grade\nDoe, J.png,1\n", r"row 2 of .*a\.csv has 3 cells"),
        (b"file,grade\na\0.png,1\n", "no CSV table in UTF-8; it holds zero bytes"),
        (b'file,grade\n"a.png,1\nb.png,2\n', "no CSV table in UTF-8"),
        ("file,grade\na.png,1\n".encode("utf-16"), "no CSV table in UTF-8"),
        (b"file,grade\n" + b"a" * 200_000 + b",1\n", "no CSV table in UTF-8"),
    ],
)
def test_tables_that_would_be_read_in_part_are_named(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rows_of(tmp_path, content)
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize("cell", ["=1+1", "+a", "-a", "@sum", "\ta", "\r=a", "\na", " =a", "'=a"])
def test_no_cell_is_a_formula(cell: str) -> None:
    head, row = csv.reader(io.StringIO(table_text([cell], [[cell]])))
    assert head == row == ["'" + cell.replace("\r", " ")]


@pytest.mark.parametrize("cell", ["-0.300000", "+5", "-1e-05", "-inf", -0.3, -7, "nan", None, ""])
def test_numbers_stay_numbers(cell: object) -> None:
    assert table_text(["a", "b"], [[cell, 1]]) == f"a,b\n{'' if cell is None else cell},1\n"


@given(st.lists(st.text(st.sampled_from("'=+-@\t\n ,\"a1"), min_size=1), min_size=1, max_size=4))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.csv"
    head = [f"{number} {cell}" for number, cell in enumerate(cells)]
    path.write_bytes(table_text(head, [cells]).encode())
    assert read_table(path) == [dict(zip(head, cells, strict=True))]


def test_a_damaged_table_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("case,dice\na,0.5\nb\n")
    with pytest.raises(DataError, match=r"a\.csv is damaged"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(DataError, match="no CSV table"):
        read_table(tmp_path / "missing.csv")


def test_one_module_alone_reads_and_writes_csv() -> None:
    """So that no table is written without the rule above."""
    root = Path(medssl.__file__).parent
    users = [path for path in root.rglob("*.py") if "import csv" in path.read_text("utf-8")]
    assert users == [root / "data" / "csv_table.py"]
