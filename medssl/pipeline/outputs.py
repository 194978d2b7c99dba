"""What a prediction wrote into a folder, by hash, so that no other file is taken for its own."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any

from medssl.atomic import appearing, make_folder, sweep
from medssl.checksum import sha256_of
from medssl.errors import UsageError
from medssl.keyed import own_key
from medssl.pipeline.record import PARTS, RECORD, Record, locked, read_record


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

    A file counts as a result only with the hash that it was written with. The hash is on disk
    before the file is, so that a kill never leaves a result that is not known. Several processes
    may write different cases into one folder at a time.

    Args:
        folder: where results go.
        made: what they were made with, by name.
        sources: each case and a hash of its files: a path may name a patient.
        names: file names that each case writes, the one that appears last first.
        overwrite: replace what is in the way.
        whole: the results are of all cases together, so the folder holds those of no others.

    Attributes:
        known: the record as it was when this began, and what was added since.

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
        self._folder, self._made, self._overwrite = folder, made, overwrite
        self._sources, self._names, self._all = dict(sources), dict(names), whole
        _refuse_equal_names(names)
        self._record = Record(folder)
        self.known = self._kept()
        self._whole: set[str] = set()
        self.look_at(list(chain.from_iterable(names.values())))
        self._begun = False
        self._alone = RLock()

    @property
    def measured(self) -> Mapping[str, Any]:
        """What the record keeps of each case beside its files."""
        found: Mapping[str, Any] = self.known.get("measured", {})
        return found

    def _kept(self) -> dict[str, Any]:
        """What is known of the folder, with what is to be made in it; refuses other results."""
        before = read_record(self._folder)
        problem = ""
        if before is not None:
            given = self._made, self._sources, self._names, self._all
            problem = _clash(before, *given)
        if problem and not self._overwrite:
            raise UsageError(
                f"{self._folder} already holds other predictions",
                problem,
                "choose another --out, or replace them with --overwrite",
            )
        kept = before if before is not None and not problem else {}
        sources = {**kept.get("sources", {}), **self._sources}
        more = {part: kept[part] for part in PARTS if kept.get(part)}
        return {**self._made, "written": {}, **more, "sources": sources}

    def look_at(self, names: Sequence[str]) -> None:
        """See which of these files are results, and refuse what else is in the way."""
        written = self.known["written"]
        self._whole |= {
            name
            for name in names
            if name in written and _hash_of(self._folder / name) == written[name]
        }
        foreign = [
            name
            for name in names
            if name not in self._whole and os.path.lexists(self._folder / name)
        ]
        if foreign and not self._overwrite:
            changed = foreign[0] in written
            raise UsageError(
                f"{self._folder / foreign[0]} is in the way",
                "it was changed after medssl wrote it" if changed else "medssl did not write it",
                "choose another --out, or replace it with --overwrite",
            )

    def expect(self, case: str, source: str, names: Sequence[str]) -> None:
        """One more case, which is found while others are predicted.

        Raises:
            UsageError: another case has its name, or one of its files is in the way.
        """
        with self._alone:
            here = self._folder / names[0]
            if names[0] not in self.known["written"] and os.path.lexists(here):
                self.known = self._kept()  # another process may have written it
            written = names[0] in self.known["written"] or case in self._sources
            other = self._sources.get(case) or self.known["sources"].get(case)
            if written and other is not None and other != source:
                raise UsageError(
                    f"the results of {case} would replace those of another",
                    "outputs are named after the file or folder",
                    "give each a name of its own in a column `name`",
                )
            self._sources[case] = source
            self.look_at(names)

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
        with locked(self._folder):
            self.known = self._kept()
            self._record.begin(self.known)
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
        with ExitStack() as files:
            paths = [files.enter_context(appearing(self._folder / name)) for name in names]
            yield paths
            hashes = {name: _hash_of(path) for name, path in zip(names, paths, strict=True)}
            told = {case: self._sources[case] for case in measured or {} if case in self._sources}
            self.add(written=hashes, sources=told, measured=measured or {})
        self._whole |= set(names)

    def add(self, **parts: Mapping[str, Any]) -> None:
        """Append to parts of the record by name; a null takes the name out.

        Raises:
            MedsslError: the disk is full.
        """
        self.begin()
        if not any(parts.values()):
            return
        with self._alone:
            self._record.add(**{part: found for part, found in parts.items() if found})
            for part, found in parts.items():
                self.known.setdefault(part, {}).update(found)

    def end(self, alone: bool = False) -> None:
        """Leave one record, for now; what this process writes later is added to it.

        Args:
            alone: nobody else is at work in the folder.
        """
        self._record.end(alone)
        with self._alone:
            if self._begun:
                self.known = read_record(self._folder) or self.known


def _refuse_equal_names(names: Mapping[str, Sequence[str]]) -> None:
    owner: dict[str, str] = {}
    for case, mine in names.items():
        for name in mine:
            if owner.setdefault(name, case) != case:
                raise UsageError(
                    f"'{owner[name]}' and '{case}' would both write {name}",
                    do="rename one of the files, or predict them into different folders",
                )


def _clash(
    before: Mapping[str, Any],
    made: Mapping[str, Any],
    sources: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    whole: bool,
) -> str:
    """Why results that are there cannot stay beside new ones; empty where they can."""
    if "sources" not in before or before.keys().isdisjoint(made):
        return f"its {RECORD} is damaged or of another program"
    other = [name for name in made if before.get(name) != made[name]]
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


def _hash_of(path: Path) -> str:
    """Hash of a file; empty where there is none."""
    try:
        return sha256_of(path)
    except OSError:
        return ""
