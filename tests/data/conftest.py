"""Small data sets on disk, made whole; each test breaks what it is about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.classes import refuse
from medssl.data.geometry import Geometry
from medssl.data.layout import Layout
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.read import read_radiograph
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError
from medssl.transforms.crops import CropPreparation
from medssl.transforms.radiograph_chain import RadiographPreprocess

SHAPE = (6, 7, 8)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))


def refusing(layout: Layout) -> Callable[[DataSpec, Path], list[Case]]:
    """The cases of a layout, whose faults are refused."""

    def cases(spec: DataSpec, root: Path) -> list[Case]:
        found, faults = layout.find(spec, root)
        refuse(faults)
        return found

    return cases


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


def crops_of(image: Radiograph, word: Any) -> np.ndarray:
    """The crops [V, S, S] that a chain, or a word with its keys, makes of a radiograph."""
    return CropPreparation(RadiographPreprocess.of(word))(image)


def write_dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A radiograph as a DICOM file; `tags` replace or join its own, None takes one away."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    plain = {
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    for name, value in {**plain, **tags}.items():
        if value is not None:
            setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)
    return path


def radiographs(root: Path, table: str, **options: Any) -> DataSpec:
    """A data spec of radiographs with three grades for `root`, and its table."""
    (root / "labels.csv").write_text(table, encoding="utf-8")
    layout = {"kind": "radiographs", "classes": ["none", "mild", "severe"], **options}
    return declare(root, channels=["radiograph"], labels=[], modality="CR", layout=layout)


def read_or_named(path: Path) -> bool:
    """Whether a radiograph is read whole, or refused by a sentence with its name."""
    try:
        return bool(np.isfinite(read_radiograph(path).pixels).all())
    except DataError as error:
        return path.name in str(error) and "4711" not in str(error)
