"""Two data sets of simulated heads in a working directory of their own, and tiny pipelines."""

from pathlib import Path

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask, write_volume
from medssl.families.pretrain.config import PretrainConfig
from medssl.pipeline.config import load_config

PATIENTS, SIDE = 5, 14

SPEC = """
title: Heads
modality: MR
channels: [t1, t2]
labels: [{value: 1, name: ball}]
root: heads
layout: {kind: glob, images: {t1: "{case}_t1.nii.gz", t2: "{case}_t2.nii.gz"},
         label: "{case}_seg.nii.gz"}
simulated: true
licence: CC0
citation: none
"""

ENCODER = """
title: Encoder of heads
data: heads
network: {name: conv_fpn, width: 2, levels: 2, decoder_width: 2}
method:
  name: modality_invariant
  projector: {hidden: 8, outputs: 8}
  masking: {cell: 4}
  decoder_width: 2
train: {steps: 4, patch: [8, 8, 8], batch_pairs: 2, batch_scans: 2, validate_every: 2, device: cpu}
probe: {patients: 2, windows: 3, pictures: 2}
"""

MASKS = """
title: Balls in heads
data: heads
split: {labels: 2, validation: 0, test: 2}
network: {name: conv_fpn, width: 2, levels: 2, decoder_width: 2, dropout: 0}
method: supervised
train: {steps: 2, patch: [8, 8, 8], device: cpu}
evaluate: {bootstrap: 100, overlays: 0}
"""

STUDY = """
title: Arms on heads
pipeline: encoder
seeds: [0, 1]
arms:
  mim: [method.arm=mim]
  mcl: [method.arm=mcl]
"""


@pytest.fixture
def heads(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the data set `heads` and the pipelines `encoder` and `masks`."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    files = {
        "data_specs/heads.yaml": SPEC,
        "pipelines/encoder.yaml": ENCODER,
        "pipelines/masks.yaml": MASKS,
        "pipelines/heads_study.yaml": STUDY,
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    rng = np.random.default_rng(0)
    grid = Geometry((SIDE, SIDE, SIDE), np.eye(4))
    for patient in range(PATIENTS):
        anatomy = rng.random(grid.shape).astype(np.float32) + 0.5
        stem = directory / "data" / "heads" / f"p{patient}"
        write_volume(anatomy, grid, Path(f"{stem}_t1.nii.gz"))
        write_volume(2 - anatomy, grid, Path(f"{stem}_t2.nii.gz"))
        write_mask((anatomy > 1).astype(np.uint8), grid, Path(f"{stem}_seg.nii.gz"))
    return directory


@pytest.fixture
def encoder(heads: Path) -> PretrainConfig:
    """The pipeline `encoder`."""
    return load_config("encoder")
