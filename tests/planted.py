"""A patient who is planted in headers and names, and the search for what is left of her."""

import gzip
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from medssl.cli import main

NAME, ID, NUMBER = "Qvortrup", "ZK4711PID", "ACC0815XY"
BORN, BORN_AS = "19330709", ("1933-07-09", "09.07.1933", "19330709")
PLACE = "Wyznbrg"
"""In the names of folders and files, and in no header."""

IN_HEADERS = (NAME, ID, NUMBER, *BORN_AS)

FULL = f"{NAME}^Ada"
EVERYWHERE = (*IN_HEADERS, PLACE)


def planted() -> dict[str, object]:
    """What headers say of the patient at the top."""
    return {
        "PatientName": FULL, "PatientID": ID, "AccessionNumber": NUMBER,
        "PatientBirthDate": BORN, "SeriesDescription": f"T1 of {NAME} {ID}",
        "StudyDescription": f"{NAME} {NUMBER}", "PatientComments": f"{NAME} {ID}",
    }  # fmt: skip


def plant_deeper(file: Path) -> None:
    """In nested sequences and in private tags."""
    header = pydicom.dcmread(file)
    inner, request = Dataset(), Dataset()
    inner.PatientID, inner.PatientBirthDate = ID, BORN
    request.AccessionNumber, request.RequestedProcedureDescription = NUMBER, NAME
    request.ReferencedPatientSequence = [inner]
    header.RequestAttributesSequence = [request]
    header.OtherPatientIDsSequence = [inner]
    block = header.private_block(0x0029, "MAKER", create=True)
    block.add_new(1, "LO", f"{NAME} {ID} {NUMBER}")
    block.add_new(2, "SQ", [inner])
    header.save_as(file)


class Place:
    """A working directory of a user, and all that the verbs said there."""

    def __init__(self, root: Path) -> None:
        self.root, self.said = root, ""

    def medssl(self, *arguments: object, code: int = 0) -> str:
        """Carry out a verb in this process; returns what it said."""
        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(said), redirect_stderr(said):
            patched.chdir(self.root)
            for name in ("MEDSSL_RUNS", "MEDSSL_CACHE", "MLFLOW_TRACKING_URI"):
                patched.delenv(name, raising=False)
            patched.setenv("MEDSSL_DATA", str(self.root / "data"))
            patched.setattr(sys, "argv", ["medssl", *map(str, arguments)])
            patched.setattr(sys, "excepthook", sys.excepthook)
            try:
                main()
                ended: object = 0
            except SystemExit as end:
                ended = end.code or 0
            except Exception as error:  # with --debug
                ended = 1
                sys.excepthook(type(error), error, error.__traceback__)
        assert ended == code, said.getvalue()
        self.said += said.getvalue()
        return said.getvalue()


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What a file holds, unpacked, with a name for it."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    yield str(path), content


def search(folder: Path, words: Sequence[str], dicom: bool = False) -> list[tuple[str, str]]:
    """Words that are in names or contents of files below a folder, and where.

    Args:
        dicom: DICOM is searched too; by itself its name alone is.
    """
    assert folder.is_dir()
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [("name", str(path.relative_to(folder)).encode())]
        if path.is_file() and (dicom or path.suffix != ".dcm"):
            texts += contents(path)
        for where, text in texts:
            plain = text.lower()
            for word in words:
                forms = word.lower().encode(), word.lower().encode("utf-16-le")
                if any(form in plain for form in forms):
                    found.append((word, f"{path}: {where}"))
    return found


def guessed(folder: Path, words: Sequence[str]) -> list[str]:
    """Files below a folder that hold, or are named after, a digest that anybody can make of a word.

    A digest is known by ten of its characters in a row, its first ones.
    """
    known = {one[:10] for word in (*words, FULL) for one in _digests(word)}
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            texts += [text for _, text in contents(path)]
        runs = {run for text in texts for run in re.findall(rb"[0-9a-f]{10,}", text.lower())}
        pieces = {run[at : at + 10].decode() for run in runs for at in range(len(run) - 9)}
        if pieces & known:
            found.append(str(path))
    return found


def _digests(word: str) -> Iterator[str]:
    for form in {word, word.lower(), word.upper()}:
        plain = form.encode()
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s"):
            yield hashlib.new(name, plain).hexdigest()
        for size in (4, 5, 6, 8, 10, 12, 16, 20, 32):
            yield hashlib.blake2b(plain, digest_size=size).hexdigest()
