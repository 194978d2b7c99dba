"""Toy data sets of every family with their specs and pipelines, small enough to train in seconds.

Each function fills a working directory: `data/`, `data_specs/` and `pipelines/`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.families.grade.conftest import PIPELINE as JOINTS
from tests.families.grade.conftest import SPEC as JOINTS_SPEC
from tests.families.grade.conftest import STUDY as JOINTS_STUDY
from tests.families.grade.conftest import write_joints
from tests.families.pretrain.conftest import ENCODER, MASKS, STUDY
from tests.families.pretrain.conftest import SPEC as HEADS_SPEC
from tests.families.slide.conftest import (
    BAGS,
    BAGS_SPEC,
    DINO,
    SLIDES,
    SLIDES_SPEC,
    write_bags,
    write_slides,
)
from tests.pipeline.conftest import PIPELINE as BALLS
from tests.pipeline.conftest import SPEC as BALLS_SPEC

BALLS_STUDY = """
title: Toy study
pipeline: balls
labels: [2, 4]
seeds: [0, 1]
arms: {supervised: [method=supervised], tracoco: [method=tracoco]}
reference: supervised
ceiling: [method=supervised, split.labels=5]
"""

BAGS_STUDY = """
title: Toy study
pipeline: bags
seeds: [0, 1]
arms: {abmil: [method=abmil], max_pool: [method=max_pool]}
reference: abmil
"""


DOTS_SPEC = """
title: Dots
modality: US
channels: [red, green, blue]
labels: [{value: 1, name: dot, colour: '#00ff00'}, {value: 2, name: ring, colour: '#ff0000'}]
root: dots
layout:
  kind: glob
  images: {red: "images/{case}.*", green: "images/{case}.*", blue: "images/{case}.*"}
  label: "masks/{case}.*"
simulated: true
licence: CC0
citation: none
"""

DOTS = """
title: Dots
data: dots
split: {labels: 2, validation: 0.5, test: 2}
preprocess: rgb
network: {name: unet3d, width: 2, levels: 2, norm: instance, dropout: 0}
method: supervised
train: {steps: 2, patch: [8, 8], device: cpu}
evaluate: {bootstrap: 100, overlays: 1}
"""


def balls(place: Path, cases: int = 8, side: int = 12) -> None:
    """Scans of 12^3 voxels with one ball each, and its mask."""
    _declare(place, {"balls": BALLS_SPEC}, {"balls": BALLS, "balls_study": BALLS_STUDY})
    rng = np.random.default_rng(0)
    axes = np.indices((side, side, side))
    for number in range(cases):
        centre = rng.uniform(4, 8, (3, 1, 1, 1))
        mask = (((axes - centre) ** 2).sum(0) < 9).astype(np.uint8)
        image = (mask + 0.1 * rng.normal(size=mask.shape)).astype(np.float32)
        stem = place / "data" / "balls" / f"c{number}"
        write_nifti(Path(f"{stem}.nii.gz"), image, (2.0, 1.0, 1.0))
        write_nifti(Path(f"{stem}_seg.nii.gz"), 3 * mask, (2.0, 1.0, 1.0))


def dots(place: Path, cases: int = 6, rows: int = 20, columns: int = 16) -> None:
    """Pictures of a dot in a ring, in colour as PNG, and their masks in colours."""
    from PIL import Image

    _declare(place, {"dots": DOTS_SPEC}, {"dots": DOTS})
    rng = np.random.default_rng(0)
    axes = np.indices((rows, columns))
    for folder in ("images", "masks"):
        (place / "data" / "dots" / folder).mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        away = ((axes - rng.uniform(6, 10, (2, 1, 1))) ** 2).sum(0)
        values = np.where(away < 9, 1, np.where(away < 20, 2, 0))
        colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
        image = (60 + 60 * values[..., None] + rng.integers(0, 20, (rows, columns, 3))).astype("u1")
        Image.fromarray(image).save(place / "data" / "dots" / "images" / f"d{number}.png")
        mask = Image.fromarray(colours[values])
        mask.save(place / "data" / "dots" / "masks" / f"d{number}.png")


def heads(place: Path, patients: int = 5, side: int = 14) -> None:
    """Two contrasts of each of a few patients, for pre-training."""
    _declare(
        place, {"heads": HEADS_SPEC}, {"encoder": ENCODER, "masks": MASKS, "heads_study": STUDY}
    )
    rng = np.random.default_rng(0)
    for patient in range(patients):
        anatomy = rng.random((side, side, side)).astype(np.float32) + 0.5
        stem = place / "data" / "heads" / f"p{patient}"
        write_nifti(Path(f"{stem}_t1.nii.gz"), anatomy)
        write_nifti(Path(f"{stem}_t2.nii.gz"), 2 - anatomy)
        write_nifti(Path(f"{stem}_seg.nii.gz"), (anatomy > 1).astype(np.uint8))


def joints(place: Path) -> None:
    """Radiographs as PNG in a table with grades."""
    _declare(place, {"joints": JOINTS_SPEC}, {"joints": JOINTS, "joints_study": JOINTS_STUDY})
    write_joints(place / "data" / "joints")


def slides(place: Path) -> None:
    """Bags of features in one file, and slides of 160 x 192 pixels."""
    _declare(
        place,
        {"bags": BAGS_SPEC, "slides": SLIDES_SPEC},
        {"bags": BAGS, "slides": SLIDES, "dino": DINO, "bags_study": BAGS_STUDY},
    )
    (place / "data" / "toys").mkdir(parents=True, exist_ok=True)
    write_bags(place / "data" / "toys" / "bags.npz")
    write_slides(place / "data" / "toys")


TOYS: dict[str, Callable[[Path], None]] = {
    "balls": balls,
    "dots": dots,
    "heads": heads,
    "joints": joints,
    "slides": slides,
}


def write_nifti(
    path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> None:
    """By nibabel, so that what medssl reads is not what it wrote."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


def _declare(place: Path, specs: dict[str, str], pipelines: dict[str, str]) -> None:
    for folder, texts in (("data_specs", specs), ("pipelines", pipelines)):
        (place / folder).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place / folder / f"{name}.yaml").write_text(text)
