"""Files of keys that are called by their names: pipelines and studies, and data specs.

A file may say `extends: NAME`: its keys then lie over those of that file, so that it says only what
differs. A path in its place starts from the folder of the file itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import medssl
from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.overrides import apply_override, apply_overrides, laid_over
from medssl.yaml_keys import read_keys

SUFFIXES = (".yaml", ".yml")
OWN = ("name", "title")
"""Keys that say which file it is; they are not taken from the file that it extends."""


@dataclass(frozen=True)
class Layers:
    """The keys of a file and of those it extends.

    Attributes:
        files: each file with what it says; the extending ones first, the others without `OWN`.
    """

    files: tuple[tuple[Path, dict[str, Any]], ...]

    def laid(self) -> dict[str, Any]:
        """All keys, those of the first file on top."""
        plain: dict[str, Any] = {}
        for _, keys in reversed(self.files):
            plain = laid_over(plain, keys)
        return plain

    def file_of(self, where: Sequence[str]) -> Path:
        """The file that gives the key at `where`, or the first one where none does."""
        # The first of the largest: of files that go equally far, the one on top.
        return max(self.files, key=lambda one: depth_of(one[1], where))[0]


def depth_of(plain: Any, where: Sequence[str]) -> int:
    """How many of the keys `where` there are in `plain`, each inside the one before.

    A part may be given by its name alone, which then is its key `name`.
    """
    for depth, part in enumerate(where):
        if isinstance(plain, list) and part.isdigit() and int(part) < len(plain):
            plain = plain[int(part)]
        elif isinstance(plain, dict) and part in plain:
            plain = plain[part]
        else:
            return depth + (isinstance(plain, str) and part == "name")
    return len(where)


@dataclass(frozen=True)
class Keys:
    """The keys of a file, and where they come from.

    Attributes:
        plain: all of them, as plain values.
        layers: the files that they stand in.
        overrides: those that were given beside the files.
        noun: what the file is, e.g. "pipeline".
    """

    plain: dict[str, Any]
    layers: Layers
    overrides: dict[str, Any]
    noun: str

    def place(self, where: Sequence[str]) -> str:
        """The file that the key at `where` stands in, in words; empty for one given beside them."""
        path = self.layers.file_of(where)
        inside = next(keys for file, keys in self.layers.files if file == path)
        if self.overrides and depth_of(self.overrides, where) >= depth_of(inside, where):
            return ""
        return f"{self.noun} {path}"


@dataclass(frozen=True)
class NamedFiles:
    """All files of one kind: the user's own in ./FOLDER, then those shipped with medssl.

    They may lie in folders of it; a file is called by its own name, without the folder.

    Attributes:
        folder: name of their folder.
        noun: what each of them is, e.g. "pipeline".
    """

    folder: str
    noun: str

    def folders(self) -> tuple[Path, Path]:
        """The user's own, then the shipped one: a wheel's, or that of the source tree."""
        package = Path(medssl.__file__).parent
        built = package / f"_{self.folder}"
        return Path(self.folder), built if built.is_dir() else package.parent / self.folder

    def names(self) -> list[str]:
        """Names of all, sorted."""
        return sorted({path.stem for folder in self.folders() for path in _files(folder)})

    def read(self, name_or_path: str, overrides: Sequence[str] = (), noun: str = "") -> Keys:
        """The keys of a file, laid over those of the file that it extends.

        Args:
            overrides: `key.sub=value`, applied in order.
            noun: what the file is, where it is another kind than these files as a rule are.

        Raises:
            UsageError: there is no such file, one is not YAML, not a mapping, or extends what it
                cannot; or an override is not of the form key=value.
        """
        path = self.find(name_or_path)
        layers = self.layers(path)
        plain, beside = layers.laid(), dict[str, Any]()
        plain.setdefault("name", path.stem)
        apply_overrides(plain, overrides)
        for one in overrides:
            apply_override(beside, one)
        return Keys(plain, layers, beside, noun or self.noun)

    def find(self, name_or_path: str) -> Path:
        """A path as it is, else ./FOLDER/**/NAME.yaml, else the shipped one.

        Raises:
            UsageError: there is none, and the nearest is named; or there are two.
        """
        return self._find(name_or_path, Path(), None, "")

    def layers(self, path: Path) -> Layers:
        """The keys of a file and of all that it extends.

        Raises:
            UsageError: one of them cannot be read, is no YAML, extends what is not there, or
                extends itself in the end.
        """
        found = [(path, read_keys(path, f"a {self.noun}"))]
        while (named := found[-1][1].pop("extends", None)) is not None:
            below = self._extended(found[-1][0], named)
            if any(below.resolve() == above.resolve() for above, _ in found):
                raise UsageError(
                    f"{found[-1][0]} extends {named}, and so itself in the end",
                    do="take one `extends` of the circle out",
                )
            keys = read_keys(below, f"a {self.noun}")
            found.append((below, {key: keys[key] for key in keys if key not in OWN}))
        return Layers(tuple(found))

    def _extended(self, path: Path, named: Any) -> Path:
        if not isinstance(named, str) or not named:
            raise UsageError(
                f"`extends` in {path} names no {self.noun}",
                do=f"give the name or the file of one {self.noun}",
            )
        return self._find(named, path.parent, path, f", which {path} extends")

    def _find(self, name_or_path: str, start: Path, extending: Path | None, why: str) -> Path:
        """See `find`; paths go from `start`, and a file may extend the one whose name it hides."""
        if name_or_path.endswith(SUFFIXES):
            path = start / name_or_path
            if path.is_file():
                return path
            raise UsageError(f"there is no {self.noun} {path}{why}", do="check the path")
        itself = extending and extending.resolve()
        for folder in self.folders():
            found = [path for path in _files(folder) if path.stem == name_or_path]
            found = [path for path in found if itself is None or path.resolve() != itself]
            if len(found) > 1:
                raise UsageError(
                    f"two files are called {name_or_path}: {found[0]} and {found[1]}",
                    do="rename one of them, or give the path",
                )
            if found:
                return found[0]
        if extending is not None and name_or_path == extending.stem:
            return extending  # a circle of one
        # A study is not what was meant where a pipeline is asked for, and the other way round.
        studies = name_or_path.endswith("_study")
        known = [name for name in self.names() if name.endswith("_study") == studies]
        raise UsageError(
            f"no {self.noun} is called '{name_or_path}'{why}", do=nearest(name_or_path, known)
        )


def _files(folder: Path) -> list[Path]:
    """The files of keys anywhere in a folder, sorted; hidden ones, and hidden folders, left out."""
    found = sorted(folder.rglob("*.yaml"))
    return [path for path in found if not _is_hidden(path.relative_to(folder))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


PIPELINES = NamedFiles("pipelines", "pipeline")
"""The files of pipelines and studies."""
