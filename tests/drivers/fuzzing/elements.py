"""Damage to one element of a DICOM file, however deep it lies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from numpy.random import Generator
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from tests.drivers.fuzzing.damage import pick
from tests.drivers.fuzzing.dicom import SYNTAXES, VALUES

ODD: tuple[Any, ...] = (*VALUES, 10**9, -(2**31), "1e400", "1.5", [0.1] * 9, [1e30] * 3, "SEG",
                        "CT", "FRACTIONAL", "BINARY", "T2", "\x00", "../x")  # fmt: skip
"""Values that stand where another was expected."""


def odd_element(path: Path, rng: Generator) -> str:
    """One element removed, emptied or given another value, or items of a sequence changed."""
    with pydicom.config.disable_value_validation():
        for _ in range(20):  # a value that pydicom cannot write is no input
            header = pydicom.dcmread(path)
            try:
                words = _change(header, rng)
                header.save_as(path.with_name("beside"), enforce_file_format=False)
            except Exception:
                continue
            path.with_name("beside").replace(path)
            return words
    path.write_bytes(path.read_bytes()[:-2])
    return "cut by 2 bytes"


def _change(header: Dataset, rng: Generator) -> str:
    if rng.random() < 0.05:
        header.file_meta.TransferSyntaxUID = pick(rng, SYNTAXES)
        return f"TransferSyntaxUID: {header.file_meta.TransferSyntaxUID!r}"
    # By keyword first, so that what is there once is changed as often as what each frame has.
    found: dict[str, list[Dataset]] = {}
    for holder, keyword in _places(header):
        found.setdefault(keyword, []).append(holder)
    keyword = pick(rng, sorted(found))
    chosen = found[keyword] if rng.random() < 0.3 else [pick(rng, found[keyword])]
    how, odd = pick(rng, ("remove", "empty", "odd", "odd", "odd")), pick(rng, ODD)
    for holder in chosen:
        if how == "remove":
            del holder[keyword]
        else:
            element = holder[keyword]
            element.value = _odd(element, rng, odd) if how == "odd" else None
    return f"{keyword} of {len(chosen)}: {how} {str(odd)[:40]!r}"


def _odd(element: DataElement, rng: Generator, odd: Any) -> Any:
    value = element.value
    if element.VR == "SQ":
        return pick(rng, (value[1:], value[:-1], [*value, value[-1]], value[::-1]))
    if element.keyword == "PixelData":
        return pick(rng, (b"", bytes(4), value[:-8], value + bytes(8)))
    return odd


def _places(dataset: Dataset) -> Iterator[tuple[Dataset, str]]:
    """Every element that has a name and a value, with the dataset that holds it."""
    for element in dataset:
        if not element.keyword or (element.VR == "SQ" and not element.value):
            continue
        yield dataset, element.keyword
        if element.VR == "SQ":
            for item in element.value:
                yield from _places(item)
