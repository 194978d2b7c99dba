"""A model of two sequences, whose series have grids of their own: refused, or resampled."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from medssl.data.check import check
from medssl.data.geometry import Geometry
from medssl.data.spec import load_spec
from medssl.data.volume import read_geometry, write_mask, write_volume
from medssl.errors import DataError
from medssl.families.segment.predict import predict_files
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import train
from medssl.train.checkpoint import load_checkpoint
from tests.dicom_series import write_series
from tests.told import Told

FINE = Geometry((12, 12, 12), np.diag([-1.0, -1.0, 1.0, 1.0]))
COARSE = FINE.reshaped((6, 8, 4))

SPEC = """
title: Balls
modality: MR
channels: [t1, flair]
labels: [{value: 1, name: ball}]
root: balls
layout: {kind: glob, images: {t1: "{case}_t1.nii.gz", flair: "{case}_fl.nii.gz"},
         label: "{case}_seg.nii.gz"}
licence: CC0
citation: none
"""


@pytest.fixture
def data(balls: Path) -> Path:
    """Cases whose second channel is coarse."""
    draw, folder = np.random.default_rng(0), balls / "data" / "balls"
    for path in folder.iterdir():
        path.unlink()
    for number in range(6):
        mask = (((np.indices(FINE.shape) - draw.uniform(4, 8, (3, 1, 1, 1))) ** 2).sum(0) < 9) * 1
        for name, grid in (("t1", FINE), ("fl", COARSE)):
            image = draw.normal(size=grid.shape).astype(np.float32)
            write_volume(image, grid, folder / f"c{number}_{name}.nii.gz")
        write_mask(mask, FINE, folder / f"c{number}_seg.nii.gz")
    (balls / "data_specs" / "balls.yaml").write_text(SPEC)
    return balls


def study(folder: Path, frame: str | None = None) -> Path:
    """A T1 and a coarse FLAIR of one patient as DICOM."""
    uid, place = generate_uid(), generate_uid()
    for number, (name, grid) in enumerate({"T1": FINE, "FLAIR": COARSE}.items()):
        values = np.random.default_rng(number).integers(0, 500, grid.shape)
        told = {"StudyInstanceUID": uid, "SeriesDescription": name, "SeriesNumber": number,
                "FrameOfReferenceUID": frame if frame and number else place}  # fmt: skip
        write_series(folder / name, grid, values, **told)
    return folder


def predict(model: Path, files: list[Path], out: Path, *settings: str) -> Told:
    told = Told()
    predict_files(model, files, out, settings, told, "cpu", keep_ids=True)
    return told


def test_series_on_other_grids_are_refused_and_the_option_is_named(
    data: Path, tmp_path: Path
) -> None:
    spec = (data / "data_specs" / "balls.yaml").read_text()
    assert {verdict.rule for verdict in check(load_spec("balls"))} == {"geometry"}
    with pytest.raises(DataError, match="resample_channels: true"):
        train(load_config("balls", ["split.validation=0", "split.test=2"]), QuietReporter())
    (data / "data_specs" / "balls.yaml").write_text(spec + "resample_channels: true\n")
    assert not check(load_spec("balls"))


def test_a_model_that_learnt_from_such_cases_predicts_such_studies(
    data: Path, tmp_path: Path
) -> None:
    with (data / "data_specs" / "balls.yaml").open("a") as file:
        file.write("resample_channels: true\n")
    folder = train(
        load_config("balls", ["split.validation=0", "split.test=2", "train.steps=1"]),
        QuietReporter(),
    )["model"]
    assert load_checkpoint(folder)[1].resample_channels
    told = predict(folder, [study(tmp_path / "in")], tmp_path / "out", "report=true")
    assert read_geometry(tmp_path / "out" / "in.nii.gz").matches(FINE)
    remark = "channel 2 was resampled to the grid of the first"
    assert f"in: {remark}" in told.warned
    assert f"C{remark[1:]}." in (tmp_path / "out" / "in_report.html").read_text()
    with pytest.raises(DataError, match="their frames of reference differ"):
        predict(folder, [study(tmp_path / "apart", generate_uid())], tmp_path / "out2")


def test_a_model_that_did_not_is_told_to_by_the_user(data: Path, tmp_path: Path) -> None:
    from tests.pipeline.conftest import write_untrained

    model = write_untrained(load_config("balls"), data / "trained") / "last"
    with pytest.raises(DataError, match=r"channel 2 of in .* --set resample_channels=true"):
        predict(model, [study(tmp_path / "in")], tmp_path / "out")
    predict(model, [tmp_path / "in"], tmp_path / "out", "resample_channels=true")
    assert read_geometry(tmp_path / "out" / "in.nii.gz").matches(FINE)
    files = tmp_path / "case"
    files.mkdir()
    for name, there in (("t1", "c0_t1"), ("flair", "c0_fl")):
        (files / f"{name}.nii.gz").symlink_to(data / "data" / "balls" / f"{there}.nii.gz")
    predict(model, [files], tmp_path / "out3", "resample_channels=true")
    assert read_geometry(tmp_path / "out3" / "case.nii.gz").matches(FINE)
