"""Toy radiographs in a working directory of their own: joints whose gap narrows with the grade."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.families.conftest import working_in

SIDE = 40
FEW = ["train.steps=4"]

SPEC = """
title: Toy joints
modality: CR
channels: [radiograph]
root: joints
layout:
  kind: radiographs
  columns: {side: side}
  classes: [none, mild, severe]
simulated: true
licence: CC0
citation: none
"""

PIPELINE = """
title: Toy joints
data: joints
split: {labels: 4, validation: null}
preprocess: {joint: {field: null, grid: 40, rows: [10, 30], columns: 20, side: 20}}
network: {width: 4, init: he, dropout: 0}
method: supervised_grading
augment: {semixup: {noise_chance: 0, rotation: 2, pad: 1, gamma_chance: 0}}
train:
  steps: 60
  batch_labelled: 6
  batch_unlabelled: 6
  validate_every: 20
  device: cpu
  threads: 1
  optimiser: {learning_rate: 0.01}
evaluate: {bootstrap: 100, overlays: 2}
"""

STUDY = """
title: Toy study
pipeline: joints
labels: [2, 4]
seeds: [0, 1]
arms:
  supervised_mixup: [method=supervised_mixup, train.steps=4]
  pi_model: [method=pi_model, train.steps=4]
reference: supervised_mixup
"""


@pytest.fixture
def joints(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the data set `joints`, its spec, its pipeline and a study."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    declare_joints(directory)
    return directory


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `joints` has run, whole and with `FEW` steps, to be copied."""
    folder = tmp_path_factory.mktemp("joints")
    declare_joints(folder)
    with working_in(folder):
        run(load_config("joints"), QuietReporter())
        run(load_config("joints", FEW), QuietReporter())
    return folder


def declare_joints(directory: Path) -> None:
    """Pipelines, spec and data."""
    for place, text in {
        "data_specs/joints.yaml": SPEC,
        "pipelines/joints.yaml": PIPELINE,
        "pipelines/joints_study.yaml": STUDY,
    }.items():
        (directory / place).parent.mkdir(exist_ok=True)
        (directory / place).write_text(text)
    write_joints(directory / "data" / "joints")


def draw_joint(grade: int, rng: np.random.Generator) -> np.ndarray:
    """[SIDE, SIDE] uint8: two bright bars, 12 - 5 * grade pixels apart."""
    image = rng.integers(0, 40, (SIDE, SIDE))
    middle, half = SIDE // 2 + int(rng.integers(-1, 2)), 6 - 2.5 * grade
    rows = np.arange(SIDE)
    image[np.abs(rows - middle) > half] += 180
    return image.astype(np.uint8)


def write_joints(folder: Path) -> None:
    """24 graded images to train with, 9 to validate, 12 to test, 10 without a grade."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["file,grade,patient,split,side"]
    for part, count in (("train", 24), ("val", 9), ("test", 12), ("", 10)):
        for number in range(count):
            name, grade = f"{part or 'bare'}{number}", number % 3
            Image.fromarray(draw_joint(grade, rng)).save(folder / f"{name}.png")
            side = "LR"[number % 2]
            lines.append(f"{name}.png,{grade if part else ''},p{name},{part},{side}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
