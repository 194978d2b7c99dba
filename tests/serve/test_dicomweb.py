"""Studies come in by STOW-RS, are segmented once, and results go out by QIDO-RS and WADO-RS."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import generate_uid

from tests.serve.conftest import Start, study_files


def test_an_independent_client_sends_a_study_and_gets_its_segmentation(
    start: Start, tmp_path: Path
) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1", "T2")
    sent = [pydicom.dcmread(file) for file in files]
    study = sent[0].StudyInstanceUID
    client = DICOMwebClient(f"{service.url}/dicomweb")
    told = client.store_instances(sent, study)
    assert {one.ReferencedSOPInstanceUID for one in told.ReferencedSOPSequence} == {
        one.SOPInstanceUID for one in sent
    }
    (job,) = service.get("/jobs").json()
    assert service.job(service.store(files))["state"] == "done"
    series = [pydicom.Dataset.from_json(one) for one in client.search_for_series(study)]
    assert {one.Modality for one in series} == {"SEG", "SR"}
    (seg,) = (one for one in series if one.Modality == "SEG")
    (found,) = client.retrieve_series(study, seg.SeriesInstanceUID)
    assert found.SOPClassUID.name == "Segmentation Storage"
    assert found.PatientName == "Doe^Jane"
    (referred,) = found.ReferencedSeriesSequence
    taken = {one.SeriesInstanceUID for one in sent if one.SeriesDescription == "T1"}
    assert {referred.SeriesInstanceUID} == taken
    (row,) = client.search_for_instances(study, seg.SeriesInstanceUID)
    uid = pydicom.Dataset.from_json(row).SOPInstanceUID
    one = client.retrieve_instance(study, seg.SeriesInstanceUID, uid)
    assert one == found
    (only,) = client.search_for_series(study, search_filters={"Modality": "SR"})
    assert pydicom.Dataset.from_json(only).Modality == "SR"
    path = f"/dicomweb/studies/{study}/series/{seg.SeriesInstanceUID}"
    plain = service.get(path, headers={"Accept": "application/dicom"})
    assert pydicom.dcmread(BytesIO(plain.content)) == found
    assert job["id"] in plain.request.url or study not in str(service.get("/jobs").json())


def test_prometheus_reads_the_metrics(start: Start, tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    service, files = start(), study_files(tmp_path / "in", "T1")
    service.job(service.store(files))
    service.get("/nowhere")
    answer = service.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = {one.name: one for one in text_string_to_metric_families(answer.text)}
    studies = {one.labels["state"]: one.value for one in found["medssl_studies"].samples}
    assert studies == {"waiting": 0, "running": 0, "done": 1, "failed": 0}
    (images,) = (one.value for one in found["medssl_images_received"].samples
                 if one.name.endswith("_total"))  # fmt: skip
    assert images == len(files)
    counts = {(one.labels["method"], one.labels["route"], one.labels["status"]): one.value
              for one in found["medssl_request_seconds"].samples
              if one.name.endswith("_count")}  # fmt: skip
    assert counts["POST", "/dicomweb/studies", "200"] == 1
    assert [value for (_, _, status), value in counts.items() if status == "404"] == [1]
    (done,) = (one.value for one in found["medssl_study_seconds"].samples
               if one.name.endswith("_count") and one.labels["outcome"] == "done")  # fmt: skip
    assert done == 1


def test_the_mask_is_that_of_the_command_line(
    start: Start, tmp_path: Path, untrained_checkpoint: Path
) -> None:
    import highdicom

    from medssl.families.segment.predict import predict_files
    from medssl.pipeline.progress import QuietReporter

    service, files = start(), study_files(tmp_path / "in", "T1")
    service.job(service.store(files))
    study = pydicom.dcmread(files[0]).StudyInstanceUID
    client = DICOMwebClient(f"{service.url}/dicomweb")
    given = QuietReporter(), "cpu"
    predict_files(
        untrained_checkpoint, [tmp_path / "in"], tmp_path / "out", ["format=dicom-seg"], *given
    )
    by_hand = highdicom.seg.segread(next((tmp_path / "out").glob("*[!t].dcm")))
    (found,) = (one for one in client.retrieve_study(study) if one.Modality == "SEG")
    served = highdicom.seg.Segmentation.from_dataset(found)
    np.testing.assert_array_equal(served.pixel_array, by_hand.pixel_array)


def test_images_that_come_twice_are_one_study_and_one_result(start: Start, tmp_path: Path) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1")
    first = service.job(service.store(files))
    again = service.job(service.store(files[:4]))
    assert again == first
    assert len(service.get("/jobs").json()) == 1


def test_a_study_in_several_requests_is_answered_when_it_is_whole(
    start: Start, tmp_path: Path
) -> None:
    service, files = start(settle_s=0.6), study_files(tmp_path / "in", "T1")
    answers = [service.store(files[:3]), service.store(files[3:7]), service.store(files[7:])]
    assert service.get("/jobs").json()[0]["state"] == "waiting"
    job = service.job(answers[-1])
    assert (job["state"], job["why"], job["attempts"]) == ("done", "", 1)


def test_further_images_of_a_study_that_was_answered_replace_its_result(
    start: Start, tmp_path: Path
) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1", "T2")
    study = pydicom.dcmread(files[0]).StudyInstanceUID
    assert service.job(service.store(files[10:]))["state"] == "failed"  # T2 alone
    assert service.get(f"/dicomweb/studies/{study}/series").json() == []
    assert service.job(service.store(files[:10]))["state"] == "done"
    assert len(service.get(f"/dicomweb/studies/{study}/series").json()) == 2


def test_studies_of_two_patients_in_one_request_stay_apart(start: Start, tmp_path: Path) -> None:
    service = start()
    files = study_files(tmp_path / "a", "T1")
    files += study_files(tmp_path / "b", "T1", PatientName="Roe^Richard", PatientID="OTHER")
    answer = service.store(files)
    assert answer.status_code == 200
    assert answer.headers["Link"].count("monitor") == 2
    for name, file in (("Doe^Jane", files[0]), ("Roe^Richard", files[-1])):
        study = pydicom.dcmread(file).StudyInstanceUID
        job = service.job(service.store([file]))
        assert job["state"] == "done"
        found = DICOMwebClient(f"{service.url}/dicomweb").retrieve_study(study)
        assert {str(one.PatientName) for one in found} == {name}


def test_a_study_of_two_patients_is_refused_whole(start: Start, tmp_path: Path) -> None:
    service, study = start(), generate_uid()
    files = study_files(tmp_path / "a", "T1", StudyInstanceUID=study)
    files += study_files(tmp_path / "b", "T2", StudyInstanceUID=study, PatientID="OTHER")
    answer = service.store(files)
    assert answer.status_code == 409
    told = pydicom.Dataset.from_json(answer.json())
    assert {one.FailureReason for one in told.FailedSOPSequence} == {0x0110}
    assert len(told.FailedSOPSequence) == 20
    assert service.get("/jobs").json() == []
    assert service.store(files[:10]).status_code == 200
    assert service.store(files[10:]).status_code == 409  # also when the other patient comes later


def test_another_image_of_the_same_name_is_refused(start: Start, tmp_path: Path) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1")
    service.job(service.store(files))
    changed = pydicom.dcmread(files[0])
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(files[0])
    assert service.store(files[:1]).status_code == 409


def test_parts_that_are_no_dicom_are_told_and_the_others_are_taken(
    start: Start, tmp_path: Path
) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1")
    parts = [(file.read_bytes(), "application/dicom") for file in files]
    parts += [(b"hello", "application/dicom"), (b"\0" * 500, ""), (b"{}", "application/json")]
    answer = service.post_parts(parts)
    assert answer.status_code == 202
    assert answer.headers["Warning"] == '299 medssl "3 parts are no DICOM that can be read"'
    assert service.job(answer)["state"] == "done"
    alone = service.post_parts([(b"hello", "application/dicom")])
    assert (alone.status_code, alone.json()) == (409, {})


def test_the_study_of_the_address_must_be_that_of_the_images(start: Start, tmp_path: Path) -> None:
    service, files = start(), study_files(tmp_path / "in", "T1")
    assert service.store(files, f"/{generate_uid()}").status_code == 409
    assert service.store(files, "/1.2/x").status_code in (404, 405)
    assert service.store(files, "/..%2f..").status_code in (400, 404, 405)
    assert service.get("/jobs").json() == []


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies/1.2.3/series",
        "/dicomweb/studies/..%2F..%2Fkey/series",
        "/dicomweb/studies/%2e%2e",
        "/dicomweb/studies/1.2.3/series/../../key",
        "/jobs/..%2Fkey",
        "/jobs/%2e%2e%2fstudies",
        "/jobs/" + "a" * 5000,
    ],
)
def test_what_is_not_known_is_not_found_whatever_it_is_called(start: Start, path: str) -> None:
    answer = start().get(path)
    assert answer.status_code == 404
    assert "key" not in answer.text


def test_a_study_that_cannot_be_segmented_says_why_and_stops_no_other(
    start: Start, tmp_path: Path
) -> None:
    service = start()
    bad = service.job(service.store(study_files(tmp_path / "bad", "T2")))
    assert bad["state"] == "failed"
    assert bad["why"].startswith("study has no series that fits") or "no series" in bad["why"]
    assert str(service.work) not in bad["why"]
    assert service.job(service.store(study_files(tmp_path / "good", "T1")))["state"] == "done"
