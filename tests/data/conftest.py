"""Small data sets on disk, made whole; each test breaks what it is about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.spec import DataSpec
from medssl.data.volume import write_mask, write_volume

SHAPE = (6, 7, 8)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))


def image(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Noise that differs from seed to seed."""
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def mask(*values: int) -> np.ndarray:
    """A mask with one slab per value."""
    array = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values, start=1):
        array[index] = value
    return array


def declare(root: Path, **keys: Any) -> DataSpec:
    """A data spec for `root`; `keys` replace its own."""
    plain = {
        "name": "toy",
        "title": "Toy",
        "modality": "MR",
        "channels": ["t1"],
        "labels": [{"value": 1, "name": "one"}, {"value": 2, "name": "two"}],
        "root": str(root),
        "layout": {"kind": "decathlon"},
        "licence": "CC0",
        "citation": "none",
    }
    return DataSpec.model_validate({**plain, **keys})


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Decathlon folders without dataset.json: cases a, b, c, each image with its label."""
    for seed, name in enumerate("abc"):
        write_volume(image(seed), GRID, tmp_path / "imagesTr" / f"{name}.nii.gz")
        write_mask(mask(1, 2), GRID, tmp_path / "labelsTr" / f"{name}.nii.gz")
    return tmp_path


@pytest.fixture
def touch(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a file with a name and no content, for what looks at names alone."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return make
