"""What was accepted is never lost and never answered twice, whenever the service is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.uid import generate_uid

from medssl.errors import MedsslError, UsageError
from medssl.serve.instances import Instance
from medssl.serve.job import Job, images_of, read_job, results_folder, write_job
from medssl.serve.journal import MOST_ATTEMPTS, Conflict, Journal, QueueFull
from tests.serve.conftest import Running, Start, study_files


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return opened(tmp_path)


def opened(root: Path, queue: int = 10, settle_s: float = 0, keep_h: float = 1) -> Journal:
    return Journal(root / "work", queue, settle_s, keep_h)


def again(journal: Journal, root: Path) -> Journal:
    """The same folder in a service that starts after the first was killed."""
    journal.close()
    return opened(root)


def image(journal: Journal, study: str = "1.2", uid: str = "1.2.3", text: bytes = b"x") -> Instance:
    path = journal.place("incoming") / "0"
    path.write_bytes(text)
    return Instance(path, study, "1.9", uid, "1.5", "patient")


def test_what_is_accepted_is_there_after_a_restart(journal: Journal, tmp_path: Path) -> None:
    job = journal.accept([image(journal), image(journal, uid="1.2.4")])
    (found,) = again(journal, tmp_path).jobs()
    assert (found.id, found.state) == (job.id, "waiting")
    assert len(list(images_of(tmp_path / "work" / "studies" / job.id))) == 2


def test_what_was_not_accepted_is_removed(journal: Journal, tmp_path: Path) -> None:
    image(journal)
    half = tmp_path / "work" / "studies" / "half"
    half.mkdir(parents=True)
    (half / "job.json").write_text("{}")
    assert again(journal, tmp_path).jobs() == []
    assert not half.exists()
    assert list((tmp_path / "work" / "incoming").iterdir()) == []


def test_a_study_that_was_running_waits_again_and_one_that_was_done_does_not(
    journal: Journal, tmp_path: Path
) -> None:
    journal.accept([image(journal, "1.2")])
    first = journal.begin()
    assert first is not None
    journal.end(replace(first, state="done"), read_digest(journal, first))
    journal.accept([image(journal, "1.3")])
    second = journal.begin()
    assert second is not None
    assert {job.id: job.state for job in again(journal, tmp_path).jobs()} == {
        first.id: "done", second.id: "waiting",
    }  # fmt: skip


def read_digest(journal: Journal, job: Job) -> str:
    from medssl.serve.job import digest_of

    return digest_of(journal.folder(job.id))


def test_images_that_come_while_a_study_is_worked_on_have_it_done_again(journal: Journal) -> None:
    journal.accept([image(journal)])
    job = journal.begin()
    assert job is not None
    before = read_digest(journal, job)
    journal.accept([image(journal, uid="1.2.4")])
    journal.end(replace(job, state="done"), before)
    again = journal.begin()
    assert again is not None
    journal.end(replace(again, state="done"), read_digest(journal, again))
    assert journal.begin() is None


def test_a_damaged_record_loses_no_study(journal: Journal, tmp_path: Path) -> None:
    job = journal.accept([image(journal)])
    (journal.folder(job.id) / "job.json").write_bytes(b"\0\0")
    (found,) = again(journal, tmp_path).jobs()
    assert (found.id, found.state) == (job.id, "waiting")


def test_a_study_that_ends_the_service_again_and_again_is_given_up(
    journal: Journal, tmp_path: Path
) -> None:
    job = journal.accept([image(journal)])
    for _ in range(MOST_ATTEMPTS):
        assert journal.begin() is not None
        journal = again(journal, tmp_path)
    assert journal.begin() is None
    found = journal.find(job.id)
    assert found is not None
    assert (found.state, found.why) == (
        "failed", "the service ended 5 times while it worked on the study",
    )  # fmt: skip


def test_a_queue_has_an_end(tmp_path: Path) -> None:
    journal = opened(tmp_path, queue=2)
    for study in ("1.1", "1.2"):
        journal.accept([image(journal, study)])
    with pytest.raises(QueueFull):
        journal.accept([image(journal, "1.3")])
    journal.accept([image(journal, "1.2", "1.2.4")])  # of a study that waits anyway
    with pytest.raises(Conflict):
        journal.accept([image(journal, "1.2", "1.2.4", b"other")])


def test_studies_are_removed_when_they_have_aged(tmp_path: Path) -> None:
    journal = opened(tmp_path, keep_h=0.0)
    job = journal.accept([image(journal)])
    journal.remove_aged()
    assert journal.find(job.id) is not None  # it waits
    running = journal.begin()
    assert running is not None
    assert not journal.remove(running)
    journal.end(replace(running, state="done"), read_digest(journal, running))
    time.sleep(0.01)
    journal.remove_aged()
    assert journal.jobs() == []
    assert list((tmp_path / "work" / "studies").iterdir()) == []


def test_a_folder_has_one_service(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belongs to a service that runs"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_only_the_owner_looks_into_the_folder(journal: Journal, tmp_path: Path) -> None:
    assert (tmp_path / "work").stat().st_mode & 0o077 == 0
    assert (tmp_path / "work" / "key").stat().st_mode & 0o077 == 0


def test_ids_do_not_follow_from_the_study_alone(journal: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other", 1, 0, 1)
    assert journal.id_of("1.2") != other.id_of("1.2")
    assert again(journal, tmp_path).id_of("1.2") == journal.id_of("1.2")


def test_a_client_removes_a_study(start: Start, tmp_path: Path) -> None:
    service = start()
    job = service.job(service.store(study_files(tmp_path / "in", "T1")))
    assert requests.delete(f"{service.url}/jobs/{job['id']}", timeout=30).status_code == 200
    assert service.get(f"/jobs/{job['id']}").status_code == 404
    assert list((service.work / "studies").iterdir()) == []


class Process:
    """`medssl serve` as a user starts it."""

    def __init__(self, checkpoint: Path, work: Path, log: Path) -> None:
        self._log = log
        options = ["--port", "0", "--work", str(work), "--settle", "0", "--device", "cpu"]
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "medssl", "serve", str(checkpoint), *options], stderr=stream
            )

    def url(self) -> str:
        for _ in range(2400):
            for line in self._log.read_text().splitlines():
                if " at http" in line:
                    return line.partition(" at ")[2].partition(",")[0]
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        raise TimeoutError

    def end(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        return self.process.wait(30)


def wait_over(url: str, count: int) -> list[dict[str, object]]:
    for _ in range(2400):
        jobs: list[dict[str, object]] = requests.get(f"{url}/jobs", timeout=30).json()
        if len(jobs) == count and all(job["state"] in ("done", "failed") for job in jobs):
            return jobs
        time.sleep(0.05)
    raise TimeoutError


def test_killed_in_the_middle_and_started_again_it_answers_each_study_once(
    untrained_checkpoint: Path, start: Start, tmp_path: Path
) -> None:
    work, log = tmp_path / "work", tmp_path / "log"
    studies = [study_files(tmp_path / str(number), "T1") for number in range(5)]
    server = Process(untrained_checkpoint, work, log)
    url = server.url()
    sender = Running.__new__(Running)
    sender.url = url
    for files in studies:
        assert sender.store(files).status_code == 200
    while not [job for job in requests.get(f"{url}/jobs", timeout=30).json() if job["ended"]]:
        time.sleep(0.02)
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    left = [job for path in (work / "studies").iterdir() if (job := read_job(path)) is not None]
    assert {job.state for job in left} == {"done", "waiting"}
    done = {
        path: path.read_bytes()
        for job in left
        if job.state == "done"
        for path in results_folder(work / "studies" / job.id, job.images).glob("*.dcm")
    }
    jobs = wait_over(start(work=work).url, len(studies))
    assert {job["state"] for job in jobs} == {"done"}
    segs = [path for path in work.rglob("*.dcm") if "results" in path.parts]
    assert len(segs) == 2 * len(studies)  # a segmentation and a report each
    assert all(path.read_bytes() == before for path, before in done.items())
    referred = {pydicom.dcmread(path).StudyInstanceUID for path in segs}
    assert referred == {pydicom.dcmread(files[0]).StudyInstanceUID for files in studies}


def test_uids_are_what_the_standard_lets_them_be() -> None:
    from medssl.serve.instances import is_uid

    assert is_uid(generate_uid())
    for text in ("", "..", "1.2/3", "1..2", "1" * 65, "1.2\n", "a.b", "1.2."):
        assert not is_uid(text)


def test_a_disk_that_was_full_for_a_while_ends_no_service(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    full.set()

    def write(folder: Path, job: Job) -> None:
        if full.is_set() and job.state == "done":
            raise MedsslError("job.json cannot be written", "no space left on device", "")
        write_job(folder, job)

    monkeypatch.setattr("medssl.serve.journal.write_job", write)
    monkeypatch.setattr("medssl.serve.worker.PAUSE_S", 0.05)
    service = start()
    answer = service.store(study_files(tmp_path / "in", "T1"))
    line = "the journal cannot be kept: no space left on device; it is tried again"
    for _ in range(600):
        if sum(line in one for one in service.log) > MOST_ATTEMPTS:
            break
        time.sleep(0.05)
    assert service.get("/health").status_code == 200
    full.clear()
    job = service.job(answer)
    assert (job["state"], job["attempts"]) == ("done", 1)
