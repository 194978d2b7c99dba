"""Tiny pyramids on disk, and real outlines of 110 slides of CAMELYON16."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from medssl.data.slide.annotation import Annotation
from medssl.data.slide.annotation_files import read_annotation

BACKGROUND, STAIN = 244, (150, 60, 140)


def painted(size: tuple[int, int], tissue: tuple[int, int, int, int], seed: int = 0) -> np.ndarray:
    """[H, W, 3] uint8: noisy stain in the box (left, top, right, bottom), bright elsewhere."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    left, top, right, low = tissue
    part = pixels[top:low, left:right]
    part[...] = np.array(STAIN) + rng.integers(-40, 40, part.shape)
    return pixels


def write_levels(
    path: Path, levels: list[np.ndarray], mpp: float | None = 0.5, about: str | None = None
) -> Path:
    """A tiled TIFF with these levels, uint8 [H, W, 3] each; `about` is its description."""
    scale = {"resolution": (1.0, 1.0), "resolutionunit": "NONE"}
    if mpp is not None:
        scale = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level,
                tile=(64, 64),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(number > 0),
                description=about,
                metadata=None,
                **scale,
            )
    return path


def write_slide(
    path: Path,
    size: tuple[int, int] = (500, 400),
    tissue: tuple[int, int, int, int] = (100, 100, 300, 300),
    mpp: float | None = 0.5,
    seed: int = 0,
    about: str | None = None,
) -> np.ndarray:
    """A slide of three levels, each half of the one before; returns level 0."""
    pixels = painted(size, tissue, seed)
    write_levels(path, [pixels, pixels[::2, ::2], pixels[::4, ::4]], mpp, about)
    return pixels


@pytest.fixture(scope="session")
def camelyon16(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Annotation]:
    """Annotation of each training slide with tumour, by its name."""
    path = shared_data / "camelyon16_meta" / "c16_train_tumor_polygons.json.gz"
    with gzip.open(path) as stream:
        slides = json.load(stream)
    file = tmp_path_factory.mktemp("outlines") / "slide.json"
    found = {}
    for name, polygons in slides.items():
        file.write_text(json.dumps(polygons))
        found[name] = read_annotation(file)
    return found
