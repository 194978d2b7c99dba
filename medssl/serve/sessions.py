"""Images that a client has sent and will ask about, as 3D Slicer does, and where images are put.

They are kept for an hour after they were last asked for, and not over a restart: the client sends
them again.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from fastapi import HTTPException

from medssl.data.files import SUFFIXES
from medssl.serve.journal import Journal
from medssl.serve.parts import Part
from medssl.serve.store import no_room

KEEP_S = 3600.0
MOST = 32


class Sessions:
    """The sessions of a service, by random ids."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._lock = journal, threading.Lock()
        self._found: dict[str, tuple[Path, Path, float]] = {}

    def open(self, parts: Sequence[Part]) -> str:
        """A new session with the files of a request; returns its id.

        Raises:
            HTTPException: 400, there is no image; 503, there are too many sessions.
        """
        with self._lock:
            self._remove_aged()
            if len(self._found) >= MOST:
                raise no_room()
        place = self._journal.place("sessions")
        try:
            image = image_from(parts, place)
        except HTTPException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        name = uuid.uuid4().hex
        with self._lock:
            self._found[name] = place, image, time.monotonic()
        return name

    def image(self, name: str) -> Path:
        """The image of a session.

        Raises:
            HTTPException: 404, there is none of that id.
        """
        with self._lock:
            self._remove_aged()
            if name not in self._found:
                raise HTTPException(404, "the session is not known; it may have been removed")
            place, image, _ = self._found[name]
            self._found[name] = place, image, time.monotonic()
            return image

    def close(self, name: str) -> None:
        """Remove a session.

        Raises:
            HTTPException: 404, there is none of that id.
        """
        self.image(name)
        with self._lock:
            self._remove(name)

    def _remove_aged(self) -> None:
        for name, (_, _, used) in list(self._found.items()):
            if time.monotonic() - used > KEEP_S:
                self._remove(name)

    def _remove(self, name: str) -> None:
        shutil.rmtree(self._found.pop(name)[0], ignore_errors=True)


def image_from(parts: Sequence[Part], place: Path) -> Path:
    """The image that the files of a request are, with a name that says nothing of it.

    Several files, or one of DICOM, become a folder.

    Raises:
        HTTPException: 400, there is none, or it is of no known format.
    """
    files = [part for part in parts if part.told("filename")]
    if not files:
        raise HTTPException(400, "the request has no image: give a file, a session or `image`")
    if len(files) > 1 or _is_dicom(files[0].path):
        folder = place / "image"
        folder.mkdir()
        for number, part in enumerate(files):
            part.path.rename(folder / f"{number:05}.dcm")
        return folder
    given = files[0].told("filename").lower()
    ending = next((one for one in SUFFIXES if given.endswith(one)), None)
    if ending is None:
        raise HTTPException(
            400, f"the image ends in none of {', '.join(SUFFIXES)}, and is no DICOM"
        )
    return files[0].path.rename(place / f"image{ending}")


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
