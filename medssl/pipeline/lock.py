"""One process at a time in a folder; others wait and say for whom.

The system's own lock on a file: it ends with its process, however that ends. Where a disk has no
such locks, the file itself is the lock, and its age says whether its process still lives.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medssl.atomic import is_alive, make_folder, told
from medssl.stop import held

LOCK, DATED = ".lock", ".locked"

LOOK_EVERY_S = 0.2
SPEAK_EVERY_S = 60.0
STALE_AFTER_S = 180.0
"""Without locks of the system: age at which the file of another machine counts as left behind."""

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def is_free(folder: Path) -> bool:
    """Whether nobody holds a folder, or died before giving it back."""
    return not any((folder / name).exists() for name in (LOCK, DATED))


@contextmanager
def alone_in(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made, until the block ends.

    Args:
        tell: is told once a minute who is waited for.

    Raises:
        Stopped: a signal came while waiting.
        MedsslError: the folder cannot be written to.
    """
    path, release = folder / LOCK, None
    spoke = -SPEAK_EVERY_S
    try:
        while release is None:
            make_folder(folder)
            with held(), told(path):
                release = _try(path)
            if release is None:
                if time.monotonic() - spoke >= SPEAK_EVERY_S:
                    spoke = time.monotonic()
                    tell(f"waiting for {_holder(folder)}, which works in {folder}")
                time.sleep(LOOK_EVERY_S)
        yield
    finally:
        if release is not None:
            with held():
                release()


@contextmanager
def alone_if_free(folder: Path) -> Iterator[bool]:
    """As `alone_in`, of a folder that exists, but without waiting: false where another is there.

    Raises:
        MedsslError: the folder cannot be written to.
    """
    with held(), told(folder / LOCK):
        release = _try(folder / LOCK)
    try:
        yield release is not None
    finally:
        if release is not None:
            with held():
                release()


def _try(path: Path) -> Callable[[], None] | None:
    """Take the lock; returns what gives it back, or None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _UNSUPPORTED:
            path.unlink(missing_ok=True)
            return _try_by_age(path.with_name(DATED))
        if isinstance(error, BlockingIOError):
            return None
        raise
    if not _is(path, os.fstat(descriptor)):  # given back, and gone, between opening and locking
        os.close(descriptor)
        return None
    with suppress(OSError):  # on a full disk nobody is told who works here
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _myself(), 0)

    def release() -> None:
        # Removed while it is held: nobody can lock what others no longer find.
        path.unlink(missing_ok=True)
        os.close(descriptor)

    return release


def _try_by_age(path: Path) -> Callable[[], None] | None:
    """Take the lock by making its file, which is touched while its process lives."""
    left = _is_left_behind(path)
    if left:
        path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    with suppress(OSError):
        os.write(descriptor, _myself())
    os.close(descriptor)
    if left:  # another process may have seen the same, and have removed this file too
        time.sleep(LOOK_EVERY_S)
        if path.read_bytes() != _myself():
            return None
    over = threading.Event()

    def touch() -> None:
        while not over.wait(STALE_AFTER_S / 6):
            path.touch()

    threading.Thread(target=touch, daemon=True).start()

    def release() -> None:
        over.set()
        path.unlink(missing_ok=True)

    return release


def _is_left_behind(path: Path) -> bool:
    """Whether the process that made the file is gone."""
    try:
        age = time.time() - path.stat().st_mtime
        known = json.loads(path.read_bytes() or b"{}")
        here = known.get("host") == socket.gethostname() and not is_alive(int(known["pid"]))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        here = False
    return here or age > STALE_AFTER_S


def _is(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False


def _myself() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()


def _holder(folder: Path) -> str:
    for name in (LOCK, DATED):
        try:
            known = json.loads((folder / name).read_bytes())
            return f"process {known['pid']} on {known['host']}"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return "another process"
