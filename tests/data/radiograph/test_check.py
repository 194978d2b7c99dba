"""`medssl data check` and `show` on radiographs: every fault in one pass, each as a sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.check import check
from medssl.data.layouts import find_cases
from medssl.data.show import contact_sheet
from medssl.data.spec import DataSpec
from tests.data.conftest import radiographs, write_dicom


def draw(root: Path, *names: str) -> None:
    for name in names:
        seed = sum(map(ord, name))
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(root / name)


def found(spec: DataSpec) -> set[tuple[str, str]]:
    return {(verdict.level, verdict.rule) for verdict in check(spec)}


def sentence(spec: DataSpec, rule: str) -> str:
    (verdict,) = (verdict for verdict in check(spec) if verdict.rule == rule)
    return f"{verdict.what}; {verdict.do}"


def test_a_sound_data_set_has_no_verdict(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    assert not check(radiographs(tmp_path, "file,grade,patient\na.png,0,p\nb.png,,q\n"))


def test_unknown_patients_are_said(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    spec = radiographs(tmp_path, "file,grade\na.png,0\nb.png,1\n")
    assert "each counts as its own" in sentence(spec, "patient")
    assert found(spec) == {("warning", "patient")}


def test_a_patient_in_two_parts_is_found(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png", "c.png")
    table = "file,grade,patient,split\na.png,0,p,val\nb.png,1,p,test\nc.png,1,q,train\n"
    spec = radiographs(tmp_path, table)
    assert "b.png is declared for test" in sentence(spec, "patient")
    assert "for validation" in sentence(spec, "patient")


def test_files_and_rows_that_are_wrong_are_all_found(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    (tmp_path / "broken.dcm").write_bytes(b"no image")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    spec = radiographs(
        tmp_path,
        "file,grade,patient,split\na.png,0,p,\nb.png,9,q,\nbroken.dcm,1,r,\ngone.png,1,s,\n"
        "copy.png,0,t,\na.png,0,p,\nb2.png,,u,test\n",
    )
    draw(tmp_path, "b2.png")
    assert found(spec) == {
        ("error", "label"),
        ("error", "unreadable"),
        ("error", "missing image"),
        ("error", "duplicate"),
        ("warning", "missing label"),
    }
    same = [v.what for v in check(spec) if v.rule == "duplicate"]
    assert any("has exactly the pixels of" in what for what in same)
    assert any("names the file a.png again" in what for what in same)


def test_scale_and_side_are_looked_for_in_headers(tmp_path: Path) -> None:
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6)
    write_dicom(tmp_path / "a.dcm", pixels, Laterality="L")
    write_dicom(tmp_path / "b.dcm", pixels + 1, PixelSpacing=[0.1, 0.1])
    table = "file,grade,patient,side\na.dcm,0,p,R\nb.dcm,0,q,\n"
    spec = radiographs(tmp_path, table, spacing="header", columns={"side": "side"})
    verdicts = {(v.case, v.rule, v.level) for v in check(spec)}
    assert verdicts == {("a", "scale", "error"), ("a", "side", "error"), ("b", "side", "warning")}
    assert not check(radiographs(tmp_path, table.replace(",R", ",L")))  # neither is asked for


def test_a_sheet_shows_every_image(tmp_path: Path) -> None:
    draw(tmp_path, "a.png", "b.png")
    spec = radiographs(tmp_path, "file,grade\na.png,0\nb.png,\n")
    with Image.open(contact_sheet(spec, find_cases(spec), tmp_path / "sheet.png")) as sheet:
        assert sheet.size[0] > 2 * 240


def test_the_knees_are_sound(shared_data: Path) -> None:
    from medssl.data.spec import load_spec

    spec = load_spec("knee")
    verdicts = check(spec, find_cases(spec)[:40])
    assert not [verdict for verdict in verdicts if verdict.level == "error"]


@pytest.mark.parametrize("rule", ["label", "patient"])
def test_verdicts_say_what_to_do(tmp_path: Path, rule: str) -> None:
    draw(tmp_path, "a.png", "b.png")
    spec = radiographs(tmp_path, "file,grade\na.png,9\nb.png,1\n")
    assert "data spec" in sentence(spec, rule)
