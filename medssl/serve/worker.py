"""The one thread that has the model: it works through the journal, and answers who waits for it."""

import queue
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from medssl.discreet import unexpected
from medssl.errors import MedsslError
from medssl.pipeline.progress import QuietReporter
from medssl.serve.job import IMAGES, RESULTS, Job, digest_of, results_folder
from medssl.serve.journal import Journal

FORM = "dicom-seg"
PAUSE_S = 10.0
"""After the journal could not be written to."""


class Asks(Protocol):
    """A model that may be asked in other ways; see `medssl.families.segment.model.Model`."""

    found: Any

    def asking(self, overrides: list[str]) -> "Asks":
        """The same with other keys of `predict`."""

    def predict(
        self,
        files: list[Path],
        out: Path,
        reporter: QuietReporter,
        overwrite: bool = False,
        statistics: Path | None = None,
    ) -> list[Path]:
        """The masks of files, in `out`."""


class Warnings(QuietReporter):
    """Keeps what may be wrong, for the client; what is noted beside it, nobody reads."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warn(self, text: str) -> None:
        """One sentence on what may be wrong."""
        self.told.append(text)


class Busy(Exception):
    """As many requests wait for the model as may."""


class Worker:
    """Runs the model for the journal and for requests, one after the other; requests go first.

    Where the journal cannot be written to, as on a full disk, it waits and tries again.

    Args:
        tell: takes a line for the log.
        ended: takes a study that has ended.
    """

    def __init__(
        self,
        journal: Journal,
        model: Asks,
        most: int,
        tell: Callable[[str], None],
        ended: Callable[[Job], None],
    ) -> None:
        self._journal, self._model, self._tell, self._ended = journal, model, tell, ended
        self._asked: queue.Queue[tuple[Callable[[Asks], Any], Future[Any]]] = queue.Queue(most)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="medssl-worker", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the study that is being worked on; the others wait in the journal."""
        with self._journal.changed:
            self._stopping = True
            self._journal.changed.notify_all()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def ask(self, work: Callable[[Asks], Any]) -> "Future[Any]":
        """Have the model do something soon.

        Raises:
            Busy: too much waits for it.
        """
        answer: Future[Any] = Future()
        try:
            self._asked.put_nowait((work, answer))
        except queue.Full:
            raise Busy from None
        with self._journal.changed:
            self._journal.changed.notify_all()
        return answer

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except Exception as error:  # the journal cannot be written to, as on a full disk
                why = (isinstance(error, MedsslError) and error.why) or unexpected(error)
                self._tell(f"the journal cannot be kept: {why}; it is tried again")
                self._journal.put_back()
                self._pause(PAUSE_S)

    def _step(self) -> None:
        """Answer a request or work on a study; where there is none, wait for one."""
        if self._answer():
            return
        self._journal.remove_aged()
        job = self._journal.begin()
        if job is not None:
            self._work_on(job)
        else:
            self._pause(self._journal.next_due())

    def _pause(self, seconds: float) -> None:
        with self._journal.changed:
            if not self._stopping and self._asked.empty():
                self._journal.changed.wait(seconds)

    def _answer(self) -> bool:
        """Answer one request, if there is one."""
        try:
            work, answer = self._asked.get_nowait()
        except queue.Empty:
            return False
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(work(self._model))
            except Exception as error:
                answer.set_exception(error)
        return True

    def _work_on(self, job: Job) -> None:
        """A study from its images to its result; whatever goes wrong ends it alone."""
        folder, began, said = self._journal.folder(job.id), time.perf_counter(), Warnings()
        images = digest_of(folder)
        try:
            self._predict(folder, images, said)
            job = job.changed(state="done")
        except MedsslError as error:
            job = job.changed(state="failed", why=plain(error, folder))
        except Exception as error:
            job = job.changed(state="failed", why=unexpected(error))
        warnings = tuple(said.told)
        seconds = round(time.perf_counter() - began, 3)
        job = job.changed(seconds=seconds, warnings=warnings)
        self._journal.end(job, images)
        self._tell(f"study {job.id} {job.state} in {seconds:.1f} s{': ' * bool(job.why)}{job.why}")
        self._ended(job)

    def _predict(self, folder: Path, images: str, said: Warnings) -> None:
        for other in (folder / RESULTS).glob("*"):
            if other.name != images:
                shutil.rmtree(other, ignore_errors=True)
        out = results_folder(folder, images)
        asked = self._model.asking([f"format={FORM}"])
        asked.predict([folder / IMAGES], out, said, overwrite=True)


def plain(error: MedsslError, *folders: Path) -> str:
    """A sentence about files of the service, without where it keeps them."""
    text = str(error)
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), "the study")
    return text
