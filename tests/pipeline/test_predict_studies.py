"""Studies as a PACS exports them: the series that fits is predicted, the others are explained."""

import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from medssl.data.csv_table import read_table
from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.volume import read_geometry, read_mask
from medssl.errors import DataError, UsageError
from medssl.export.forms import FORMS
from medssl.families.segment.predict import predict_files
from medssl.pipeline.config import load_config
from medssl.pipeline.inputs import find_inputs
from medssl.settings import Format
from tests.dicom_series import write_series
from tests.told import Told

GRID = Geometry((12, 11, 10), np.diag([-1.0, -1.0, 1.2, 1.0]))


def write_study(folder: Path, *descriptions: str, **header: Any) -> Path:
    """A series for each description, named after what says nothing."""
    study = generate_uid()
    for number, description in enumerate(descriptions):
        values = np.random.default_rng(number).integers(0, 500, GRID.shape)
        told = {"StudyInstanceUID": study, "SeriesDescription": description, "SeriesNumber": number}
        write_series(folder / f"s{number}", GRID, values, **told, **header)
    return folder


def predict(checkpoint: Path, files: list[Path], out: Path, *settings: str) -> Told:
    told = Told()
    predict_files(checkpoint, files, out, settings, told, "cpu", keep_ids=True)
    return told


def test_the_series_that_fits_is_predicted_and_the_others_are_explained(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", "T2", "T1", "scout")
    told = predict(untrained_checkpoint, [study], tmp_path / "out")
    assert told.lines[0].endswith("has no guard: scans unlike those of training are not marked")
    assert told.lines[1:5] == [
        f"study is {study}:",
        "  series 0, T2, MR, 10 slices of 12 x 11, 1 x 1 x 1.2 mm: not taken, it shows T2, and the "
        "channel is T1",
        "  series 1, T1, MR, 10 slices of 12 x 11, 1 x 1 x 1.2 mm: taken as T1",
        "  series 2, scout, MR, 10 slices of 12 x 11, 1 x 1 x 1.2 mm: not taken, it is a localiser",
    ]
    assert read_geometry(tmp_path / "out" / "study.nii.gz").matches(GRID)
    table = read_table(tmp_path / "out" / "series.csv")
    assert [(row["series"], row["taken_as"], row["slices"]) for row in table] == [
        ("0", "", "10"), ("1", "T1", "10"), ("2", "", "10"),
    ]  # fmt: skip
    (row,) = read_table(tmp_path / "out" / "volumes.csv")
    assert float(row["ml"]) == pytest.approx(int(row["voxels"]) * 1.2 / 1000)


def test_a_series_may_lie_in_several_folders(untrained_checkpoint: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", "T1")
    (study / "s1").mkdir()
    for file in sorted((study / "s0").iterdir())[5:]:
        file.rename(study / "s1" / file.name)
    predict(untrained_checkpoint, [study], tmp_path / "out")
    assert read_geometry(tmp_path / "out" / "study.nii.gz").matches(GRID)


def test_one_bad_study_stops_no_other_and_the_same_command_does_what_is_missing(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    for name, descriptions in {"a": ("T1",), "b": ("T2", "FLAIR"), "c": ("T1", "T2")}.items():
        write_study(tmp_path / "in" / name, *descriptions)
    write_study(tmp_path / "in" / "d", "T1")
    (tmp_path / "in" / "d" / "s0" / "004.dcm").unlink()
    told, out = Told(), tmp_path / "out"
    sentence = r"2 of 4 cases have no mask: b, d_s0; the other 2 are in .*out; each is told above"
    with pytest.raises(DataError, match=sentence):
        predict_files(untrained_checkpoint, [tmp_path / "in"], out, (), told, "cpu", keep_ids=True)
    assert any(line.startswith("warning: b is left out: b has no series") for line in told.lines)
    assert any("lacks slices after slice 4 of 9" in line for line in told.lines)
    assert {row["case"] for row in read_table(out / "volumes.csv")} == {"a_s0", "c"}
    first = (out / "c.nii.gz").stat().st_mtime_ns
    write_study(tmp_path / "in" / "d", "T1")
    with pytest.raises(DataError, match="1 of 4 cases have no mask: b"):
        predict(untrained_checkpoint, [tmp_path / "in"], out)
    assert (out / "c.nii.gz").stat().st_mtime_ns == first
    assert {row["case"] for row in read_table(out / "volumes.csv")} == {"a_s0", "c", "d_s0"}
    assert {row["case"] for row in read_table(out / "series.csv")} == {"a_s0", "b", "c", "d_s0"}


def test_a_series_can_be_chosen_by_hand(untrained_checkpoint: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", "T1", "T1")
    with pytest.raises(DataError, match=r"2 series that may be .*--set series\.T1\.description="):
        predict(untrained_checkpoint, [study], tmp_path / "out")
    assert not (tmp_path / "out" / "study.nii.gz").exists()
    predict(untrained_checkpoint, [study], tmp_path / "out", "series.T1.number=1")
    table = read_table(tmp_path / "out" / "series.csv")
    assert [row["taken_as"] for row in table] == ["", "T1"]
    before = (tmp_path / "out" / "study.nii.gz").read_bytes()
    predict(untrained_checkpoint, [study], tmp_path / "out", "series.T1.number=0")
    assert (tmp_path / "out" / "study.nii.gz").read_bytes() != before


def test_nothing_that_is_written_or_said_names_the_patient(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    study = write_study(
        tmp_path / "study", "T1 of Doe", "T2 SECRET",
        AccessionNumber="ACC4711", PatientBirthDate="19561224",
    )  # fmt: skip
    told = predict(untrained_checkpoint, [study], tmp_path / "out")
    texts = [*told.lines, *(path.name for path in (tmp_path / "out").iterdir())]
    texts += [path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix != ".gz"]
    for word in ("Doe", "Jane", "SECRET", "ACC4711", "19561224"):
        assert not any(word.lower() in text.lower() for text in texts)


def test_a_study_is_named_by_a_key_and_the_terminal_says_which_it_is(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("MUELLER^HANS", "Huber Ada"):
        write_study(tmp_path / "in" / name, "T1", "T2")
    write_study(tmp_path / "in" / "Meier", "T1")
    told, out = Told(), tmp_path / "out"
    predict_files(untrained_checkpoint, [tmp_path / "in"], out, ["save=[labels]"], told, "cpu")
    masks = [path.name for path in out.glob("*.nii.gz")]
    assert len(masks) == 3
    assert all(re.fullmatch(r"study_[0-9a-f]{12}\.nii\.gz", name) for name in masks)
    lines = [line for line in told.lines if " is " in line and "MUELLER^HANS" in line]
    assert re.fullmatch(
        rf"study_\w+ is {re.escape(str(tmp_path / 'in' / 'MUELLER^HANS'))}:", *lines
    )
    for path in out.iterdir():
        text = path.name.encode() + path.read_bytes()
        assert not any(word in text for word in (b"MUELLER", b"Huber", b"Meier"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}
    predict_files(untrained_checkpoint, [tmp_path / "in"], out, ["save=[labels]"], told, "cpu")
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*.nii.gz")}


def test_a_folder_of_one_series_and_a_picture_in_dicom_are_named_by_keys_too(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    write_series(tmp_path / "MUELLER^HANS", GRID)
    told, out = Told(), tmp_path / "out"
    files = [tmp_path / "MUELLER^HANS"]
    (mask,) = predict_files(untrained_checkpoint, files, out, ["save=[labels]"], told, "cpu")
    assert re.fullmatch(r"study_[0-9a-f]{12}\.nii\.gz", mask.name)
    assert f"{mask.name[:18]} is {files[0]}" in told.lines
    names = find_inputs([files[0] / "000.dcm"], ["T1"])
    assert re.fullmatch(r"image_[0-9a-f]{12}", *names)
    assert list(find_inputs([files[0] / "000.dcm"], ["T1"], keep_ids=True)) == ["000"]


def test_another_key_gives_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path / "study", "T1", "T2")
    before = list(find_inputs([study], ["T1"]))
    assert before == list(find_inputs([study], ["T1"]))
    monkeypatch.setenv("MEDSSL_KEY", str(tmp_path / "key"))
    assert before != list(find_inputs([study], ["T1"]))
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["", "-fractional", "-labelmap"])
def test_a_study_is_answered_with_a_segmentation_on_the_series_that_was_taken(
    untrained_checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    study = write_study(tmp_path / "study", "T2", "T1")
    predict(untrained_checkpoint, [study], tmp_path / "out", f"format=dicom-seg{kind}")
    name = f"study{kind.replace('-', '_')}"
    found = highdicom.seg.segread(tmp_path / "out" / f"{name}.dcm")
    taken = [pydicom.dcmread(path) for path in sorted((study / "s1").iterdir())]
    (series,) = found.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == taken[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == {
        one.SOPInstanceUID for one in taken
    }
    assert found.PatientName == "Doe^Jane"
    predict(untrained_checkpoint, [study], tmp_path / "out")
    mask = read_mask(tmp_path / "out" / "study.nii.gz").array[0] == 3
    if kind != "-fractional":
        image = highdicom.get_volume_from_series(taken)
        seen = found.get_volume(combine_segments=True).match_geometry(image).array
        seen = seen if image.affine[2, 0] > 0 else seen[::-1]
        np.testing.assert_array_equal(seen.transpose(2, 1, 0) == 1, mask)
    report = highdicom.sr.srread(tmp_path / "out" / f"{name}_report.dcm")
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    (row,) = read_table(tmp_path / "out" / "volumes.csv")
    assert group.get_measurements()[0].value == pytest.approx(float(row["ml"]), rel=1e-5)


def test_every_form_that_is_named_can_be_written(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    assert set(FORMS) == set(get_args(Format))
    study = write_study(tmp_path / "study", "T1")
    for form in FORMS:
        predict(untrained_checkpoint, [study], tmp_path / "out", f"format={form}", "save=[labels]")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {
        "study.nii.gz", "study.nrrd", "study.mha", "study.png.zip", "study.tif", "study.dcm",
        "study_fractional.dcm", "study_labelmap.dcm", "study_rtstruct.dcm", "study_ball.stl",
        "study_ball.obj",
    }  # fmt: skip


def test_what_ohif_misreads_is_told_once_with_what_it_reads(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    studies = [write_study(tmp_path / name, "T1") for name in ("one", "two")]  # of 12 x 11 pixels
    given = untrained_checkpoint, studies, tmp_path / "out", "save=[labels]"
    (warning,) = [one for one in predict(*given, "format=dicom-seg").warned if "OHIF" in one]
    assert "--format dicom-seg-labelmap" in warning
    assert not [one for one in predict(*given, "format=dicom-seg-labelmap").warned if "OHIF" in one]


def test_a_study_as_png_has_a_picture_for_each_slice_in_the_order_of_the_series(
    untrained_checkpoint: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study", "T2", "T1")
    predict(untrained_checkpoint, [study], tmp_path / "out", "format=png", "save=[labels]")
    predict(untrained_checkpoint, [study], tmp_path / "out", "format=dicom-seg", "save=[labels]")
    mask = read_mask(tmp_path / "out" / "study.png.zip")
    series = find_series(study / "s1")
    assert mask.geometry.matches(series.geometry)
    found = highdicom.seg.segread(tmp_path / "out" / "study.dcm")
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in series.files]
    frames = found.get_pixels_by_source_instance(uids, combine_segments=True)
    with zipfile.ZipFile(tmp_path / "out" / "study.png.zip") as file:
        for index, frame in enumerate(frames, start=1):
            picture = np.asarray(Image.open(BytesIO(file.read(f"{index:04d}.png"))))
            np.testing.assert_array_equal(picture, 3 * frame)


def test_what_is_no_dicom_cannot_be_answered_with_dicom(
    untrained_checkpoint: Path, balls: Path
) -> None:
    image = balls / "data" / "balls" / "c0.nii.gz"
    with pytest.raises(UsageError, match=r"c0\.nii\.gz cannot be answered with --format dicom-seg"):
        predict(untrained_checkpoint, [image], balls / "out", "format=dicom-seg")
    assert not (balls / "out").exists()


def test_a_pipeline_writes_volumes(balls: Path) -> None:
    with pytest.raises(UsageError, match=r"predict\.format=dicom-seg cannot be the form"):
        load_config("balls", ["predict.format=dicom-seg"])
