"""How much of each class the masks show, by which folds are stratified."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medssl.atomic import write_text
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_mask
from medssl.environment import cache_root
from medssl.errors import DataError
from medssl.section import digest
from medssl.train.fingerprint import fingerprint


def foreground(cases: Sequence[Case], spec: DataSpec) -> dict[str, dict[str, float]]:
    """Case to the volume of each class in its mask, ml; classes without a voxel are left out.

    A mask is read once and then known from the cache. One that cannot be read shows nothing here:
    what is wrong with it is said when it is to be learnt from.
    """
    return {case.id: _known(case, case.label, spec) for case in cases if case.label is not None}


def _known(case: Case, mask: Path, spec: DataSpec) -> dict[str, float]:
    labels = [label.model_dump(mode="json") for label in spec.labels]
    key = digest([fingerprint([replace(case, images={})]), labels])
    path = cache_root() / spec.name / "foreground" / f"{case.id}-{key}.json"
    if path.is_file():
        found: dict[str, float] = json.loads(path.read_bytes())
        return found
    try:
        volume = read_mask(mask, spec.labels)
    except DataError:
        return {}
    voxel = float(np.prod(volume.geometry.spacing)) / 1000
    counts = dict(zip(*np.unique(volume.array, return_counts=True), strict=True))
    named = zip(spec.classes[1:], spec.label_values[1:], strict=True)
    found = {name: counts[value] * voxel for name, value in named if counts.get(value)}
    write_text(path, json.dumps(found))
    return found
