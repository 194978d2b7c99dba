"""Nothing that names a patient is in what any verb writes or says.

A patient is planted in the headers of DICOM studies, at the top, in nested sequences and in private
tags, and in the names of folders and files. Then every verb runs, and all that it left is searched,
in archives and databases too. DICOM that goes out carries the patient, as the standard wants; what
a user typed may be said back on the terminal.
"""

import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from typer.core import TyperGroup as Group
from typer.main import get_command

from medssl.cli import app
from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from medssl.settings import Format
from tests.dicom_series import write_series
from tests.planted import (
    BORN,
    EVERYWHERE,
    FULL,
    ID,
    IN_HEADERS,
    NAME,
    NUMBER,
    PLACE,
    Place,
    guessed,
    plant_deeper,
    planted,
    search,
)

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


def test_the_search_finds_what_is_planted(place: Place, tmp_path: Path) -> None:
    assert {word for word, _ in search(place.root / "data", EVERYWHERE, dicom=True)} >= {
        NAME, ID, NUMBER, BORN, PLACE,
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", NAME.upper())
    (tmp_path / "b.gz").write_bytes(gzip.compress(PLACE.encode()))
    assert {word for word, _ in search(tmp_path, EVERYWHERE)} == {NAME, PLACE}
    assert guessed(tmp_path, EVERYWHERE) == []
    (tmp_path / f"a_{hashlib.sha256(ID.encode()).hexdigest()[:12]}").touch()
    (tmp_path / "c").write_text(f"{{'id': '{hashlib.md5(FULL.encode()).hexdigest()}'}}")
    assert len(guessed(tmp_path, EVERYWHERE)) == 2


def test_no_name_is_a_digest_that_anybody_can_make(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    place.medssl("predict", model, "data/tcia", "-o", "out/named", "--format", "dicom-seg")
    ids = [f"P{number}" for number in range(6)]
    for folder in ("runs", "out", ".cache"):
        assert guessed(place.root / folder, (*EVERYWHERE, *ids)) == []


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
    given.medssl("plan", "tcia", "--device", "cpu", "--write")
    given.medssl("data", "list")
    assert [word for word in IN_HEADERS if word.lower() in given.said.lower()] == []
    assert search(other / ".cache", IN_HEADERS) == []
    written = other / "written"
    written.mkdir()
    for folder in ("data_specs", "pipelines"):
        (other / folder).rename(written / folder)
    assert search(written, EVERYWHERE) == []


def test_predictions_in_every_form_name_no_patient(place: Place) -> None:
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    for form in get_args(Format):
        place.medssl("predict", model, "data/tcia", "-o", f"out/{form}", "--format", form)
        assert search(place.root / "out" / form, EVERYWHERE) == []
    seg = next((place.root / "out" / "dicom-seg").glob("study_*[0-9a-f].dcm"))
    assert pydicom.dcmread(seg).PatientName == FULL  # as the standard wants
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
    place.medssl("export", "png", mask, "--out", "exported/mask.png.zip")
    place.medssl("export", "package", model, "--out", "exported/model.zip")
    assert search(place.root / "exported", EVERYWHERE) == []


def test_evaluations_comparisons_and_studies_name_no_patient(place: Place) -> None:
    (masks,) = (place.root / "runs" / "tcia").glob("predict-*")
    place.medssl("evaluate", masks, "--data", "tcia", "--out", "scored")
    place.medssl("train", "tcia")
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    place.medssl("info", model)
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


def test_why_a_study_failed_is_written_down_without_its_folders_and_files(place: Place) -> None:
    """A gap, a slice that was cut off, one without a place, one of another size, two at once."""
    (model,) = (place.root / "runs" / "tcia").glob("train-*")
    lost = place.root / "lost"
    for number in range(5):
        folder = write_study(lost / f"{PLACE}^{number}", number) / "t1"
        for file in list(folder.iterdir()):
            file.rename(folder / f"{PLACE}_{file.name}")
        folder = folder.rename(folder.with_name(f"{PLACE} T1"))
        files = sorted(folder.iterdir())
        header = pydicom.dcmread(files[4])
        if number == 0:
            files[4].unlink()
        elif number == 1:
            files[4].write_bytes(files[4].read_bytes()[:-90])
        elif number == 2:
            del header.ImagePositionPatient
            header.save_as(files[4])
        elif number == 3:
            header.PixelSpacing = [3, 3]
            header.save_as(files[4])
        else:
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            header.save_as(folder / f"{PLACE}_copy.dcm")
    said = place.medssl("predict", model, lost, "-o", "lost_out/studies", code=3)
    assert said.count("is left out") >= 4
    (place.root / "lost.txt").write_text("\n".join(map(str, [lost, *lost.iterdir()])))
    given = "--manifest", "lost.txt", "-o", "lost_out/list"
    place.medssl("predict", model, *given, code=3)
    lines = [f"{path / f'{PLACE} T1'}" for path in lost.iterdir()]
    (place.root / "lost.txt").write_text("\n".join(lines))
    place.medssl("predict", model, "--manifest", "lost.txt", "-o", "lost_out/series", code=3)
    failed = (place.root / "lost_out" / "series" / "failed.csv").read_text()
    assert failed.count("a file") >= 2
    assert search(place.root / "lost_out", EVERYWHERE) == []


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


def test_every_verb_is_searched() -> None:
    """Here, or in the file of the other families; those of no patient's data need not be."""
    here = Path(__file__)
    others = here.with_name("test_privacy_of_families.py"), here.parent / "serve/test_private.py"
    texts = "".join(file.read_text() for file in (here, *others))
    given = re.findall(r'\.medssl\(\s*"(\w+)"(?:,\s*"([\w-]+)")?', texts)
    tried = {verb for verb, _ in given} | {f"{verb} {more}" for verb, more in given}
    assert {verb for verb in verbs(get_command(app)) if verb not in tried} == {
        "demo", "keys", "methods", "data fetch", "serve",
    }  # fmt: skip
    assert "service = start(" in texts  # `serve`, in a thread


def verbs(command: Group) -> Iterator[str]:
    """What `medssl` can be followed by."""
    for name, one in command.commands.items():
        inner = verbs(one) if isinstance(one, Group) else ()
        yield from (f"{name} {further}" for further in inner) if inner else (name,)


def test_nothing_that_was_said_quotes_a_header(place: Place) -> None:
    """The last of this file: of all verbs together."""
    assert len(place.said) > 2000
    assert [word for word in IN_HEADERS if word.lower() in place.said.lower()] == []
