"""A tree of DICOM studies with masks in DICOM becomes a data set of its own layout."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from medssl.data.check import check, labelled
from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.data.layouts import find_cases
from medssl.data.spec import load_spec
from medssl.data.volume import read_mask
from medssl.errors import DataError
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from medssl.export.rtstruct import write_rtstruct
from medssl.pipeline.config import load_config
from medssl.pipeline.init import initialise
from medssl.pipeline.progress import QuietReporter
from tests.dicom_series import write_series

SHAPE = (11, 9, 6)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))
PARTS = (Label(value=1, name="tumour"), Label(value=2, name="Liver"))


@pytest.fixture
def tree(directory: Path) -> Path:
    return directory / "export"


def study(folder: Path, kind: str, parts: tuple[Label, ...] = PARTS, t1: str = "T1 axial") -> None:
    """T2, T1 and a mask of the T1, which marks the liver in more voxels than the tumour."""
    told = {"StudyInstanceUID": generate_uid(), "PatientID": f"ID-{folder.name}"}
    pixels = np.random.default_rng(list(folder.name.encode())).integers(1, 500, SHAPE)
    write_series(folder / "A", GRID, pixels, SeriesDescription="T2 axial", SeriesNumber=1, **told)
    write_series(folder / "B", GRID, pixels, SeriesDescription=t1, SeriesNumber=2, **told)
    series = find_series(folder / "B")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:10, 1:8, 1:4] = 2
    mask[3:5, 3:5, 2] = 1
    if kind == "seg":
        write_dicom_seg(Result(mask, GRID, parts, "mask", series), folder / "mask.dcm")
    elif kind == "rtstruct":
        write_rtstruct(Result(mask, GRID, parts, "mask", series), folder / "mask.dcm")


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_series_and_structures_are_those_of_the_masks(tree: Path, kind: str) -> None:
    for name, own in (("one", kind), ("two", kind), ("three", "")):
        study(tree / name, own)
    said = initialise(tree, QuietReporter())
    spec = load_spec("export")
    assert spec.layout.kind == "dicom"
    assert (spec.modality, spec.channels) == ("MR", ("t1",))
    assert [one.name for one in spec.labels] == ["Liver", "tumour"]  # the smaller one over it
    cases = find_cases(spec)
    assert sorted(map(labelled, cases)) == [False, True, True]
    found = read_mask(next(one.label for one in cases if one.label is not None)).array[0]
    assert ((found == 2).sum(), (found == 1).sum()) == (4, 9 * 7 * 3 - 4)
    assert not [one for one in check(spec) if one.level == "error"]
    assert load_config("export").pipeline.method.name == "tracoco"
    assert "2 have a mask, 1 has none; masks are DICOM-SEG or RTSTRUCT" in said
    assert "MR, as the DICOM headers say" in said
    written = Path("data_specs/export.yaml").read_text() + said
    assert "ID-" not in written


def test_a_structure_of_few_masks_is_told_and_no_label(tree: Path) -> None:
    study(tree / "one", "seg", (*PARTS[:1], Label(value=2, name="Liver")))
    study(tree / "two", "seg", (Label(value=1, name="Cyst"), Label(value=2, name="Liver")))
    study(tree / "three", "seg", (Label(value=1, name="Vein"), Label(value=2, name="Liver")))
    said = initialise(tree, QuietReporter())
    assert [one.name for one in load_spec("export").labels] == ["Liver"]
    assert "3 structures are in less than half of the masks and no labels: cyst, tumour" in said


def test_a_study_of_two_like_series_is_left_out_and_told(tree: Path) -> None:
    study(tree / "one", "seg", t1="T1 a")
    study(tree / "two", "seg", t1="T1 b")
    study(tree / "three", "", t1="T1 b")
    told = {"PatientID": "ID-three", "SeriesDescription": "T1 c", "SeriesNumber": 9}
    uid = next((tree / "three/B").iterdir())
    write_series(tree / "three/C", GRID, StudyInstanceUID=_study_of(uid), **told)
    said = initialise(tree, QuietReporter())
    spec = load_spec("export")
    assert len(find_cases(spec)) == 2
    (three,) = (spec.layout.model_extra or {})["leave_out"]
    assert three.startswith("study_")
    assert f"1 studies are left out ({three}), first: {three} has 2 series that may be" in said


def _study_of(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path).StudyInstanceUID)


def test_masks_without_their_series_are_refused(tree: Path) -> None:
    study(tree / "one", "seg")
    for path in (tree / "one/B").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="none of the series that they were drawn on"):
        initialise(tree, QuietReporter())
    assert not Path("data_specs").exists()


def test_studies_in_one_heap_are_told_apart(tree: Path) -> None:
    tree.mkdir()
    for number, name in enumerate("ab"):
        pixels = np.random.default_rng(number).integers(1, 500, SHAPE)
        write_series(tree.parent / name, GRID, pixels, PatientID=f"ID-{name}")
        for path in (tree.parent / name).iterdir():
            path.rename(tree / f"{name}{path.name}")
    said = initialise(tree, QuietReporter())
    assert load_spec("export").layout.kind == "dicom"
    assert "2 scans" in said
    assert len({case.patient for case in find_cases(load_spec("export"))}) == 2


def test_a_heap_of_studies_with_several_series_is_refused(tree: Path) -> None:
    tree.mkdir()
    uid = generate_uid()
    for name in ("T1", "T2"):
        told = {"SeriesDescription": name, "StudyInstanceUID": uid}
        write_series(tree.parent / name, GRID, np.ones(SHAPE), **told)
        for path in (tree.parent / name).iterdir():
            path.rename(tree / f"{name}{path.name}")
    with pytest.raises(DataError, match="DICOM studies of several series in one heap"):
        initialise(tree, QuietReporter())
