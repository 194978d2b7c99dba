"""Data sets from their official homes: resumable, checked by size and checksum.

The data set's folder appears by one rename, when everything in it is verified and unpacked. What a
download left unfinished stays in `NAME.download`, to be continued or to be completed by hand.
"""

import gzip
import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlparse
from urllib.request import Request, urlopen

from medssl.data.files import visible
from medssl.data.layouts import data_folder, layout_of
from medssl.data.spec import DataSpec, Download
from medssl.errors import DataError, UsageError
from medssl.names import shown, unfit

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 20
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,  # a password is asked for, or a way of packing that Python does not know
    ValueError,
)
_TIMEOUT = 30  # seconds without an answer


def fetch(spec: DataSpec, on_progress: Progress | None = None) -> Path:
    """The folder of the data set; downloaded and unpacked unless it is there.

    Args:
        spec: what to fetch; its `downloads` say from where.
        on_progress: called with the bytes of the present file that are here, and in all (None if
            the server does not say).

    Raises:
        UsageError: the data set is made on this machine, or has no files to download.
        DataError: no connection (says what to download and where to put it), or a wrong file.
    """
    folder = data_folder(spec)
    if layout_of(spec).makes_files:
        raise UsageError(f"{spec.name} needs no download", "it is made on first use")
    if visible(folder):
        return folder
    if not spec.downloads:
        raise UsageError(
            f"{spec.name} cannot be downloaded by command",
            f"its licence: {spec.licence}",
            f"get it from {spec.homepage or 'its owner'} and put it into {folder}",
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} holds hidden files alone", do="remove it, and fetch again")
    try:
        _put_there(spec.downloads, folder, on_progress)
    except OSError as error:
        raise DataError(
            f"{spec.name} cannot be put into {folder}",
            error.strerror or str(error),
            "make room, or set MEDSSL_DATA to a folder that may be written to; then run again",
        ) from error
    return folder


def _put_there(downloads: Sequence[Download], folder: Path, on_progress: Progress | None) -> None:
    beside = folder.with_name(f"{folder.name}.download")
    content = beside / "content"
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True)
    for download in downloads:
        file = _downloaded(download, beside, on_progress)
        if download.unpack:
            _unpack(file, content)
        else:
            shutil.copy2(file, content)
    if folder.is_dir():
        folder.rmdir()  # empty, as seen above
    _inner(content).rename(folder)
    shutil.rmtree(beside)


def _downloaded(download: Download, folder: Path, on_progress: Progress | None) -> Path:
    """The verified file; a complete one that the user has put there is taken as it is."""
    file = folder / _file_name(download.url)
    if file.exists():
        _verify(download, file, f"delete {file} and fetch it again")
    else:
        partial = file.with_name(f"{file.name}.incomplete")
        try:
            _transfer(download, partial, on_progress)
        except HTTPError as error:
            raise _unreachable(download, file, f"the server says {error.code}") from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _unreachable(download, file, f"{reason}") from error
        try:
            _verify(download, partial, "fetch it again, or compare the data spec with its home")
        except DataError:
            partial.unlink()
            raise
        partial.rename(file)
    return file


def _file_name(address: str) -> str:
    """The last part of a web address, which names the file."""
    try:
        url = urlparse(address)
        name = Path(unquote(url.path)).name
    except ValueError:
        name = ""
    if not name or url.scheme not in ("http", "https") or unfit(name):
        raise UsageError(
            f"{shown(address, 200)} is no web address of a file", do="correct the data spec"
        )
    return name


def _unreachable(download: Download, file: Path, why: str) -> DataError:
    return DataError(
        f"{download.url} cannot be downloaded",
        why,
        f"run the same command again to continue, or download the file elsewhere and put it at "
        f"{file}, then run it again",
    )


def _transfer(download: Download, partial: Path, on_progress: Progress | None) -> None:
    """Download into `partial`, from where an earlier attempt has stopped."""
    have = partial.stat().st_size if partial.exists() else 0
    if have and have == download.bytes:
        return
    with _answer(download.url, have) as answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length and length.isdecimal() else download.bytes
        with partial.open("ab" if have else "wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if on_progress is not None:
                    on_progress(have, whole)
    if whole is not None and have < whole:
        raise ConnectionError(f"the connection ended after {have} of {whole} bytes")


def _answer(url: str, start: int) -> HTTPResponse:
    """The server's answer from byte `start` on, or from 0 where it has nothing after `start`."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)  # noqa: S310 - http(s)
    except HTTPError as error:
        if error.code != 416 or not start:  # 416: no such range
            raise
        return _answer(url, 0)
    found: HTTPResponse = answer
    return found


def _verify(download: Download, file: Path, do: str) -> None:
    wrong = ""
    size = file.stat().st_size
    if download.bytes is not None and size != download.bytes:
        wrong = f"it has {size} bytes instead of {download.bytes}"
    for name, wanted in (("sha256", download.sha256), ("md5", download.md5)):
        if wanted and not wrong:
            with file.open("rb") as stream:
                found = hashlib.file_digest(stream, name).hexdigest()
            if found != wanted.lower():
                wrong = f"its {name} is {found} instead of {wanted}"
    if wrong:
        raise DataError(f"{download.url} did not give the file that was expected", wrong, do)


def _unpack(file: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                archive.extractall(folder)  # noqa: S202 - drops absolute and parent paths itself
        else:
            with tarfile.open(file) as archive:
                _unpack_tar(archive, folder)
    except _DAMAGED as error:
        raise DataError(
            f"{file} cannot be unpacked", str(error), "delete it and fetch it again"
        ) from error


def _unpack_tar(archive: tarfile.TarFile, folder: Path) -> None:
    """Files and folders alone, none outside `folder`; Python before 3.11.4 has no filter for it."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    plain = [member for member in archive.getmembers() if member.isfile() or member.isdir()]
    for member in plain:
        if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
            raise tarfile.TarError(f"{member.name} would be written outside of the folder")
    archive.extractall(folder, plain)  # noqa: S202 - checked above


def _inner(content: Path) -> Path:
    """The one folder that an archive consists of, else all of it."""
    inside = [path for path in visible(content) if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else content
