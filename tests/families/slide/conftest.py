"""Toy bags and toy slides in a working directory of their own."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.families.conftest import working_in

CLASSES = "classes: [normal, tumour]"

BAGS_SPEC = f"""
title: Toy bags
modality: OT
channels: [features]
root: toys
layout: {{kind: bags, file: bags.npz, {CLASSES}}}
simulated: true
licence: CC0
citation: none
"""

SLIDES_SPEC = f"""
title: Toy slides
modality: SM
channels: [rgb]
root: toys
layout: {{kind: slides, table: labels.csv, pattern: "*.tiff", {CLASSES}}}
simulated: true
licence: CC0
citation: none
"""

BAGS = """
data: bags
split: {folds: 3, validation: 0.34}
method: abmil
train: {epochs: 12, standardise: true, device: cpu,
        optimiser: {name: sgd, learning_rate: 0.02, weight_decay: 1.0e-4, schedule: polynomial}}
evaluate: {bootstrap: 100}
"""

SLIDES = """
data: slides
tiles: {size: 32, mpp: 8, tissue: otsu}
encoder: {name: vit_tiny, side: 32}
split: {folds: 2, validation: 0}
method: {name: snuffy, heads: 2, lambda_total: 8}
train: {epochs: 2, device: cpu}
evaluate: {bootstrap: 100}
"""

DINO = """
data: slides
tiles: {size: 32, mpp: 8}
encoder: {name: vit_tiny, side: 32}
method:
  name: dino
  global_crops: {side: 32}
  local_crops: {side: 16, count: 2}
  head: {outputs: 16, hidden: 16, bottleneck: 8}
train: {steps: 3, batch: 4, per_slide: 5, device: cpu, optimiser: {learning_rate: 1.0e-3}}
"""


LESION = """
{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {},
 "geometry": {"type": "Polygon",
              "coordinates": [[[32, 32], [96, 32], [96, 96], [32, 96], [32, 32]]]}}]}
"""
"""64 pixels are 512 µm, more than isolated tumour cells."""


@pytest.fixture
def toys(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the pipelines `bags`, `slides` and `dino` and their data."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    write_toys(directory)
    return directory


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `bags` and `slides` have run, to be copied."""
    folder = tmp_path_factory.mktemp("toys")
    write_toys(folder)
    with working_in(folder):
        for name in ("bags", "slides"):
            run(load_config(name), QuietReporter())
    return folder


def write_toys(directory: Path) -> None:
    """Pipelines, specs and data."""
    for folder, files in {
        "data_specs": {"bags": BAGS_SPEC, "slides": SLIDES_SPEC},
        "pipelines": {"bags": BAGS, "slides": SLIDES, "dino": DINO},
    }.items():
        (directory / folder).mkdir()
        for name, text in files.items():
            (directory / folder / f"{name}.yaml").write_text(text)
    (directory / "data" / "toys").mkdir(parents=True)
    write_bags(directory / "data" / "toys" / "bags.npz")
    write_slides(directory / "data" / "toys")


def write_bags(path: Path, bags: int = 24, width: int = 4) -> None:
    """Bags of 2 to 6 instances; in a positive one the first instance is far out."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 7, bags)
    labels = np.arange(bags) % 2
    rows = rng.normal(5, 2, (int(sizes.sum()), width)).astype(np.float32)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows[first[labels == 1], 0] += 16
    np.savez(path, X=rows, bag=np.repeat(np.arange(bags), sizes), y=labels, sizes=sizes)


def write_slides(folder: Path) -> None:
    """Four slides with two patients of each class; one more without a row in the table."""
    rng = np.random.default_rng(1)
    rows = ["slide,label,patient,annotation"]
    for number in range(5):
        pixels = np.full((160, 192, 3), 244, np.uint8)
        stain = (150, 60, 140) if number % 2 else (90, 80, 190)
        pixels[32:128, 32:160] = np.array(stain) + rng.integers(-30, 30, (96, 128, 3))
        resolution = {"resolution": (1250, 1250), "resolutionunit": "CENTIMETER"}  # 8 µm a pixel
        tifffile.imwrite(
            folder / f"s{number}.tiff", pixels, tile=(64, 64), photometric="rgb", **resolution
        )
        if number < 4:
            outline = "lesion.geojson" if number % 2 else ""
            label = ("normal", "tumour")[number % 2]
            rows.append(f"s{number}.tiff,{label},p{number},{outline}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "lesion.geojson").write_text(LESION)
