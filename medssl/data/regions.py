"""Regions: unions of labels, each learnt by itself, and the order in which they are written.

As in nnU-Net's region-based training (sheet of partial labels, section 5): a network says of every
region whether a voxel lies in it; masks are written region after region, later ones over earlier
ones. So tumours of BraTS are learnt as whole, core and enhancing.

Free of numpy, so that a wrong declaration is refused at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """One union of labels.

    Attributes:
        name: for reports and file names.
        classes: indices of the labels that it unites, 1 being the first label.
        written: index of the label that its voxels get in a mask, unless a later region has them.
    """

    name: str
    classes: tuple[int, ...]
    written: int


def brats(labels: Sequence[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Whole tumour, tumour core and enhancing tumour, by the names of the labels.

    Args:
        labels: name and value of each.

    Raises:
        ValueError: oedema, enhancing tumour, or the rest of the core is not among them.
    """
    found: dict[str, list[int]] = {"oedema": [], "enhancing": [], "core": []}
    for name, value in labels:
        found[_part_of_tumour(name)].append(value)
    if missing := [part for part, values in found.items() if not values]:
        wanted = {"oedema": "oedema (ED)", "enhancing": "enhancing tumour (ET)"}
        wanted["core"] = "the rest of the tumour core (NCR, NET)"
        raise ValueError(
            f"regions: brats needs a label for {wanted[missing[0]]}; name the unions yourself"
        )
    core = sorted([*found["core"], *found["enhancing"]])
    return {
        "whole tumour": tuple(sorted([*core, *found["oedema"]])),
        "tumour core": tuple(core),
        "enhancing tumour": tuple(sorted(found["enhancing"])),
    }


def _part_of_tumour(name: str) -> str:
    plain = name.lower()
    if "edema" in plain or "oedema" in plain or plain == "ed":
        return "oedema"
    if ("enhanc" in plain and "non" not in plain) or plain in ("et", "gd-et"):
        return "enhancing"
    return "core"


def regions_of(
    unions: Mapping[str, Sequence[int]],
    labels: Sequence[tuple[str, int]],
    order: Sequence[int] | None = None,
) -> tuple[Region, ...]:
    """Regions in the order of writing.

    Args:
        unions: values of the labels of each region, in the order of writing.
        labels: name and value of each label, in the order of class indices from 1.
        order: the value that each region is written as; None: of each region the first label that
            no later one has.

    Raises:
        ValueError: a union is empty or names a value of no label, the order does not fit, or masks
            written so would not hold each label.
    """
    index = {value: place for place, (_, value) in enumerate(labels, start=1)}
    for name, union in unions.items():
        if not union:
            raise ValueError(f"the region '{name}' unites no label")
        if odd := sorted(set(union) - set(index)):
            raise ValueError(f"the region '{name}' has the value {odd[0]}, which is no label's")
    if order is not None and len(order) != len(unions):
        raise ValueError(
            f"regions_class_order has {len(order)} values, and there are {len(unions)} regions"
        )
    found = []
    for place, (name, union) in enumerate(unions.items()):
        if order is None:
            later = {value for other in list(unions.values())[place + 1 :] for value in other}
            own = [value for value in union if value not in later]
            if not own:
                raise ValueError(
                    f"later regions would be written over all of '{name}': name larger regions "
                    "before smaller ones, or give regions_class_order"
                )
            value = own[0]
        else:
            value = order[place]
            if value not in union:
                raise ValueError(
                    f"regions_class_order writes '{name}' as {value}, which is none of its labels"
                )
        found.append(Region(name, tuple(index[one] for one in dict.fromkeys(union)), index[value]))
    _must_write_every_label(found, [name for name, _ in labels])
    return tuple(found)


def written(regions: Iterable[Region], inside: Iterable[bool]) -> int:
    """Class index that a mask gets where a voxel is inside some regions."""
    label = 0
    for region, is_inside in zip(regions, inside, strict=True):
        if is_inside:
            label = region.written
    return label


def _must_write_every_label(regions: Sequence[Region], names: Sequence[str]) -> None:
    """ValueError where a mask could not be written as it was."""
    for index, name in enumerate(names, start=1):
        found = written(regions, (index in region.classes for region in regions))
        if found == index:
            continue
        if not found:
            raise ValueError(f"the label '{name}' is in no region; unite it with others, or alone")
        raise ValueError(
            f"masks of these regions would hold '{names[found - 1]}' where '{name}' is: "
            f"add a region of '{name}' alone, or change regions_class_order"
        )
