"""The folder of a study, given to predict: which series is taken, whatever its headers say."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.uid import generate_uid

from tests.dicom_series import write_series
from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.elements import odd_element
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import checkpoint

SHAPE = (10, 9, 8)
SERIES = ("T2", "T1", "scout")


def _make(place: Path) -> None:
    from medssl.data.geometry import Geometry

    checkpoint("balls", place)
    grid, study = Geometry(SHAPE, np.diag([-1.0, -1.0, 1.2, 1.0])), generate_uid()
    for number, name in enumerate(SERIES):
        values = np.random.default_rng(number).integers(0, 500, SHAPE)
        told = {"StudyInstanceUID": study, "SeriesDescription": name, "SeriesNumber": number}
        write_series(place / "study" / name, grid, values, **told)


def _damage(place: Path, rng: Generator) -> str:
    study = place / "study"
    folder = study / pick(rng, SERIES)
    files = sorted(folder.iterdir())
    how = pick(rng, ("all", "all", "all", "one", "one", "bytes", "heap", "gone", "twice", "junk"))
    words = ""
    if how == "all":
        state = rng.bit_generator.state
        for path in files:
            rng.bit_generator.state = state
            words = odd_element(path, rng)
    elif how in ("one", "bytes"):
        words = (odd_element if how == "one" else damage_bytes)(pick(rng, files), rng)
    elif how == "heap":  # all series in one folder
        for path in sorted(study.rglob("*.dcm")):
            path.rename(study / f"{path.parent.name}{path.name}")
    elif how == "gone":
        shutil.rmtree(folder)
    elif how == "twice":
        shutil.copytree(folder, study / "again")
    else:
        (folder / pick(rng, ("DICOMDIR", "a.dcm", "a.txt", "._0.dcm"))).write_bytes(b"words" * 40)
    return f"{folder.name}: {how} {words}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    def predict() -> None:
        medssl("predict", "checkpoint", "study", "-o", "out", "-q")
        _compare(place)

    yield "predict", predict


def _compare(place: Path) -> None:
    """The series that is taken says T1, or what it shows is not said; it has all its slices."""
    from medssl.data.csv_table import read_table

    rows = [row for row in read_table(place / "out" / "series.csv") if row["taken_as"]]
    if len(rows) != 1:
        raise Silent(f"{len(rows)} series taken of which one was wanted")
    headers = [pydicom.dcmread(path, force=True, stop_before_pixels=True)
               for path in sorted((place / "study").rglob("*.dcm")) if path.is_file()]  # fmt: skip
    texts = {str(one.get("SeriesDescription", "")) for one in headers
             if str(one.get("SeriesNumber")) == rows[0]["series"]}  # fmt: skip
    if texts & {"T2", "scout"} and "T1" not in texts:
        raise Silent(f"took series {rows[0]['series']}, {texts}, as T1")


FORMAT = Format("dicom_study", _make, _damage, _exercise)
