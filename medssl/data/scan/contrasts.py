"""What contrasts are called: names in files, in lists and in several data specs.

Names are equal or they are not: what merely looks alike ("T1w", "t1") is pointed out and left apart
until an alias says that it is one contrast.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from medssl.data.spec import DataSpec
from medssl.errors import UsageError

_NUMBER = re.compile(r"(?<=[^\W_]{2})[\s_.\-(#]+\d+\)?$")
_WEIGHTED = re.compile(r"(?<=.)w(eighted)?$")


def name_scans(spec: DataSpec, found: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Files of a session with their contrasts' names, as `Case.images` wants them.

    Channels come first, in the spec's order; aliases become the channel's name; the second scan of
    a contrast gets the name "t1#2".
    """
    channels = {alias: name for name, aliases in spec.aliases.items() for alias in aliases}
    files: dict[str, list[Path]] = {name: [] for name in spec.channels}
    for name, path in found:
        plain = name.replace("#", "_")
        files.setdefault(channels.get(plain, plain), []).append(path)
    return {
        name if number == 1 else f"{name}#{number}": path
        for name, paths in files.items()
        for number, path in enumerate(paths, start=1)
    }


def contrast_of(scan: str) -> str:
    """The contrast of a scan of `Case.images`; of "t1#2" it is "t1"."""
    return scan.partition("#")[0]


class Contrasts:
    """The known contrasts of several data sets; an alias counts in all of them.

    Attributes:
        names: in order of appearance.

    Raises:
        UsageError: one alias is given for two contrasts.
    """

    def __init__(self, specs: Iterable[DataSpec]) -> None:
        declared = list(specs)
        self._alias: dict[str, str] = {}
        for spec in declared:
            for channel, aliases in spec.aliases.items():
                for alias in aliases:
                    self._add(alias, channel, spec.name)
        channels = (self._one(name) for spec in declared for name in spec.channels)
        self.names = tuple(dict.fromkeys(channels))

    def _add(self, alias: str, channel: str, where: str) -> None:
        other = self._alias.setdefault(alias, channel)
        if other != channel:
            raise UsageError(
                f"the alias '{alias}' stands for {other} and for {channel}",
                f"the data spec {where} and another one disagree",
                "give it one meaning",
            )

    def _one(self, name: str) -> str:
        return self._alias.get(name, name)

    def index(self, scan: str) -> int:
        """Place of a scan's contrast in `names`; -1 where it is unknown."""
        name = self._one(contrast_of(scan))
        return self.names.index(name) if name in self.names else -1


def lookalikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that look like one contrast.

    They differ in case, in a "w" or "weighted" at the end, in separators, in a number behind one.
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(_bare(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def lookalike_sentences(names: Iterable[str], spec: DataSpec) -> list[tuple[str, str]]:
    """What is wrong with names that look alike, channels among them, and the remedy."""
    sentences = []
    for group in lookalikes([*spec.channels, *names]):
        alias = f"`aliases: {{{group[0]}: [{', '.join(group[1:])}]}}` in the data spec"
        declared = (
            f"write {alias}" if group[0] in spec.channels else f"make it a channel, with {alias}"
        )
        sentences.append(
            (
                f"{' and '.join(group)} of {spec.name} look like one contrast but count as "
                f"{len(group)}, as no alias says that they are one",
                f"if they are, {declared}; else give them other names",
            )
        )
    return sentences


def _bare(name: str) -> str:
    plain = re.sub(r"[\s_.\-]+", "", _NUMBER.sub("", name.strip().lower()))
    return _WEIGHTED.sub("", plain)
