"""The volumes in a series: by examination, direction and size, then by echo, phase and the like.

Slices that were given several times are taken once; what lies at one position and is not told apart
by any tag stays together, for the series to refuse.
"""

from collections.abc import Sequence
from contextlib import suppress
from filecmp import cmp
from typing import Any

import numpy as np

from medssl.data.dicom.examinations import numbered
from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE
from medssl.data.dicom.tags import Slice
from medssl.data.dicom.values import plane_of
from medssl.errors import DataError

_ON_ONE_PLACE = 1e-3

Stack = tuple[str, list[Slice]]
"""What tells a volume from the others of its series, in words, and its slices."""

_MARKS: dict[str, tuple[Any, ...]] = {
    "echo time": ("EchoTime",),
    "b-value": ("DiffusionBValue", 0x0019100C, 0x00431039, 0x20011003),
    "gradient": ("DiffusionGradientOrientation",),
    "phase": ("TemporalPositionIdentifier",),
    "trigger time": ("TriggerTime",),
    "image type": ("ImageType",),
    "inversion time": ("InversionTime",),
    "acquisition": ("AcquisitionNumber",),
    "acquisition time": ("AcquisitionTime",),
}
"""Tags that tell volumes apart, in this order; those of several vendors say the same."""


def stacks_of(slices: Sequence[Slice]) -> tuple[list[Stack], int]:
    """The volumes of one series, and how many slices were given more than once."""
    kept, copies = _without_copies(slices)
    numbers = numbered([one.examination for one in kept])
    found: list[Stack] = []
    for number in sorted(set(numbers)):
        own = [one for one, of in zip(kept, numbers, strict=True) if of == number]
        words = f"examination {number + 1}" if max(numbers) else ""
        found += [(_joined(words, part), stack) for part, stack in _of_examination(own)]
    return found, copies


def _of_examination(slices: Sequence[Slice]) -> list[Stack]:
    """The volumes of one examination in a series."""
    groups: dict[tuple[Any, ...], list[Slice]] = {}
    for one in slices:
        key = (*np.round(one.directions, 2).ravel().tolist(), one.shape, one.spacing)
        groups.setdefault(key, []).append(one)
    found: list[Stack] = []
    for number, group in enumerate(groups.values(), start=1):
        direction = f"direction {number}" if len(groups) > 1 else ""
        found += [(_joined(direction, part), stack) for part, stack in _apart(group)]
    return found


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Slices that were not there before; careless exports give several one identity."""
    known: dict[Any, list[Slice]] = {}
    for one in slices:
        alike = known.setdefault((one.uid or one.path, one.frame), [])
        if not any(_is_copy(one, other) for other in alike):
            alike.append(one)
    kept = [one for alike in known.values() for one in alike]
    return kept, len(slices) - len(kept)


def _is_copy(one: Slice, other: Slice) -> bool:
    """Whether two slices of one identity lie at one place and hold the same values."""
    if one.shape != other.shape or np.abs(one.place - other.place).max() > _ON_ONE_PLACE:
        return False
    if one.frame == other.frame and cmp(one.path, other.path, shallow=False):
        return True
    try:
        return np.array_equal(plane_of(one), plane_of(other))
    except DataError:  # whoever reads the volume refuses it with its reason
        return False


def _apart(slices: list[Slice]) -> list[Stack]:
    if not _repeats(slices):
        return [("", slices)]
    marks = [_marks(one) for one in slices]
    for name in _MARKS:
        groups: dict[str, list[Slice]] = {}
        for one, mark in zip(slices, marks, strict=True):
            groups.setdefault(mark.get(name, ""), []).append(one)
        if len(groups) > 1 and _tells_apart(slices, groups):
            found = []
            for value in sorted(groups, key=_in_order):
                for part, stack in _apart(groups[value]):
                    found.append((_joined(f"{name} {value}", part), stack))
            return found
    return [("", slices)]


def _tells_apart(slices: list[Slice], groups: dict[str, list[Slice]]) -> bool:
    """Whether the groups hold fewer slices at one position than all together."""
    most = _most_on_one_place(slices)
    return all(_most_on_one_place(group) < most for group in groups.values())


def _repeats(slices: list[Slice]) -> bool:
    return _most_on_one_place(slices) > 1


def _most_on_one_place(slices: list[Slice]) -> int:
    normal = np.cross(*slices[0].directions)
    depths = np.sort([float(normal @ one.place) for one in slices])
    groups = np.cumsum(np.diff(depths, prepend=depths[0]) > _ON_ONE_PLACE)
    return int(np.bincount(groups).max())


def _marks(one: Slice) -> dict[str, str]:
    """What each kind of mark says of a slice, as far as its file or frame states it."""
    if one.marks is not None:
        return dict(one.marks)
    try:
        header = read_header(
            one.path, specific_tags=[tag for tags in _MARKS.values() for tag in tags]
        )
    except DAMAGE:
        return {}
    found = {}
    for name, tags in _MARKS.items():
        values = (_value(header, tag) for tag in tags)
        if value := next(filter(None, values), ""):
            found[name] = value
    return found


def _value(header: Any, tag: Any) -> str:
    with suppress(*DAMAGE):
        value = header[tag].value
        if isinstance(value, bytes):
            value = _private_number(value)
        many = isinstance(value, Sequence) and not isinstance(value, str)
        if many and tag == 0x00431039:  # GE adds 1e9, and other numbers behind it
            return f"{int(float(value[0])) % 100000}"
        return "\\".join(map(str, value)) if many else _short(value)
    return ""


def _private_number(value: bytes) -> Any:
    text = value.decode("latin-1").strip(" \0")
    return text.split("\\") if "\\" in text else text


def _short(value: Any) -> str:
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return str(value).strip()


def _in_order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
