"""The studies of a service, on disk: accepted once is never lost, and answered once.

A folder for each study, named by a key, holds its images in folders, one for each request that
brought some. Such a folder appears whole; from then on they are accepted. What a study waits for
follows from what lies there, so a service that was killed goes on as if nothing had happened: a
result that is there is kept, one that is half done is done, and images that come twice are one.

A study is removed some hours after it has ended.
"""

import fcntl
import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medssl.atomic import appearing, discard, make_folder
from medssl.errors import UsageError
from medssl.keyed import Key
from medssl.serve.instances import Instance
from medssl.serve.job import IMAGES, SLICE, Job, digest_of, images_of, read_job, write_job

PLACES = ("incoming", "asked", "sessions")
"""Folders of what is not accepted yet, or not to be kept."""

MOST_ATTEMPTS = 5
"""A study during which the service ended so often is no longer tried: it may be what ends it."""


class QueueFull(Exception):
    """As many studies wait as may."""


class Conflict(Exception):
    """Images cannot belong to the study, or are others than those of the same name."""


class Journal:
    """The studies in a folder.

    All functions may be called from any thread.

    Args:
        root: its folder; only its owner can look into it.
        queue: studies that may wait.
        settle_s: seconds without further images after which a study is complete.
        keep_h: hours after which a study that has ended is removed.

    Raises:
        UsageError: another service has the folder.
        MedsslError: it cannot be written to.
    """

    def __init__(self, root: Path, queue: int, settle_s: float, keep_h: float) -> None:
        make_folder(root)
        root.chmod(0o700)
        self._lock_file = _only_one(root)
        self.key = Key(root / "key")
        self._root, self._queue = root, queue
        self._settle_s, self._keep_s = settle_s, keep_h * 3600
        self.changed = threading.Condition(threading.RLock())
        for left in PLACES:
            shutil.rmtree(root / left, ignore_errors=True)
            make_folder(root / left)
        make_folder(root / "studies")
        self._jobs: dict[str, Job] = {}
        for folder in sorted((root / "studies").iterdir()):
            if (job := read_job(folder)) is not None:
                self._jobs[job.id] = job
            else:  # nothing of it was accepted
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let another service have the folder."""
        os.close(self._lock_file)

    def place(self, kind: str) -> Path:
        """A new folder in one of `PLACES`, which are emptied when the service starts."""
        path = self._root / kind / uuid.uuid4().hex
        make_folder(path)
        return path

    def id_of(self, study: str) -> str:
        """What stands for the UID of a study."""
        return self.key.name_of("study", study)

    def folder(self, job: str) -> Path:
        """The folder of a study that is known."""
        return self._root / "studies" / job

    def series(self, uid: str) -> list[Path]:
        """The images of a series, of whichever study."""
        name = self.key.name_of("series", uid)
        return sorted(self._root.glob(f"studies/*/{IMAGES}/[!.]*/{name}_*{SLICE}"))

    def jobs(self) -> list[Job]:
        """All studies, in the order of their last images."""
        with self.changed:
            return sorted(self._jobs.values(), key=lambda job: (job.received, job.id))

    def find(self, job: str) -> Job | None:
        """A study by its id; nothing that is no id is ever looked for on the disk."""
        with self.changed:
            return self._jobs.get(job)

    def counts(self) -> Counter[str]:
        """How many studies there are of each state."""
        return Counter(job.state for job in self.jobs())

    @property
    def is_full(self) -> bool:
        """Whether as many studies wait as may."""
        return self.counts()["waiting"] >= self._queue

    def accept(self, instances: Sequence[Instance]) -> Job:
        """Take images of one study; when this returns they are safe.

        Images that are there already are no new ones.

        Raises:
            QueueFull: too many studies wait.
            Conflict: the study is of another patient, or has another image of such a name.
            MedsslError: the disk is full.
        """
        key, now = self.id_of(instances[0].study), time.time()
        patient = instances[0].patient
        with self.changed:
            known = self._jobs.get(key)
            told = {one.patient for one in instances} | {known.patient if known else patient}
            if len(told - {""}) > 1:  # a record that was lost names none
                raise Conflict("a study has one patient")
            new = self._new_ones(key, instances)
            if known is not None and not new:
                return known
            if (known is None or known.state != "waiting") and self.is_full:
                raise QueueFull
            folder = self.folder(key)
            job = known or Job(key, patient, "waiting", now)
            job = job.changed(received=now, attempts=0, patient=patient)
            if job.state != "running":  # the one that works on it will see that it has changed
                job = job.changed(state="waiting", ended=None, why="", warnings=())
            write_job(folder, job)
            with appearing(folder / IMAGES / uuid.uuid4().hex, durable=True) as beside:
                beside.mkdir()
                for name, path in new.items():
                    os.rename(path, beside / name)
            self._jobs[key] = job
            self.changed.notify_all()
            return job

    def _new_ones(self, key: str, instances: Sequence[Instance]) -> dict[str, Path]:
        there = {path.name: path for path in images_of(self.folder(key))}
        new: dict[str, Path] = {}
        for one in instances:
            series = self.key.name_of("series", one.series)
            name = f"{series}_{self.key.name_of('instance', one.uid)}{SLICE}"
            other = there.get(name) or new.get(name)
            if other is None:
                new[name] = one.path
            elif other.read_bytes() != one.path.read_bytes():
                raise Conflict("the study has another image of this name")
        return new

    def begin(self) -> Job | None:
        """The study that has waited longest and is complete, which is running now; None: no one."""
        with self.changed:
            for job in self.jobs():
                if job.state != "waiting" or time.time() - job.received < self._settle_s:
                    continue
                if job.attempts >= MOST_ATTEMPTS:
                    why = f"the service ended {job.attempts} times while it worked on the study"
                    self._end(job.changed(state="failed", why=why), digest_of(self.folder(job.id)))
                    continue
                return self._keep(job.changed(state="running", attempts=job.attempts + 1))
        return None

    def put_back(self) -> None:
        """Have the study that is running wait again, as its end could not be written down."""
        with self.changed:
            for job in self.jobs():
                if job.state == "running":
                    again = job.changed(state="waiting", attempts=job.attempts - 1)
                    self._jobs[job.id] = again

    def end(self, job: Job, images: str) -> None:
        """Keep how a study ended that was made of such images; more that came since wait."""
        with self.changed:
            self._end(job, images)

    def _end(self, job: Job, images: str) -> None:
        latest = self._jobs[job.id]
        if digest_of(self.folder(job.id)) != images:
            self._keep(latest.changed(state="waiting"))
        else:
            self._keep(job.changed(images=images, ended=time.time()))

    def _keep(self, job: Job) -> Job:
        write_job(self.folder(job.id), job)
        self._jobs[job.id] = job
        self.changed.notify_all()
        return job

    def remove(self, job: Job) -> bool:
        """Remove a study with all its files, unless it is being worked on."""
        with self.changed:
            if self._jobs.get(job.id, job).state == "running":
                return False
            self._jobs.pop(job.id, None)
            discard(self.folder(job.id))
            return True

    def remove_aged(self) -> None:
        """Remove the studies that ended long enough ago."""
        for job in self.jobs():
            if job.is_over and job.ended is not None and time.time() - job.ended > self._keep_s:
                self.remove(job)

    def next_due(self) -> float:
        """Seconds until a study may be complete or aged; at most a minute."""
        now = time.time()
        waiting = [self._settle_s - (now - job.received) for job in self.jobs() if not job.is_over]
        return min([60.0, *(max(0.01, left) for left in waiting)])


def _only_one(root: Path) -> int:
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(
            f"{root} belongs to a service that runs",
            "two would answer each study twice",
            "choose another --work, or end the other one",
        ) from None
    return descriptor
