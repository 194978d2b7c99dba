"""One study in the journal: its images, how far it is, and its result."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from medssl.atomic import appearing

State = Literal["waiting", "running", "done", "failed"]

RECORD, IMAGES, RESULTS = "job.json", "study", "results"
SLICE = ".dcm"


@dataclass(frozen=True)
class Job:
    """What is known of a study; on disk as job.json, without names, ids and UIDs.

    Attributes:
        id: stands for the study's UID.
        patient: stands for the patient.
        images: `digest_of` the images that were there when it ended; empty before that.
        received, ended: seconds since 1970; of the last image, and of the result.
        attempts: how often it was begun.
        seconds: that the last attempt took.
        why: what is wrong, in a sentence.
        warnings: what may be wrong.
    """

    id: str
    patient: str
    state: State
    received: float
    images: str = ""
    ended: float | None = None
    attempts: int = 0
    seconds: float | None = None
    why: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed")

    def changed(self, **changes: Any) -> "Job":
        """A copy with other values of some attributes."""
        return replace(self, **changes)

    def to_plain(self) -> dict[str, Any]:
        """What a client is told, as plain values."""
        plain = asdict(self)
        del plain["patient"], plain["images"]
        return plain


def write_job(folder: Path, job: Job) -> None:
    """Write job.json into the folder of a study, so that not even a power cut loses it."""
    plain = asdict(job)
    with appearing(folder / RECORD, durable=True) as beside:
        beside.write_text(json.dumps(plain, indent=2), encoding="utf-8")


def read_job(folder: Path) -> Job | None:
    """What the folder of a study says; None where it holds no image that was accepted.

    What was running when the service ended waits again, and so does what has more images now.
    """
    images = digest_of(folder)
    if not images:
        return None
    plain: dict[str, Any] = {}
    try:
        plain = json.loads((folder / RECORD).read_bytes())
        job = Job(**{**plain, "warnings": tuple(plain["warnings"])})
    except (OSError, ValueError, KeyError, TypeError):
        received = max(path.stat().st_mtime for path in images_of(folder))
        job = Job(folder.name, str(plain.get("patient", "")), "waiting", received)
    if job.is_over and job.images == images:
        return job
    return job.changed(state="waiting", ended=None)


def images_of(folder: Path) -> Iterator[Path]:
    """The images of a study; what is hidden was never accepted."""
    return (path for path in folder.glob(f"{IMAGES}/*/*{SLICE}") if path.parent.name[0] != ".")


def digest_of(folder: Path) -> str:
    """16 hex characters that change when an image comes or goes; empty where there is none."""
    names = sorted(path.name for path in images_of(folder))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else ""


def results_folder(folder: Path, images: str) -> Path:
    """Where the result of a study goes.

    Args:
        images: `digest_of` the images that it is made of.
    """
    return folder / RESULTS / images


def results_of(folder: Path, job: Job) -> list[Path]:
    """The DICOM files of the result; none before it is done."""
    if job.state != "done":
        return []
    found = results_folder(folder, job.images).glob(f"*{SLICE}")
    return sorted(path for path in found if path.name[0] != ".")
