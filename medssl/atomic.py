"""Files and folders that appear complete or not at all.

Everything is written beside its place under a hidden name and renamed when it is whole. A kill can
leave only such a hidden name, which goes when something is next written to that folder; it says who
wrote it, so that the leftovers of the dead differ from the work of another process.
"""

import errno
import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medssl.errors import MedsslError
from medssl.stop import held

ABANDONED_AFTER_S = 86_400.0
"""Age after which an unfinished file of a process on another machine counts as left behind."""

_PREFIX = ".part-"
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_LIFE = uuid.uuid4().hex[:8]
_swept: set[Path] = set()
_OF_RUST = re.compile(r"\(os error (\d+)\)")  # as safetensors tells of the system's errors
_WRITER = re.compile(r"^\.part-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<life>[0-9a-f]{8})-")


@contextmanager
def appearing(
    path: Path,
    check: Callable[[Path], object] | None = None,
    durable: bool = False,
    first_wins: bool = False,
) -> Iterator[Path]:
    """A path to write a file or folder to, which becomes `path` when the block ends well.

    It has the ending of `path`, for writers that choose the format by it. What was at `path` before
    is replaced, a folder too; where the block fails, it stays and nothing new is left.

    Args:
        check: raises where what was written is not whole, e.g. because a full disk was not told.
        durable: wait until it is on the disk, so that a power cut cannot leave an empty file; that
            may take a tenth of a second, and is for what is dear to make again.
        first_wins: a folder that another process has put there meanwhile stays, for folders that
            several may fill with the same content while others read from them.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to.
    """
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent)
        yield beside
        if check is not None:
            check(beside)
        if durable:
            _flush(beside)
        _replace(beside, path, first_wins)
    except MedsslError:
        raise
    except Exception as error:
        raise _unwritten(error, path) or error from error
    finally:
        _remove(beside)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, whole or not at all.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to.
    """
    with appearing(path) as beside:
        beside.write_bytes(content)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to.
    """
    with told(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Failures of the disk in the block, as one sentence on `path`.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise _unwritten(error, path) or error from error


def append_text(path: Path, text: str) -> None:
    """Add a text in UTF-8 to the end of a file, which is made where it is missing.

    Raises:
        MedsslError: the disk is full, or the place cannot be written to; nothing is added.
    """
    before: int | None = None
    try:
        with path.open("ab", buffering=0) as file:
            before, content = file.tell(), text.encode()
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if before is not None:
            os.truncate(path, before)
        raise _unwritten(error, path) or error from error


def discard(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, so that nobody sees a part of it."""
    beside = _beside(path)
    try:
        os.rename(path, beside)
    except FileNotFoundError:
        return
    _remove(beside)


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished anywhere below `folder`."""
    if folder.is_dir():
        _remove_left(folder.rglob(f"{_PREFIX}*"))


def _sweep_once(folder: Path) -> None:
    """Sweep one folder, not what is below it, before the first thing this process writes there."""
    if folder.absolute() not in _swept:
        _swept.add(folder.absolute())
        _remove_left(folder.glob(f"{_PREFIX}*"))


def _remove_left(found: Iterable[Path]) -> None:
    for path in sorted(found):
        if _is_left_behind(path):
            with suppress(OSError):  # another user's; it is in nobody's way
                _remove(path)


def _beside(path: Path) -> Path:
    mark = f"{_PREFIX}{_HOST}-{os.getpid()}-{_LIFE}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f"{mark}.{path.name}")


def _replace(beside: Path, path: Path, first_wins: bool) -> None:
    if first_wins and beside.is_dir():
        try:
            os.rename(beside, path)
        except OSError:
            if not path.is_dir():
                raise
        return
    if not (beside.is_dir() and path.is_dir()):
        os.replace(beside, path)
        return
    old = _beside(path)
    with held():
        os.rename(path, old)
        os.rename(beside, path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _is_left_behind(path: Path) -> bool:
    """Whether the process that was writing is gone."""
    writer = _WRITER.match(path.name)
    if writer is None:
        return False
    if writer["host"] == _HOST:
        if int(writer["pid"]) == os.getpid():
            return writer["life"] != _LIFE
        return not is_alive(int(writer["pid"]))
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _unwritten(error: Exception, path: Path) -> MedsslError | None:
    """The sentence for a failure of the disk; None for any other failure."""
    code = error.errno if isinstance(error, OSError) else None
    if told := _OF_RUST.search(str(error)):
        code = int(told[1])
    if code in (errno.ENOSPC, errno.EDQUOT) or _is_full(path.parent):
        return MedsslError(
            f"{path} cannot be written", "the disk is full", "free some space and run again"
        )
    if code in (errno.EROFS, errno.EACCES, errno.EPERM):
        return MedsslError(
            f"{path} cannot be written",
            "its folder may only be read",
            "choose another folder, or allow writing to it",
        )
    if code in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOENT, errno.ENAMETOOLONG):
        reason = os.strerror(code).lower() if code else ""
        return MedsslError(f"{path} cannot be written", reason, "choose another folder")
    return None


def _is_full(folder: Path) -> bool:
    """Whether nothing more fits; some writers hide it behind an error of their own."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return False
    return usage.total > 0 and usage.free < 4096  # /proc and the like have no bytes at all
