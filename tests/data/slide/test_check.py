"""Each way slides and bags can be wrong: the file and the remedy in one sentence."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.case_checks import Verdict
from medssl.data.check import check
from medssl.data.spec import DataSpec, load_spec
from medssl.errors import DataError
from tests.data.conftest import declare
from tests.data.slide.conftest import painted, write_levels, write_slide

HEADER = "slide,label,patient,part,annotation\n"
ROWS = ("a,normal,p1,train,\n", "b,tumour,p2,train,b.xml\n", "c,normal,p3,test,\n")


def spec_of(root: Path, **options: Any) -> DataSpec:
    table = {"table": "labels.csv", "classes": ["normal", "tumour"]}
    layout = {"kind": "slides", **table, **options}
    return declare(root, modality="SM", channels=["rgb"], labels=[], layout=layout)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Three sound slides a, b, c with their table."""
    for seed, name in enumerate("abc"):
        write_slide(tmp_path / f"{name}.tif", seed=seed)
    (tmp_path / "b.xml").write_text("<ASAP_Annotations/>")
    write_table(tmp_path, *ROWS)
    return tmp_path


def write_table(root: Path, *rows: str) -> None:
    (root / "labels.csv").write_text(HEADER + "".join(rows))


def write_marked(path: Path) -> None:
    """A slide with a red stroke over a quarter of it."""
    pixels = painted((500, 400), (100, 100, 300, 300), seed=1)
    pixels[300:] = (200, 20, 30)
    write_levels(path, [pixels])


def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


BROKEN: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "pen": (
        lambda root: write_marked(root / "b.tif"),
        "warning", "tissue", r"[23][0-9]\.[0-9]% of b.tif has the colours of a marker pen and does "
        "not count as tissue .*; look at the kept tiles",
    ),
    "broken outlines": (
        lambda root: (root / "b.xml").write_text("<ASAP_Annotations"),
        "error", "unreadable", "b.xml cannot be read as XML.*; replace the file",
    ),
    "truncated": (
        lambda root: cut(root / "b.tif", 0.5),
        "error", "unreadable", "b.tif .* is truncated, damaged or not a slide; copy it again",
    ),
    "a little truncated": (
        lambda root: cut(root / "b.tif", 0.99),
        "error", "unreadable", "b.tif .* is truncated, damaged or not a slide; copy it again",
    ),
    "no slide": (
        lambda root: (root / "b.tif").write_text("slide"),
        "error", "unreadable", "b.tif .* is truncated, damaged or not a slide; copy it again",
    ),
    "empty": (
        lambda root: (root / "b.tif").write_bytes(b""),
        "error", "unreadable", "b.tif cannot be read as a slide: it is empty; copy",
    ),
    "a row without its slide": (
        lambda root: (root / "b.tif").unlink(),
        "error", "missing image", "b has a row in the table but does not exist; add the slide",
    ),
    "no scale": (
        lambda root: write_slide(root / "b.tif", mpp=None, seed=1),
        "warning", "scale", "b.tif states .* assumed_mpp=0.5 of the tile .*; set assumed_mpp",
    ),
    "no tissue": (
        lambda root: write_slide(root / "b.tif", tissue=(0, 0, 0, 0)),
        "error", "tissue", "no tissue was found on b.tif; look at it",
    ),
    "one patient in train and test": (
        lambda root: write_table(root, ROWS[0], ROWS[1].replace("p2", "p3"), ROWS[2]),
        "error", "patient", "c.tif is declared for test but b.tif of the same patient .*; give all",
    ),
    "two rows": (
        lambda root: write_table(root, *ROWS, "b.tif,normal,p2,train,\n"),
        "error", "duplicate", "row 5 of labels.csv names the slide b.tif again; keep one",
    ),
    "two files of one name": (
        lambda root: write_slide(root / "b.tiff", seed=9),
        "error", "duplicate", "b.tiff and b.tif both make the case b; give every case",
    ),
    "one slide twice": (
        lambda root: shutil.copy(root / "a.tif", root / "b.tif"),
        "error", "duplicate", "b.tif has exactly the pixels of a.tif; remove one",
    ),
    "an undeclared class": (
        lambda root: write_table(root, ROWS[0], ROWS[1].replace("tumour", "tumor"), ROWS[2]),
        "error", "label", "labels.csv gives b the class 'tumor', .* normal, tumour; correct",
    ),
    "an unknown part": (
        lambda root: write_table(root, ROWS[0], ROWS[1].replace("train", "dev"), ROWS[2]),
        "error", "table", "row 3 of labels.csv has the part 'dev'; write train, test or nothing",
    ),
    "a row for nothing": (
        lambda root: write_table(root, *ROWS, ",normal,,,\n"),
        "error", "table", "row 5 of labels.csv names no slide; fill in the column slide",
    ),
    "no annotation": (
        lambda root: (root / "b.xml").unlink(),
        "error", "missing label", "the annotation b.xml of slide b does not exist; add the file",
    ),
}  # fmt: skip
"""What is done to the toy; level, rule and sentence of the one verdict that follows."""


@pytest.mark.parametrize("name", BROKEN)
def test_one_fault_is_one_verdict_that_names_file_and_remedy(toy: Path, name: str) -> None:
    spoil, level, rule, sentence = BROKEN[name]
    spoil(toy)
    verdicts = check(spec_of(toy))
    (verdict,) = [verdict for verdict in verdicts if verdict.rule == rule]
    assert {other.rule for other in verdicts} == {rule}
    assert verdict.level == level
    said = f"{verdict.what}; {verdict.do}"
    assert re.search(sentence, said.replace(f"{toy}/", ""))
    assert str(verdict.file) in verdict.what
    assert toy in verdict.file.parents
    assert "\n" not in said


def test_sound_slides_have_no_verdict(toy: Path) -> None:
    assert check(spec_of(toy)) == []


def test_slides_may_lack_a_label_or_a_row(toy: Path) -> None:
    write_table(toy, ROWS[0], "b,,p2,train,\n")
    assert check(spec_of(toy)) == []
    assert check(spec_of(toy, table=None)) == []


def test_progress_counts_every_slide(toy: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(spec_of(toy), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_empty_or_missing_folder_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no case"):
        check(spec_of(tmp_path, table=None))
    with pytest.raises(DataError, match="is not in"):
        check(spec_of(tmp_path / "gone"))


def test_the_real_slides(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(shared_data))
    (verdict,) = check(load_spec("slides"))
    assert (verdict.level, verdict.rule) == ("warning", "scale")
    assert verdict.file.name == "TCGA-CR-7395-01A-01-TS1.svs"


def bags(root: Path, file: str) -> list[Verdict]:
    layout = {"kind": "bags", "file": file, "classes": ["no", "yes"]}
    return check(declare(root, modality="OT", channels=["x"], labels=[], layout=layout))


def test_all_faults_of_bags_are_found_in_one_pass(tmp_path: Path) -> None:
    content = "0,a,1\n1,a,2\n1,b,nan\n1,b,3\nmaybe,c,4\nyes,d,5\n"
    (tmp_path / "bags.csv").write_text(content)
    path = tmp_path / "bags.csv"
    found = bags(tmp_path, "bags.csv")
    assert [(v.case, v.rule, v.file) for v in found] == [
        ("bag_a", "label", path),
        ("bag_b", "non-finite", path),
        ("bag_c", "label", path),
    ]
    assert all(verdict.do and str(path) in verdict.what for verdict in found)


def test_empty_bags_are_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", X=np.ones((2, 3)), bag=[0, 2], y=[0, 1, 1], sizes=[1, 0, 1])
    (verdict,) = bags(tmp_path, "b.npz")
    assert (verdict.rule, verdict.case) == ("empty bag", "bag_1")


def test_sound_bags_have_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("0,1,0.5\n1,2,0.25\n")
    assert bags(tmp_path, "b.csv") == []
