"""Masks that no word in their names tells: by what they hold."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from medssl.data.files import PICTURES
from medssl.data.found.items import Item
from medssl.data.volume import read_volume
from medssl.errors import MedsslError

_MOST_ROLES = 64
_MOST_FOLDERS = 8
_MOST_VALUES = 32


def masks_by_content(items: Sequence[Item]) -> list[Item]:
    """Those items whose names are made like that of a file that looks like a mask.

    One file of each way of naming is read; nothing is found where there is one way alone, where
    there are many, or where all look like masks.
    """
    roles: dict[str, list[Item]] = defaultdict(list)
    level = len({len(one.parts) for one in items}) == 1 and all(one.parts for one in items)
    apart = level and len({one.parts[0] for one in items}) <= _MOST_FOLDERS
    for one in items:
        own = one.name.replace(one.parts[-1], "#") if one.parts else one.name
        top = one.parts[0] if apart else ""
        roles[f"{top}/{re.sub(r'[0-9]+', '#', own)}"].append(one)
    if not 1 < len(roles) <= _MOST_ROLES or any(one.ending.lower() in PICTURES for one in items):
        return []
    alike = {role: _looks_like_a_mask(found[0]) for role, found in roles.items()}
    if all(alike.values()):
        return []
    return [one for role, found in roles.items() if alike[role] for one in found]


def _looks_like_a_mask(one: Item) -> bool:
    """Few whole values, most of them 0."""
    if one.ending == "/":
        return False
    try:
        array = read_volume(one.path).array
    except MedsslError:
        return False
    values = np.unique(array)
    whole = len(values) <= _MOST_VALUES and bool((values == np.rint(values)).all())
    small = whole and values[0] == 0 and len(values) > 1 and values[-1] <= 255
    return bool(small and np.count_nonzero(array == 0) * 2 > array.size)
