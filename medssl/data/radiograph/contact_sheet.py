"""A picture of some radiographs of a data set as training sees them, before they are cropped."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medssl.data.classes import declared_classes
from medssl.data.mosaic import mosaic
from medssl.data.radiograph.cache import read_case
from medssl.data.spec import Case, DataSpec
from medssl.transforms.radiograph_chain import RadiographPreprocess

_PANEL = 240  # pixels


def radiograph_contact_sheet(spec: DataSpec, cases: Sequence[Case], path: Path) -> Path:
    """Write a panel per image to the PNG `path`: normalised, whole, not mirrored.

    Raises:
        UsageError: there is no case, or `path` does not end in .png.
        DataError: an image cannot be read.
    """
    title = spec.title + " (simulated)" * spec.simulated
    return mosaic(title, _panels(spec, cases), len(cases), _PANEL, path)


def _panels(spec: DataSpec, cases: Sequence[Case]) -> Iterator[tuple[str, np.ndarray]]:
    from medssl.transforms.crops import CropPreparation  # imports MONAI

    grades = declared_classes(spec)
    whole = {"radiograph": {"field": None, "side": _PANEL}}
    prepare = CropPreparation(RadiographPreprocess.of(whole))
    for case in cases:
        image = read_case(case)
        index = case.extra["class"]
        facts = [
            "no grade" if index is None else grades[index],
            f"side {image.side or 'unknown'}",
            " x ".join(map(str, image.pixels.shape)),
        ]
        if image.spacing is not None:
            facts.append(f"{' x '.join(f'{mm:.3g}' for mm in sorted(set(image.spacing)))} mm")
        yield f"{case.id}\n{', '.join(facts)}", prepare(image)[0]
