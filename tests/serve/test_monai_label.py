"""3D Slicer and OHIF ask for a mask as they ask MONAI Label."""

import json
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK

from medssl.data.volume import read_geometry, read_mask
from medssl.families.segment.predict import predict_files
from medssl.pipeline.progress import QuietReporter
from tests.serve.conftest import GRID, Running, Start, study_files


def infer(service: Running, query: str, params: Any = None, **files: Path) -> requests.Response:
    opened = {name: (file.name, file.read_bytes()) for name, file in files.items()}
    fields = {"params": (None, json.dumps(params or {}))}
    url = f"{service.url}/infer/balls{query}"
    return requests.post(url, files={**fields, **opened}, timeout=30)


@pytest.fixture
def image(balls: Path) -> Path:
    return balls / "data" / "balls" / "c0.nii.gz"


@pytest.fixture
def truth(balls: Path, image: Path, untrained_checkpoint: Path) -> np.ndarray:
    (mask,) = predict_files(untrained_checkpoint, [image], balls / "by_hand", [], QuietReporter())
    return read_mask(mask).array[0]


def test_the_model_tells_what_it_is(start: Start) -> None:
    info = start().get("/info/").json()
    assert info["models"]["balls"]["labels"] == {"ball": 3}
    assert info["models"]["balls"]["type"] == "segmentation"


def test_a_file_is_answered_with_its_mask_on_its_own_grid(
    start: Start, image: Path, truth: np.ndarray, tmp_path: Path
) -> None:
    service = start()
    answer = infer(service, "?output=image", file=image)
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    assert read_geometry(tmp_path / "mask.nii.gz").matches(read_geometry(image))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz").array[0], truth)
    params = infer(service, "?output=json", file=image).json()
    assert params["label_names"] == {"ball": 3}
    assert params["volumes_ml"]["ball"] == pytest.approx((truth == 3).sum() * 2 / 1000)
    assert list((service.work / "asked").iterdir()) == []


def test_slicer_opens_a_session_and_gets_mask_and_params(
    start: Start, image: Path, truth: np.ndarray, tmp_path: Path
) -> None:
    service = start()
    files = [("files", ("MUELLER^HANS.nii.gz", image.read_bytes()))]
    opened = requests.put(
        f"{service.url}/session/", files=files, data={"client_id": "x"}, timeout=30
    )
    session = opened.json()["session_id"]
    assert service.get(f"/session/{session}").status_code == 200
    answer = infer(service, f"?image=MUELLER&session_id={session}", {"result_extension": ".nrrd"})
    kind = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    told, mask = message_from_bytes(kind + answer.content).get_payload()
    assert json.loads(told.get_payload())["label_names"] == {"ball": 3}
    assert mask.get_filename() == "mask.nrrd"
    (tmp_path / "mask.nrrd").write_bytes(answer.content.split(b"\r\n\r\n")[2].rsplit(b"\r\n", 2)[0])
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nrrd").array[0], truth)
    assert not [path for path in service.work.rglob("*") if "MUELLER" in path.name]
    assert requests.delete(f"{service.url}/session/{session}", timeout=30).status_code == 200
    assert service.get(f"/session/{session}").status_code == 404


def test_ohif_names_a_series_that_was_sent_and_reads_plain_nrrd(
    start: Start, tmp_path: Path
) -> None:
    service, files = start(), study_files(tmp_path / "in", "T2")  # which the model was not made for
    service.job(service.store(files))
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    wanted = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
    answer = infer(service, f"?image={series}&output=image", wanted)
    assert b"\nencoding: raw" in answer.content[:500]
    (tmp_path / "mask.nrrd").write_bytes(answer.content)
    found = SimpleITK.ReadImage(str(tmp_path / "mask.nrrd"))
    assert found.GetPixelIDTypeAsString() == "16-bit unsigned integer"
    assert read_geometry(tmp_path / "mask.nrrd").matches(GRID)
    seg = infer(service, f"?image={series}&output=dicom_seg")
    assert seg.headers["Content-Type"] == "application/dicom"
    (tmp_path / "seg.dcm").write_bytes(seg.content)
    found = pydicom.dcmread(tmp_path / "seg.dcm")
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == series


def test_dicom_files_are_an_image_too(start: Start, tmp_path: Path) -> None:
    files = study_files(tmp_path / "in", "T1")
    service = start()
    sent = [("files", (file.name, file.read_bytes())) for file in files]
    session = requests.put(f"{service.url}/session/", files=sent, timeout=30).json()["session_id"]
    answer = infer(service, f"?session_id={session}&output=dicom_seg")
    assert answer.status_code == 200
    assert answer.content[128:132] == b"DICM"


@pytest.mark.parametrize(
    ("query", "params", "status", "why"),
    [
        ("?output=picture", {}, 400, "output is none of"),
        ("", {"result_extension": ".exe"}, 400, "result_extension is none of"),
        ("", [1], 400, "params are no JSON object"),
        ("?image=../../key", {}, 404, "no SeriesInstanceUID of a study that was sent"),
        ("?image=1.2.3", {}, 404, "no SeriesInstanceUID of a study that was sent"),
        ("?session_id=../../key", {}, 404, "session is not known"),
        ("", {}, 400, "the request has no image"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    start: Start, query: str, params: Any, status: int, why: str
) -> None:
    answer = infer(start(), query, params)
    assert answer.status_code == status
    assert why in answer.json()["detail"]


def test_files_that_are_no_image_are_refused(start: Start, tmp_path: Path) -> None:
    service = start()
    (tmp_path / "x.nii.gz").write_bytes(b"no image")
    (tmp_path / "x.txt").write_bytes(b"no image")
    damaged = infer(service, "", file=tmp_path / "x.nii.gz")
    assert damaged.status_code == 422
    assert str(service.work) not in damaged.text
    assert infer(service, "", file=tmp_path / "x.txt").status_code == 400
    dicom_seg = infer(service, "?output=dicom_seg", file=tmp_path / "x.nii.gz")
    assert dicom_seg.status_code == 422
    assert requests.post(f"{service.url}/infer/other", files={}, timeout=30).status_code == 404
