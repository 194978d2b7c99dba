"""Which data and which code a run used."""

import hashlib
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import medssl
from medssl.data.spec import Case

ENDS = 64 * 1024


def fingerprint(cases: Sequence[Case]) -> str:
    """16 hex characters over the cases' ids, patients and files, in any order.

    A file counts by its size and its first and last 64 KiB; a gzip file ends in the checksum of all
    of it. Names of folders, times of change and hidden files do not count.
    """
    from medssl.data.pixels import files_of

    digest = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.id):
        digest.update(f"{case.id}\0{case.patient}\0".encode())
        for path in [*case.images.values(), *([case.label] if case.label else [])]:
            for file in files_of(path):
                digest.update(_ends(file))
    return digest.hexdigest()[:16]


def _ends(file: Path) -> bytes:
    if not file.is_file():
        return b"missing"
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(ENDS)
        stream.seek(max(0, size - ENDS))
        return str(size).encode() + head + stream.read(ENDS)


@cache
def code_version() -> str:
    """Package version, with the commit (and "+changed" beside it) where run from a checkout."""
    folder = Path(medssl.__file__).parent.parent
    commit = _git(folder, "rev-parse", "--short=10", "HEAD") if (folder / ".git").exists() else ""
    if not commit:
        return medssl.__version__
    changed = "+changed" if _git(folder, "status", "--porcelain", "--", "medssl") else ""
    return f"{medssl.__version__} {commit}{changed}"


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            # Otherwise a look that takes too long, and is ended, leaves a lock that git trips over.
            ["git", "--no-optional-locks", *words],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
