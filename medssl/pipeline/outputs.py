"""What a prediction wrote into a folder, by hash, so that no other file is taken for its own."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from medssl.atomic import appearing, make_folder, sweep, write_text
from medssl.errors import UsageError
from medssl.keyed import own_key

RECORD = "prediction.json"


def refuse_inputs(out: Path, files: Sequence[Path]) -> None:
    """Refuse to write among the files that are read.

    Raises:
        UsageError: `out` is an input, holds one, or lies within one.
    """
    target = out.resolve()
    for file in files:
        real = file.resolve()
        holding = {real, real.parent, file.parent.resolve()}
        if target in holding or (file.is_dir() and real in target.parents):
            raise UsageError(
                f"{out} holds the input {file.name}",
                "results among the inputs would be taken for inputs",
                "choose another folder as --out",
            )


def fingerprint_of(paths: Sequence[Path]) -> str:
    """16 hex characters over where files lie; tells a name that has come to mean another file.

    They come from the user's key: where files lie may name a patient, which could be guessed.
    """
    return own_key().name_of("files", "\n".join(str(path.resolve()) for path in paths), 16)


class Outputs:
    """The results in one folder, and the record of them in prediction.json.

    `measured` is what the record keeps of each case beside its files.

    A file counts as a result only with the hash that it was written with. The hash is on disk
    before the file is, so that a kill never leaves a result that is not known.

    Args:
        folder: where results go.
        made: what they were made with, by name.
        sources: each case and a hash of its files: a path may name a patient.
        names: file names that each case writes, the one that appears last first.
        overwrite: replace what is in the way.
        whole: the results are of all cases together, so the folder holds those of no others.

    Raises:
        UsageError: the folder holds other results, or a file that is in the way.
    """

    def __init__(
        self,
        folder: Path,
        made: Mapping[str, Any],
        sources: Mapping[str, str],
        names: Mapping[str, Sequence[str]],
        overwrite: bool,
        whole: bool = False,
    ) -> None:
        self._folder = folder
        _refuse_equal_names(names)
        before = _record(folder)
        problem = _clash(before, made, sources, names, whole) if before is not None else ""
        if problem and not overwrite:
            raise UsageError(
                f"{folder} already holds other predictions",
                problem,
                "choose another --out, or replace them with --overwrite",
            )
        kept: Mapping[str, Any] = before if before is not None and not problem else {}
        written = kept.get("written", {})
        wanted = list(chain.from_iterable(names.values()))
        self._whole = {
            name for name in wanted if name in written and _sha256(folder / name) == written[name]
        }
        foreign = [
            name for name in wanted if name not in self._whole and os.path.lexists(folder / name)
        ]
        if foreign and not overwrite:
            changed = foreign[0] in written
            raise UsageError(
                f"{folder / foreign[0]} is in the way",
                "it was changed after medssl wrote it" if changed else "medssl did not write it",
                "choose another --out, or replace it with --overwrite",
            )
        known = {**kept.get("sources", {}), **sources}
        self.measured: dict[str, Any] = dict(kept.get("measured", {}))
        plain = {**made, "sources": known, "written": written}
        self._plain = plain | ({"measured": self.measured} if self.measured else {})
        self._begun = False

    def begin(self) -> None:
        """Make the folder and the record, at the latest with the first result.

        Raises:
            MedsslError: the folder cannot be written to.
        """
        if self._begun:
            return
        if (self._folder / RECORD).is_file():
            sweep(self._folder)
        make_folder(self._folder)
        write_text(self._folder / RECORD, json.dumps(self._plain, indent=2))
        self._begun = True

    def has(self, names: Sequence[str]) -> bool:
        """Whether all these results are there as they were written."""
        return self._whole.issuperset(names)

    @contextmanager
    def writing(
        self, names: Sequence[str], measured: Mapping[str, Any] | None = None
    ) -> Iterator[list[Path]]:
        """Paths to write results to, which appear together when the block ends well.

        The first name appears last. They have the endings of the names.

        Args:
            measured: what the record keeps of the results, by case.
        """
        self.begin()
        with ExitStack() as until_all_are_there, ExitStack() as files:
            paths = [files.enter_context(appearing(self._folder / name)) for name in names]
            yield paths
            until_all_are_there.enter_context(_locked(self._folder))
            plain = _record(self._folder) or {}
            hashes = {name: _sha256(path) for name, path in zip(names, paths, strict=True)}
            plain["written"] = {**plain.get("written", {}), **hashes}
            if measured:
                plain["measured"] = {**plain.get("measured", {}), **measured}
                self.measured |= measured
            write_text(self._folder / RECORD, json.dumps(plain, indent=2))
        self._whole |= set(names)


def _refuse_equal_names(names: Mapping[str, Sequence[str]]) -> None:
    owner: dict[str, str] = {}
    for case, mine in names.items():
        for name in mine:
            if owner.setdefault(name, case) != case:
                raise UsageError(
                    f"'{owner[name]}' and '{case}' would both write {name}",
                    do="rename one of the files, or predict them into different folders",
                )


def _record(folder: Path) -> dict[str, Any] | None:
    """The record of a folder; empty where it cannot be understood, None where there is none."""
    try:
        plain = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    fits = isinstance(plain, dict) and all(
        isinstance(plain.get(key, {}), dict) for key in ("sources", "written", "measured")
    )
    return plain if fits else {}


def _clash(
    before: Mapping[str, Any],
    made: Mapping[str, Any],
    sources: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    whole: bool,
) -> str:
    """Why results that are there cannot stay beside new ones; empty where they can."""
    if not before.keys() >= {"sources", *made}:
        return f"its {RECORD} is damaged or of another program"
    other = [name for name in made if before[name] != made[name]]
    if other:
        return f"made with other {' and '.join(other)}"
    kept, written = before["sources"], before.get("written", {})
    moved = [
        name
        for name, source in sources.items()
        if kept.get(name, source) != source and not written.keys().isdisjoint(names[name])
    ]
    if moved:
        return f"'{moved[0]}' was another file"
    return "made of other files" if whole and set(kept) != set(sources) else ""


def _sha256(path: Path) -> str:
    """Hash of a file; empty where there is none."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, so that none forgets what another wrote."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
