"""The service says and keeps nothing that names a patient, but for the DICOM files themselves."""

from pathlib import Path

import pydicom

from tests.serve.conftest import Start
from tests.test_privacy import EVERYWHERE, search, write_study


def test_log_jobs_metrics_and_journal_name_no_patient(start: Start, tmp_path: Path) -> None:
    service = start()
    files = sorted(write_study(tmp_path / "in", 0).rglob("*.dcm"))
    uids = {
        pydicom.dcmread(file, stop_before_pixels=True)[keyword].value
        for file in files
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    study = pydicom.dcmread(files[0]).StudyInstanceUID
    job = service.job(service.store(files))
    assert job["state"] in ("done", "failed")
    for path in (
        f"/dicomweb/studies/{study}/series",
        f"/dicomweb/studies/{study}",
        "/nowhere/Qvortrup",
    ):
        service.get(path)
    said = "\n".join(service.log)
    said += "".join(service.get(path).text for path in ("/jobs", f"/jobs/{job['id']}", "/metrics"))
    assert "/dicomweb/studies/{study}/series 200" in said
    assert [word for word in (*EVERYWHERE, *uids) if word.lower() in said.lower()] == []
    assert search(service.work, EVERYWHERE) == []
    names = [str(path) for path in service.work.rglob("*")]
    assert not any(uid in name for uid in uids for name in names)


def test_a_failure_inside_is_told_without_its_words(start: Start, tmp_path: Path) -> None:
    class Failing:
        def __init__(self, found: object) -> None:
            self.found = found

        def asking(self, _: list[str]) -> "Failing":
            return self

        def predict(self, *_: object, **__: object) -> None:
            raise ValueError("of Qvortrup")

    from types import SimpleNamespace

    data = SimpleNamespace(name="balls", title="Balls")
    service = start(Failing(SimpleNamespace(data=data, labels=())))
    job = service.job(service.store(sorted(write_study(tmp_path / "in", 0).rglob("*.dcm"))))
    assert job["state"] == "failed"
    assert job["why"].startswith("unexpected ValueError at ")
    assert "Qvortrup" not in "".join(service.log)
