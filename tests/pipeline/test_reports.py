"""Pages of predicted cases, and the page that leads to them."""

import re
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from medssl.cli import app
from medssl.data.geometry import Geometry
from medssl.evaluate.study_page import preview_of
from medssl.families.segment.cohort import PAGE
from medssl.families.segment.predict import predict_files
from medssl.infer import size_error
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.checkpoint import read_description
from tests.dicom_series import write_series

GRID = Geometry((12, 11, 10), np.diag([-1.0, -1.0, 1.2, 1.0]))
SECRET = {
    "PatientName": "Quimby^Zelda",
    "PatientID": "QX-7781",
    "PatientBirthDate": "19560708",
    "AccessionNumber": "ACC90210",
    "SeriesDescription": "T1 Quimby",
}


def test_each_case_has_a_page_and_one_leads_to_them_by_doubt(
    untrained_checkpoint: Path, balls: Path
) -> None:
    scans = [balls / "data" / "balls" / f"c{number}.nii.gz" for number in range(3)]
    out = balls / "out"
    given = ["predict", str(untrained_checkpoint), *map(str, scans), "-o", str(out), "--report"]
    done = CliRunner().invoke(app, [*given, "--device", "cpu", "-q"])
    assert done.exit_code == 0, done.output
    index = (out / PAGE).read_text()
    links = re.findall(r'href="(c\d_report\.html)"', index)
    assert sorted(links) == [f"c{number}_report.html" for number in range(3)]
    doubts = [float(one) for one in re.findall(r"doubt (\d\.\d+)", index)]
    assert doubts == sorted(doubts, reverse=True)
    assert index.count("data:image/png;base64") == 3
    for link in links:
        text = (out / link).read_text()
        for fact in ("ball", "simulated data", "has no guard", "Not a medical device", "CC0"):
            assert fact in text
        assert preview_of(out / link).startswith(b"\x89PNG")
    kept = {name: (out / name).stat().st_mtime_ns for name in links}
    (out / links[0]).unlink()
    again = CliRunner().invoke(app, [*given, "--device", "cpu", "-q"])
    assert again.exit_code == 0, again.output
    assert (out / links[0]).is_file()
    assert all((out / name).stat().st_mtime_ns == kept[name] for name in links[1:])


@pytest.mark.parametrize("form", ["dicom-seg", "stl", "nrrd"])
def test_pages_of_dicom_studies_know_nothing_of_the_patient_in_every_form(
    untrained_checkpoint: Path, tmp_path: Path, form: str
) -> None:
    values = np.random.default_rng(0).integers(0, 500, GRID.shape)
    for name in ("one", "two"):
        told = {**SECRET, "StudyInstanceUID": generate_uid()}
        write_series(tmp_path / "studies" / name, GRID, values, **told)
    keys = [f"format={form}", "report=true"]
    given = untrained_checkpoint, [tmp_path / "studies"], tmp_path / "out", keys
    predict_files(*given, QuietReporter(), "cpu")
    pages = sorted((tmp_path / "out").glob("*.html"))
    assert len(pages) == 3
    for page in pages:
        text = page.read_text().lower()
        for secret in ("quimby", "zelda", "qx-7781", "19560708", "acc90210", str(tmp_path)):
            assert secret.lower() not in text


def test_left_out_cases_give_intervals_and_the_card_says_how_the_model_was_tested(
    balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size_error, "LARGEST", 1e9)  # after a step models are wrong by far
    keys = ["split.folds=2", "split.labels=null", "split.validation=0", "split.test=0"]
    keys += ["split.final=ensemble", "train.steps=1"]
    model = run(load_config("balls", keys), QuietReporter())["model"]
    told = read_description(model).tested
    assert told.startswith("2-fold cross-validation, each of 8 cases answered by a model that had")
    scan = balls / "data" / "balls" / "c0.nii.gz"
    predict_files(model, [scan], balls / "out", ["report=true"], QuietReporter(), "cpu")
    text = (balls / "out" / "c0_report.html").read_text()
    assert "95 % interval, ml" in text
    assert "up to 8 cases that a cross-validation had left out" in text
    assert re.search(r"<td>[\d.e-]+ to [\d.e+]+</td>", text)
    other = ["report=true", "smallest_ml=0.5"]  # other corrections than the folds had
    predict_files(model, [scan], balls / "other", other, QuietReporter(), "cpu")
    text = (balls / "other" / "c0_report.html").read_text()
    assert "between 2 networks, ml" in text
    assert told.split(":")[0] in text
    assert "features" in text  # of the guard


def test_a_run_links_the_pages_of_cases_without_a_label(balls: Path, untrained: list[str]) -> None:
    for name in ("c6", "c7"):
        (balls / "data" / "balls" / f"{name}_seg.nii.gz").unlink()
    keys = ["predict.unlabelled=true", "predict.report=true"]
    done = run(load_config("balls", keys), QuietReporter())
    text = done["pictures"].read_text()
    assert "Correct from the top" in text
    for name in ("c6", "c7"):
        assert f'href="{name}_report.html"' in text
        assert (done["unlabelled"] / f"{name}_report.html").is_file()
