"""Masks of one structure each, as TotalSegmentator writes them: told by what is left of names.

What a mask's name has beside its case, `{case}/segmentations/liver`, differs between structures in
one place alone, and words there are of no person or version: `seg_1` and `seg_final` are two masks
of one thing.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, takewhile

import numpy as np

from medssl.data.found.items import Item
from medssl.data.found.matching import Matched, affixes, shortened, under
from medssl.data.found.scans import Key, Scans, bounded
from medssl.data.found.words import (
    CHANNELS,
    MASKS,
    PARTS,
    SCANS,
    SITES,
    VERSIONS,
    VISITS,
    words_of,
)
from medssl.data.layouts.glob import CASE, LABEL, PATIENT
from medssl.data.volume import read_mask
from medssl.errors import DataError, MedsslError
from medssl.names import some_of, unfit

_WORDS = re.compile(r"([_\-. ]+)")
_SAMPLE = 64
_FEW = 6
"""So many structures at most are compared by their voxels."""
_ALIKE, _SAME, _INSIDE = 0.5, 0.98, 0.98
"""Dice of masks that may be two people's, and that are; and the share of a structure in another."""

_OTHERS = MASKS | VERSIONS | CHANNELS | PARTS | SITES | SCANS

Structures = dict[str, Item]
"""Masks of one scan by the name of the structure."""


@dataclass(frozen=True)
class Parted:
    """Scans and the masks of their structures under one rule.

    Attributes:
        names: of the structures, the largest first.
        by_case: the masks of each case that has any; its key has the shared part alone.
    """

    matched: Matched
    names: Sequence[str]
    by_case: Mapping[Key, Structures]


def structures(scans: Scans, masks: Sequence[Item]) -> Parted | None:
    """The structures that masks are of, one each; None where they are not.

    Raises:
        DataError: masks of a scan mark much the same, or hold several values.
    """
    if not masks:
        return None
    for affix in affixes(scans, masks[:: max(1, len(masks) // _SAMPLE)]):
        known = {short: key for key in scans.found if (short := shortened(key, affix))}
        placed = [
            [_placed(one, known, scans.middle, whole) for one in masks] for whole in (True, False)
        ]
        kinds = [{pattern for pattern, _ in filter(None, one)} for one in placed if None not in one]
        if any(len(one) == 1 for one in kinds):  # each scan has one mask
            return None
        fitting = [one for one in map(partial(_split, masks), placed) if one is not None]
        if fitting:  # with the fewest structures: in others the name of a case is part of one
            pattern, by_case = min(fitting, key=lambda one: len(set().union(*one[1].values())))
            matched = Matched(under(scans, affix), pattern, masks)
            return Parted(matched, _by_size(by_case), by_case)
    return None


def _split(
    masks: Sequence[Item], placed: Sequence[tuple[str, Key] | None]
) -> tuple[str, dict[Key, Structures]] | None:
    """The pattern of all masks and what each is of; None where one pattern does not fit all."""
    kinds = {pattern for pattern, _ in filter(None, placed)}
    if None in placed:
        return None
    family = _family(sorted(kinds))
    if family is None:
        return None
    before, after = family
    by_case: dict[Key, Structures] = defaultdict(dict)
    for one, (pattern, key) in zip(masks, filter(None, placed), strict=True):
        name = pattern[len(before) : len(pattern) - len(after)]
        if not _names_a_structure(name) or name in by_case[key]:
            return None
        by_case[key][name] = one
    several = sum(len(one) > 1 for one in by_case.values())
    return (before + LABEL + after, dict(by_case)) if several else None


def _placed(
    one: Item, known: Mapping[Key, Key], middle: frozenset[int], whole: bool
) -> tuple[str, Key] | None:
    """The name of a mask with {case} in place of its case, and the case with the longest name.

    Args:
        whole: whether the case is the whole name of a folder; else a part of names.
    """
    parts = ["*" if index in middle else part for index, part in enumerate(one.plain.split("/"))]
    fitting = [
        (patient, case)
        for patient, case in known
        if (not patient or patient in parts)
        and (case in parts if whole else bounded(case).search(one.plain))
    ]
    if not fitting:
        return None
    patient, case = max(fitting, key=lambda key: len(key[1]))
    if whole:
        text = "/".join(CASE if part == case else part for part in parts)
    else:
        text = bounded(case).sub(CASE, "/".join(parts))
    return (bounded(patient).sub(PATIENT, text) if patient else text), (patient, case)


def _family(patterns: Sequence[str]) -> tuple[str, str] | None:
    """What stands before and after the one place in which patterns differ, as whole words."""
    before = _beginning(patterns)
    after = _beginning([one[len(before) :][::-1] for one in patterns])[::-1]
    inner = max(before.rfind("/"), before.rfind("}")) + 1
    before = before[:inner] + "".join(_led(_WORDS.split(before[inner:])))
    outer = min((place for sign in "/{" if (place := after.find(sign)) >= 0), default=len(after))
    after = "".join(_led(_WORDS.split(after[:outer])[::-1])[::-1]) + after[outer:]
    names = [one[len(before) : len(one) - len(after)] for one in patterns]
    plain = all(names) and not any(set(name) & set("/{}*") for name in names)
    return (before, after) if plain else None


def _beginning(texts: Sequence[str]) -> str:
    """The letters that all texts begin with."""
    first, last = min(texts), max(texts)
    pairs = zip(first, last, strict=False)
    return first[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


def _led(pieces: Sequence[str]) -> list[str]:
    """The first pieces that are no part of a structure's name: separators, and words for masks."""
    kept = []
    for number, piece in enumerate(pieces, start=1):
        parted = piece.lower() in MASKS and number < len(pieces)
        if not (parted or _WORDS.fullmatch(piece) or not piece):
            break
        kept.append(piece)
    return kept


def _names_a_structure(name: str) -> bool:
    """Whether it has a word that is of no person, version or mask."""
    words = {word for word in words_of(name) if len(word) > 1 and not word.isdigit()}
    return bool(words - MASKS - VERSIONS) and not unfit(name)


def only_structure(mask: str, images: Iterable[str]) -> str:
    """What masks show of which each scan has one, by the name of their files; else nothing.

    `{case}/segmentations/liver` and `{case}_liver_mask` say liver; `{case}_seg` says nothing, nor
    does a word that scans have in their names too.

    Args:
        mask: pattern of the masks without the ending.
        images: patterns of the scans.
    """
    _, _, own = mask.rpartition("/")
    pieces = _WORDS.split(own.replace(CASE, "").replace(PATIENT, ""))
    pieces = pieces[len(_led(pieces)) :]
    name = "".join(pieces[: len(pieces) - len(_led(pieces[::-1]))])
    words, scans = set(words_of(name)), {word for one in images for word in words_of(one)}
    told = {word for word in words - VISITS if len(word) > 2 and word.isalpha()}
    return name if told and not words & (_OTHERS | scans) and not unfit(name) else ""


def _by_size(by_case: Mapping[Key, Structures]) -> list[str]:
    """The structures, the largest first, by the first mask of each.

    Raises:
        DataError: masks of a scan mark much the same, or one holds several values.
    """
    first: Structures = {}
    for one in by_case.values():
        for name, item in one.items():
            first.setdefault(name, item)
    _refuse_other_case(first)
    sizes = dict[str, int]()
    for name, item in first.items():
        array = _voxels(item)
        _refuse_several(item, array, by_case.values())
        sizes[name] = int(np.count_nonzero(array))
    fullest = max(by_case.values(), key=len)
    if len(fullest) <= _FEW:
        _refuse_alike(fullest)
    return sorted(sizes, key=lambda name: (-sizes[name], name))


def _refuse_other_case(names: Iterable[str]) -> None:
    """Refuse names that are one to a reader and two to a computer."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.casefold()].append(name)
    for several in alike.values():
        if len(several) > 1:
            raise DataError(
                f"structures are called {' and '.join(sorted(several))}",
                "these differ in upper and lower case alone, and each would be a label of its own",
                "give a structure one name in all files",
            )


def _voxels(item: Item) -> np.ndarray:
    """The voxels of the mask of one structure; none of a file that cannot be read."""
    try:
        return read_mask(item.path).array
    except MedsslError:  # told when all masks are read
        return np.zeros(0, np.uint8)


def _refuse_several(item: Item, array: np.ndarray, cases: Iterable[Structures]) -> None:
    """Refuse a mask of several structures that is not the only one of its scan."""
    values = np.setdiff1d(array, 0).tolist()
    if len(values) < 2:
        return
    scan = next(one for one in cases if item in one.values())
    others = [one.shown for one in scan.values() if one is not item]
    beside = f", beside {some_of(others)}," if others else ""
    raise DataError(
        f"{item.shown}{beside} holds the values {some_of([str(value) for value in values])}",
        "one mask of all structures is learnt per scan, or one of each with one value",
        "keep one and move the other to another folder if two people drew them; else join or split "
        "them",
    )


def _refuse_alike(masks: Structures) -> None:
    """Refuse masks that show the same, as two people draw it, whatever they are called."""
    marked = {name: _voxels(item) != 0 for name, item in masks.items()}
    for one, other in combinations(marked, 2):
        first, second = marked[one], marked[other]
        small, both = min(first.sum(), second.sum()), first.sum() + second.sum()
        if first.shape != second.shape or not small:
            continue
        shared = int((first & second).sum())
        dice = 2 * shared / both
        if dice > _SAME or (dice > _ALIKE and shared < _INSIDE * small):
            raise DataError(
                f"{masks[one].shown} and {masks[other].shown} mark much the same",
                f"Dice {dice:.2f}, as two people's masks of one structure do; one mask is learnt",
                "keep one and move the other to another folder, or join them into one",
            )
