"""Nothing that names a patient is in what any verb writes or says.

A patient is planted in the headers of DICOM studies, at the top, in nested sequences and in private
tags, and in the names of folders and files. Then every verb runs, and all that it left is searched,
in archives and databases too. DICOM that goes out carries the patient, as the standard wants; what
a user typed may be said back on the terminal.
"""

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medssl.cli import main
from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from tests.dicom_series import write_series

NAME, ID, NUMBER = "Qvortrup", "ZK4711PID", "ACC0815XY"
BORN, BORN_AS = "19330709", ("1933-07-09", "09.07.1933", "19330709")
PLACE = "Wyznbrg"
"""In the names of folders and files, and in no header."""

IN_HEADERS = (NAME, ID, NUMBER, *BORN_AS)

GRID = Geometry((16, 15, 14), np.diag([-1.0, -1.0, 1.2, 1.0]))
BALL = Label(value=1, name="ball")

SPEC = """
title: Balls
modality: MR
channels: [t1]
labels: [{value: 1, name: ball}]
root: tcia
series: {t1: {description: t1}}
layout: {kind: dicom}
licence: internal
citation: none
"""

PIPELINE = """
title: Balls
data: tcia
split: {labels: 2, validation: 0.5, test: 2}
network: {name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}
method: supervised
train: {steps: 2, patch: [8, 8, 8], device: cpu}
evaluate: {bootstrap: 100, overlays: 1}
"""

STUDY = "title: Balls\npipeline: tcia\nlabels: [2]\nseeds: [0]\narms: {supervised: []}\n"


def planted() -> dict[str, object]:
    """What headers say of the patient at the top."""
    return {
        "PatientName": f"{NAME}^Ada", "PatientID": ID, "AccessionNumber": NUMBER,
        "PatientBirthDate": BORN, "SeriesDescription": f"T1 of {NAME} {ID}",
        "StudyDescription": f"{NAME} {NUMBER}", "PatientComments": f"{NAME} {ID}",
    }  # fmt: skip


def plant_deeper(file: Path) -> None:
    """In nested sequences and in private tags."""
    header = pydicom.dcmread(file)
    inner, request = Dataset(), Dataset()
    inner.PatientID, inner.PatientBirthDate = ID, BORN
    request.AccessionNumber, request.RequestedProcedureDescription = NUMBER, NAME
    request.ReferencedPatientSequence = [inner]
    header.RequestAttributesSequence = [request]
    header.OtherPatientIDsSequence = [inner]
    block = header.private_block(0x0029, "MAKER", create=True)
    block.add_new(1, "LO", f"{NAME} {ID} {NUMBER}")
    block.add_new(2, "SQ", [inner])
    header.save_as(file)


def write_study(folder: Path, number: int) -> Path:
    """A T1 with a ball, and the ball as DICOM-SEG."""
    axes, study = np.indices(GRID.shape), generate_uid()
    mask = (((axes - np.array([7, 7, 6 + number % 3]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 12) * 1
    values = 300 * mask + np.random.default_rng(number).integers(0, 50, GRID.shape)
    told = planted() | {"StudyInstanceUID": study, "PatientID": f"P{number}"}
    series = write_series(folder / "t1", GRID, values, **told)
    for file in series.iterdir():
        plant_deeper(file)
    result = Result(mask.astype(np.uint8), GRID, (BALL,), "mask", find_series(series))
    write_dicom_seg(result, folder / f"{PLACE}.dcm")
    return folder


class Place:
    """A working directory of a user, and all that the verbs said there."""

    def __init__(self, root: Path) -> None:
        self.root, self.said = root, ""

    def medssl(self, *arguments: object, code: int = 0) -> str:
        """Carry out a verb in this process; returns what it said."""
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(said), redirect_stderr(said):
            patched.chdir(self.root)
            for name in ("MEDSSL_RUNS", "MEDSSL_CACHE", "MLFLOW_TRACKING_URI"):
                patched.delenv(name, raising=False)
            patched.setenv("MEDSSL_DATA", str(self.root / "data"))
            patched.setattr(sys, "argv", ["medssl", *map(str, arguments)])
            patched.setattr(sys, "excepthook", sys.excepthook)
            try:
                main()
                ended: object = 0
            except SystemExit as end:
                ended = end.code or 0
            except Exception as error:  # with --debug
                ended = 1
                sys.excepthook(type(error), error, error.__traceback__)
        assert ended == code, said.getvalue()
        self.said += said.getvalue()
        return said.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where a pipeline on planted studies has run."""
    root = tmp_path_factory.mktemp("privacy")
    for number in range(6):
        write_study(root / "data" / "tcia" / f"{PLACE}^{number}", number)
    for folder, name, text in (
        ("data_specs", "tcia", SPEC),
        ("pipelines", "tcia", PIPELINE),
        ("pipelines", "tcia_study", STUDY),
    ):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"{name}.yaml").write_text(text)
    found = Place(root)
    found.medssl("run", "tcia")
    return found


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What a file holds, unpacked, with a name for it."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    yield str(path), content


def search(folder: Path, words: Sequence[str], dicom: bool = False) -> list[tuple[str, str]]:
    """Words that are in names or contents of files below a folder, and where.

    Args:
        dicom: DICOM is searched too; by itself its name alone is.
    """
    assert folder.is_dir()
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [("name", str(path.relative_to(folder)).encode())]
        if path.is_file() and (dicom or path.suffix != ".dcm"):
            texts += contents(path)
        for where, text in texts:
            plain = text.lower()
            for word in words:
                forms = word.lower().encode(), word.lower().encode("utf-16-le")
                if any(form in plain for form in forms):
                    found.append((word, f"{path}: {where}"))
    return found


EVERYWHERE = (*IN_HEADERS, PLACE)


def test_the_search_finds_what_is_planted(place: Place, tmp_path: Path) -> None:
    assert {word for word, _ in search(place.root / "data", EVERYWHERE, dicom=True)} >= {
        NAME, ID, NUMBER, BORN, PLACE,
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", NAME.upper())
    (tmp_path / "b.gz").write_bytes(gzip.compress(PLACE.encode()))
    assert {word for word, _ in search(tmp_path, EVERYWHERE)} == {NAME, PLACE}


def test_a_run_with_its_tracking_names_no_patient(place: Place) -> None:
    runs = place.root / "runs"
    assert (runs / "mlflow.db").is_file()
    assert list(runs.rglob("scores.csv"))
    assert search(runs, EVERYWHERE) == []


def test_the_cache_names_no_patient_but_where_the_images_lie(place: Place) -> None:
    cache = place.root / ".cache" / "medssl"
    assert search(cache, IN_HEADERS) == []
    lists = {".series", ".segments", ".json"}
    beside = [
        one for one in search(cache, [PLACE]) if Path(one[1].split(": ")[0]).suffix not in lists
    ]
    assert beside == []
    assert not [path for path in cache.rglob("*") if PLACE in path.name]


def test_looking_at_data_names_no_patient(place: Place) -> None:
    place.medssl("data", "check", "tcia")
    place.medssl("data", "show", "tcia", "--out", "sheets/sheet.png")
    place.medssl("plan", "tcia", "plan=auto", "train.patch=null", code=2)
    assert search(place.root / "sheets", EVERYWHERE) == []


def test_what_init_writes_names_no_patient(place: Place) -> None:
    other = place.root / "other"
    other.mkdir(exist_ok=True)
    (other / "scans").symlink_to(place.root / "data" / "tcia")
    given = Place(other)
    given.medssl("init", "scans/")
    given.medssl("run", "scans/", "--help")
    written = other / "written"
    written.mkdir()
    for folder in ("data_specs", "pipelines"):
        (other / folder).rename(written / folder)
    assert search(written, EVERYWHERE) == []


FORMS = (
    "nifti", "nrrd", "mha", "stl", "obj", "rtstruct",
    "dicom-seg", "dicom-seg-fractional", "dicom-seg-labelmap",
)  # fmt: skip


def test_predictions_in_every_form_name_no_patient(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    for form in FORMS:
        place.medssl("predict", model, "data/tcia", "-o", f"out/{form}", "--format", form)
        assert search(place.root / "out" / form, EVERYWHERE) == []
    seg = next((place.root / "out" / "dicom-seg").glob("study_*[0-9a-f].dcm"))
    assert pydicom.dcmread(seg).PatientName == f"{NAME}^Ada"  # as the standard wants
    place.medssl(
        "predict", model, f"data/tcia/{PLACE}^0/t1", "-o", "out/one", "--statistics", "out/v.csv"
    )
    assert search(place.root / "out", EVERYWHERE) == []
    plain = json.loads((place.root / "out" / "nifti" / "prediction.json").read_text())
    assert set(plain["sources"]) == {path.stem.removesuffix(".nii") for path in
                                     (place.root / "out" / "nifti").glob("study_*.nii.gz")
                                     if "entropy" not in path.name}  # fmt: skip


def test_ids_are_kept_only_when_that_is_asked_for(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    place.medssl("predict", model, "data/tcia", "-o", "kept", "--keep-ids")
    assert {word for word, _ in search(place.root / "kept", EVERYWHERE)} == {PLACE}


def test_exports_name_no_patient(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    place.medssl("predict", model, f"data/tcia/{PLACE}^1", "-o", "for_export")
    (mask,) = (
        path
        for path in (place.root / "for_export").glob("study_*.nii.gz")
        if "entropy" not in path.name
    )
    series = f"data/tcia/{PLACE}^1/t1"
    (place.root / "exported").mkdir()
    given = (
        "--series",
        series,
        "--meaning",
        model / "checkpoint" / "last",
        "--out",
        "exported/seg.dcm",
    )
    place.medssl("export", "dicom-seg", mask, *given)
    place.medssl("export", "package", model, "--out", "exported/model.zip")
    assert search(place.root / "exported", EVERYWHERE) == []


def test_evaluations_comparisons_and_studies_name_no_patient(place: Place) -> None:
    (masks,) = (place.root / "runs" / "tcia").glob("predict-*")
    place.medssl("evaluate", masks, "--data", "tcia", "--out", "scored")
    place.medssl("compare", "tcia")
    place.medssl("study", "tcia_study", "--quiet")
    assert search(place.root / "scored", EVERYWHERE) == []
    assert search(place.root / "runs", EVERYWHERE) == []


def test_errors_quote_no_header(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    broken = place.root / "broken" / "a"
    write_study(broken, 1)
    for number, file in enumerate(sorted((broken / "t1").iterdir())):
        raw = file.read_bytes()
        file.write_bytes(raw if number % 2 else raw.replace(BORN.encode(), b"1933070\xff"))
        header = pydicom.dcmread(file, stop_before_pixels=False)
        header.ImagePositionPatient = None
        header.save_as(file)
    place.medssl("predict", model, "broken", "-o", "out/broken", code=3)
    place.medssl("predict", model, broken / "t1", "-o", "out/broken", "--debug", code=1)
    assert search(place.root / "out", EVERYWHERE) == []


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_unexpected_failures_of_dicom_libraries_quote_no_header(
    place: Place, monkeypatch: pytest.MonkeyPatch, debug: list[str]
) -> None:
    def fail(*_: object) -> None:
        try:
            pydicom.valuerep.DSfloat(f"{ID}")
        except ValueError as error:
            raise KeyError("further on") from error

    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    monkeypatch.setattr("medssl.families.segment.scans.candidates_in", fail)
    said = place.medssl("predict", model, "data/tcia", "-o", "out/failed", *debug, code=1)
    assert "KeyError" in said
    assert ("Traceback" in said and "its words are left out" in said) == bool(debug)
    assert ID not in said


def test_nothing_that_was_said_quotes_a_header(place: Place) -> None:
    """The last of this file: of all verbs together."""
    assert len(place.said) > 2000
    assert [word for word in IN_HEADERS if word.lower() in place.said.lower()] == []
