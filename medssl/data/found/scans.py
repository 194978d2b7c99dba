"""Which files are scans, by their names: the variable parts of paths, and channels."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medssl.data.found.items import Item
from medssl.data.found.words import channel_word
from medssl.data.layouts.glob import CASE, PATIENT
from medssl.errors import DataError

_SEPARATORS = "_-. "
_MOST_NAMES = 8
"""So many files a case's folder may have that all are channels."""

Key = tuple[str, str]
"""Patient, or nothing where each case is one, and what stands for the case in names."""


@dataclass
class Scans:
    """The scans of a folder and how their paths are made.

    Attributes:
        channels: pattern of each without the ending, with {case} for the whole variable part.
        found: files by channel of every case.
        middle: levels of folders that vary without naming patient or case.
        unused: images that fit no pattern.
    """

    channels: dict[str, str]
    found: dict[Key, dict[str, Item]]
    middle: frozenset[int] = frozenset()
    unused: list[Item] = field(default_factory=list)


def read_scans(images: Sequence[Item]) -> Scans:
    """Scans by channel and case.

    Raises:
        DataError: two files are one scan by their names.
    """
    depth = Counter(len(one.parts) for one in images).most_common(1)[0][0]
    level = [one for one in images if len(one.parts) == depth]
    apart = [one for one in images if len(one.parts) != depth]
    by_folder = _channel_level(level, depth)
    varying = [
        index
        for index in range(depth)
        if index != by_folder and len({one.parts[index] for one in level}) > 1
    ]
    constant = None if by_folder is not None else _constant_names(level, varying)
    scans = (
        _flat(level, varying, by_folder) if constant is None else _folders(level, varying, constant)
    )
    scans.unused += apart
    return scans


def _channel_level(images: Sequence[Item], depth: int) -> int | None:
    """The level of folders that are named after channels."""
    for index in reversed(range(depth)):
        names = {one.parts[index] for one in images}
        if len(names) > 1 and all((channel_word(name) or ("x",))[:2] == ("", "") for name in names):
            return index
    return None


def _without(name: str, values: Iterable[str], place: str) -> str:
    """A name with its parts that are such values replaced."""
    for value in values:
        name = bounded(value).sub(place, name)
    return name


def bounded(value: str) -> re.Pattern[str]:
    """Where a value stands in a name by itself, not as a part of a longer number or word."""
    before = r"(?<!\d)" if value[:1].isdigit() else r"(?<![A-Za-z])" if value[:1].isalpha() else ""
    after = r"(?!\d)" if value[-1:].isdigit() else r"(?![A-Za-z])" if value[-1:].isalpha() else ""
    return re.compile(before + re.escape(value) + after)


def _constant_names(images: Sequence[Item], varying: Sequence[int]) -> list[str] | None:
    """Names of the files in a case's folder, where every case has a folder of its own."""
    if not varying:
        return None
    folders = Counter(tuple(one.parts[index] for index in varying) for one in images)
    last = varying[-1]
    names = Counter(_without(one.name, [one.parts[last]], CASE) for one in images)
    usual = [name for name, count in names.items() if 2 * count >= len(folders)]
    told = all(channel_word(name) or not re.search(r"\d", name.replace(CASE, "")) for name in usual)
    few = 0 < len(usual) <= _MOST_NAMES and sum(names[name] for name in usual) * 2 > len(images)
    if not few or not (told or len(usual) == len(names) == 1):
        return None
    return sorted(usual)


def _folders(images: Sequence[Item], varying: Sequence[int], names: Sequence[str]) -> Scans:
    """A folder per case, whose files are named alike in each, or after it."""
    last = varying[-1]
    channels = dict(zip(_channel_names(names), names, strict=True))
    found: dict[Key, dict[str, Item]] = defaultdict(dict)
    unused = []
    for one in images:
        name = _without(one.name, [one.parts[last]], CASE)
        channel = next((key for key, value in channels.items() if value == name), None)
        if channel is None:
            unused.append(one)
        else:
            patient = one.parts[varying[0]] if len(varying) > 1 else ""
            _add(found, (patient, one.parts[last]), channel, one)
    first = images[0].parts
    patterns = {
        channel: "/".join((*_places(first, varying, last), name))
        for channel, name in channels.items()
    }
    return Scans(patterns, dict(found), frozenset(varying[1:-1]), unused)


def _places(parts: Sequence[str], varying: Sequence[int], case: int | None) -> list[str]:
    """Folders of a path as parts of a pattern."""
    found = list(parts)
    for index in varying:
        found[index] = CASE if index == case else PATIENT if index == varying[0] else "*"
    return found


def _channel_names(names: Sequence[str]) -> list[str]:
    """What channels are called, by the names of their files."""
    told = []
    for name in names:
        word = channel_word(name)
        plain = name.replace(CASE, "").strip(_SEPARATORS)
        told.append(word[2] if word else plain if plain and len(names) > 1 else "image")
    told = [f"channel_{int(one)}" if re.fullmatch(r"000\d", one) else one for one in told]
    return [one if told.count(one) == 1 else f"{one}_{index}" for index, one in enumerate(told)]


def _flat(images: Sequence[Item], varying: Sequence[int], by_folder: int | None) -> Scans:
    """Scans named after their case, in one folder, or in one per patient or channel."""
    split = {one: _split(one, by_folder) for one in images}
    words = {word for _, _, word, _ in split.values()}
    cases = Counter((one.parts, base) for one, (base, *_) in split.items())
    several = len(words) > 1 and "" not in words
    if by_folder is None and (not several or 2 * sum(n > 1 for n in cases.values()) < len(cases)):
        word = next(iter(words)) if len(words) == 1 else ""
        split = {one: (one.name, "{}", word, one.parts) for one in images}
    frames: dict[str, Counter[str]] = defaultdict(Counter)
    for _, frame, word, _ in split.values():
        frames[word][frame] += 1
    ordered = sorted(frames, key=lambda word: (word.lower().startswith("000"), word))
    named = dict(zip(ordered, _channel_names([word or "image" for word in ordered]), strict=True))
    patterns, found, unused = {}, defaultdict[Key, dict[str, Item]](dict), []
    for one, (base, frame, word, parts) in split.items():
        if frame != frames[word].most_common(1)[0][0]:
            unused.append(one)
            continue
        patient = one.parts[varying[0]] if varying else ""
        _add(found, (patient, base), named[word], one)
        places = _places(parts, varying, None)
        patterns[named[word]] = "/".join((*places, frame.replace("{}", CASE)))
    ordered_patterns = {name: patterns[name] for name in named.values() if name in patterns}
    return Scans(ordered_patterns, dict(found), frozenset(varying[1:]), unused)


def _split(one: Item, by_folder: int | None) -> tuple[str, str, str, tuple[str, ...]]:
    """What names the case, the name with {} in its place, the channel, and the folders."""
    if by_folder is not None:
        return one.name, "{}", one.parts[by_folder], one.parts
    found = channel_word(one.name)
    if found is None:
        return one.name, "{}", "", one.parts
    before, after, word = found
    base = before.rstrip(_SEPARATORS) or after.lstrip(_SEPARATORS)
    if not base:
        return one.name, "{}", "", one.parts
    frame = one.name.replace(base, "{}", 1) if one.name.count(base) == 1 else "{}"
    return (base, frame, word, one.parts) if frame != "{}" else (one.name, "{}", "", one.parts)


def _add(found: Mapping[Key, dict[str, Item]], key: Key, channel: str, one: Item) -> None:
    other = found[key].setdefault(channel, one)
    if other is not one:
        raise DataError(
            f"{other.shown} and {one.shown} are one scan by their names",
            "which of them is meant is not said",
            "keep one of them, or rename the other",
        )
