"""Which mask belongs to which scan, by their names: one rule for all masks of a folder."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from medssl.data.found.items import Item
from medssl.data.found.scans import Key, Scans, bounded
from medssl.data.layouts.glob import CASE, LABEL, PART, PATIENT
from medssl.errors import DataError

_SAMPLE, _BASES, _OPTIONS = 8, 400, 6
_SEPARATORS = "_-. "

Affix = tuple[str, str]
"""What stands before and after the common part in what names a scan."""


@dataclass(frozen=True)
class Rule:
    """How masks are named.

    Attributes:
        affix: what scans have around the part that masks share with them.
        pattern: of the masks, without the ending.
        matched: the mask of each case, whose key has the shared part alone.
    """

    affix: Affix
    pattern: str
    matched: Mapping[Key, Item]

    @property
    def rank(self) -> tuple[int, int]:
        """More masks first, then longer shared parts."""
        return len(self.matched), -len("".join(self.affix))


@dataclass(frozen=True)
class Matched:
    """Scans and their masks under one rule.

    Attributes:
        scans: with patterns and keys that have the shared part as {case}.
        label: pattern of the masks without the ending; None without masks.
        masks: all of them.
    """

    scans: Scans
    label: str | None
    masks: Sequence[Item]


def match(scans: Scans, masks: Sequence[Item]) -> Matched:
    """The rule under which every mask belongs to one scan.

    Raises:
        DataError: there is none: a mask belongs to no scan, or fits two, or a scan has two masks.
    """
    if not masks:
        return Matched(scans, None, ())
    rules = sorted(_rules(scans, masks), key=lambda one: one.rank, reverse=True)
    if not rules or not rules[0].matched:
        raise DataError(
            f"none of the {len(masks)} masks belongs to a scan by its name, first {masks[0].shown}",
            f"scans are named as {_first(scans).shown}",
            "name each mask like its scan, e.g. masks/NAME for images/NAME",
        )
    best = rules[0]
    for other in rules[1:]:
        if len(other.matched) == len(best.matched) and any(best.affix) == any(other.affix):
            _refuse_two_scans(scans, best, other)
    _refuse_left(scans, best, masks)
    return Matched(under(scans, best.affix), best.pattern, list(best.matched.values()))


def _first(scans: Scans) -> Item:
    return next(iter(next(iter(scans.found.values())).values()))


def _rules(scans: Scans, masks: Sequence[Item]) -> Iterator[Rule]:
    """Rules that a sample of the masks suggests, with all masks that they fit."""
    step = max(1, len(masks) // _SAMPLE)
    sample = masks[::step][:_SAMPLE]
    for affix in affixes(scans, sample):
        known = {short: key for key in scans.found if (short := shortened(key, affix))}
        seen = set()
        for one in sample:
            for pattern in _patterns(one, known, scans.middle):
                if pattern not in seen:
                    seen.add(pattern)
                    yield Rule(affix, pattern, _fitting(pattern, known, masks))


def affixes(scans: Scans, masks: Sequence[Item]) -> list[Affix]:
    """What may stand around the shared part in names of scans; nothing is always possible."""
    counted: Counter[Affix] = Counter()
    for one in masks:
        for _, base in list(scans.found)[:_BASES]:
            affix = next(_around(one.name, base), None)
            if affix is not None:
                counted[affix] += 1
    likely = [affix for affix, _ in counted.most_common(_OPTIONS) if affix != ("", "")]
    return [("", ""), *likely]


def _around(mask: str, base: str) -> Iterator[Affix]:
    """What stands around whole words and numbers that two names share, the longest first."""
    blocks = SequenceMatcher(None, mask, base, autojunk=False).get_matching_blocks()
    for block in sorted(blocks, key=lambda block: block.size, reverse=True):
        shared = base[block.b : block.b + block.size]
        start = block.b + len(shared) - len(shared.lstrip(_SEPARATORS))
        shared = shared.strip(_SEPARATORS)
        before, after = base[:start], base[start + len(shared) :]
        if shared and not _cuts(before, shared) and not _cuts(shared, after):
            yield before, after


def _cuts(left: str, right: str) -> bool:
    """Whether a cut between two parts goes through a number or a word."""
    number = left[-1:].isdigit() and right[:1].isdigit()
    return number or (left[-1:].isalpha() and right[:1].isalpha() and not right[:1].isupper())


def shortened(key: Key, affix: Affix) -> Key | None:
    """What names a case, without what stands around the shared part; None where that is missing."""
    patient, base = key
    before, after = affix
    fits = base.startswith(before) and base.endswith(after) and len(base) > len(before + after)
    return (patient, base[len(before) : len(base) - len(after)]) if fits else None


def _patterns(one: Item, known: Mapping[Key, Key], middle: frozenset[int]) -> Iterator[str]:
    """What the name of one mask would be a pattern of, for each scan that it may belong to."""
    text = one.plain
    near = [key for key in known if key[1] in text and (not key[0] or key[0] in text)]
    near = [key for key in near if bounded(key[1]).search(text)]
    for patient, case in near:
        if any(case != other and case in other for _, other in near):
            continue
        parts = [
            "*" if index in middle else part for index, part in enumerate(one.plain.split("/"))
        ]
        plain = bounded(case).sub(CASE, "/".join(parts))
        yield bounded(patient).sub(PATIENT, plain) if patient else plain


def _fitting(pattern: str, known: Mapping[Key, Key], masks: Sequence[Item]) -> dict[Key, Item]:
    """The masks that a pattern leads to one scan each, by the scans' keys."""
    expression = expressed(pattern)
    found: dict[Key, Item] = {}
    for one in masks:
        fit = expression.fullmatch(one.plain)
        if fit is not None:
            groups = fit.groupdict()
            key = groups.get("patient") or "", groups["case"]
            if key in known:
                found.setdefault(key, one)
    return found


def expressed(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression with the groups case and patient."""
    text, seen = "", set()
    for part in re.split(r"(\{case\}|\{patient\}|\*)", pattern):
        name = part.strip("{}")
        if part == "*":
            text += "[^/]*"
        elif part in (CASE, PATIENT):
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)"
            seen.add(name)
        else:
            text += re.escape(part)
    return re.compile(text)


def _refuse_two_scans(scans: Scans, one: Rule, other: Rule) -> None:
    """Refuse a mask that two equally good rules give to different scans."""
    scan_of = {
        mask: _scan(scans, rule.affix, key)
        for rule in (other,)
        for key, mask in rule.matched.items()
    }
    for key, mask in one.matched.items():
        first, second = _scan(scans, one.affix, key), scan_of.get(mask)
        if second is not None and first is not second:
            raise DataError(
                f"the mask {mask.shown} fits two scans, {first.shown} and {second.shown}",
                "one mask belongs to one scan",
                "name the mask after one of them, or move the other scan to another folder",
            )


def _scan(scans: Scans, affix: Affix, key: Key) -> Item:
    """A file of the scan whose shortened key is given."""
    return next(iter(scans.found[key[0], affix[0] + key[1] + affix[1]].values()))


def _refuse_left(scans: Scans, rule: Rule, masks: Sequence[Item]) -> None:
    """Refuse masks that the best rule does not lead to a scan."""
    used = set(rule.matched.values())
    left = [one for one in masks if one not in used]
    if not left:
        return
    first = left[0]
    for key, mask in rule.matched.items():
        scan = _scan(scans, rule.affix, key)
        there = key[0] in first.plain and bounded(key[1]).search(first.plain)
        if there:
            raise DataError(
                f"{scan.shown} has two masks, {mask.shown} and {first.shown}",
                "one mask is learnt per scan, or one of each structure, e.g. NAME_liver and "
                "NAME_spleen",
                "keep one and move the other to another folder if two people drew them or one is "
                "older; else name each after what it shows",
            )
    example = told(rule.pattern)
    raise DataError(
        f"{len(left)} of the {len(masks)} masks belong to no scan, first {first.shown}",
        f"masks are named as {example} here",
        "add the scan, rename the mask, or move it to another folder",
    )


def under(scans: Scans, affix: Affix) -> Scans:
    """The scans with the shared part of their names alone as {case}."""
    before, after = affix
    found, unused = {}, list(scans.unused)
    for key, files in scans.found.items():
        short = shortened(key, affix)
        if short is None:
            unused += files.values()
        else:
            found[short] = files
    around = before + CASE + after
    channels = {name: one.replace(CASE, around) for name, one in scans.channels.items()}
    return Scans(channels, found, scans.middle, unused)


def told(pattern: str) -> str:
    """A pattern for people: seg_(.+)."""
    named = pattern.replace(CASE, "(.+)").replace(PATIENT, "(patient)").replace(PART, "(part)")
    return named.replace(LABEL, "(structure)")
