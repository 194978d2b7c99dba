"""The page of all predicted masks, by doubt."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from medssl.data.volume import read_mask, read_volume
from medssl.evaluate.masks_page import MOST, MaskCard, Ranges, draw_mask, write_masks_page
from medssl.evaluate.study_page import preview_of
from medssl.families.segment.asked import Asked
from medssl.families.segment.report import REPORT
from medssl.infer.measure import Measured, ranked
from medssl.pipeline.inputs import paths_of


def write_index(
    path: Path, title: str, about: str, asked: Asked, measured: Mapping[str, Measured]
) -> list[str]:
    """Write the page of all cases; returns them in its order."""
    order = ranked(measured, asked.found.empty_masks, asked.limit)
    cards = _cards(asked, measured, order[:MOST])
    pictures = any(one.unit != "ml" for one in measured.values())
    ranges, classes = _ranges(measured), asked.found.classes
    write_masks_page(path, title, about, cards, classes, len(order), pictures, ranges)
    return order


def _ranges(measured: Mapping[str, Measured]) -> Ranges:
    """What stands in brackets behind sizes."""
    if any(one.factors for one in measured.values()):
        return "left out"
    return "networks" if any(one.members for one in measured.values()) else ""


def _cards(asked: Asked, measured: Mapping[str, Measured], order: list[str]) -> Iterator[MaskCard]:
    """What the page shows of each case."""
    limit = asked.limit
    for name in order:
        one, page = measured[name], f"{name}{REPORT}" if asked.settings.report else ""
        png = preview_of(asked.out / page) if page else _drawn(asked, name)
        said = [f"{label.name} {one.said(index)}" for index, label in enumerate(asked.found.labels)]
        yield MaskCard(name, one.doubt, one.empty, said, png, one.unlike(limit), page)


def _drawn(asked: Asked, name: str) -> bytes:
    """The picture of a case; image, mask and map are read again."""
    values = np.zeros(256, np.uint8)
    values[list(asked.found.label_values)] = np.arange(len(asked.found.label_values))
    image, names = read_volume(paths_of(asked.cases[name]), resample=True), asked.names(name)
    mask = read_mask(asked.out / names[0])
    unsure = asked.out / next((one for one in names if "_entropy." in one), "_entropy")
    entropy = read_volume(unsure).array[0] if unsure.is_file() else None
    return draw_mask(image.array[0], values[mask.array[0]], image.geometry, entropy)
