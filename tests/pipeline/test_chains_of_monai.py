"""A pipeline that a user of MONAI writes, in MONAI's own words: it trains, predicts and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

OURS = """
preprocess:
  - Orientationd: {axcodes: RAS}
  - Spacingd: {pixdim: [1.5, 1.5, 1.5]}
  - NormalizeIntensityd: {nonzero: true, channel_wise: true}
augment:
  - RandAffined: {prob: 0.2, rotate_range: [0.5, 0.5, 0.5], scale_range: [0.3, 0.3, 0.3]}
  - RandGaussianNoised: {prob: 0.1, std: 0.1}
  - medssl:RandGammaRangePreservingd: {prob: 0.3}
network: {name: monai:SegResNet, init_filters: 16}
"""
FEW = {"steps": 4, "validate_every": 4, "device": "cpu"}
DISCS = """
title: Discs
modality: ultrasound
channels: [grey]
labels: [{value: 1, name: disc}]
root: discs
layout: {kind: glob, images: {grey: "images/{case}.png"}, label: "masks/{case}.png"}
simulated: true
licence: CC0
citation: none
"""


@pytest.fixture
def discs(balls: Path) -> Path:
    """`balls`, with the data set `discs` of pictures beside it."""
    (balls / "data_specs" / "discs.yaml").write_text(DISCS)
    rng, root = np.random.default_rng(0), balls / "data" / "discs"
    rows, columns = np.indices((24, 32))
    for number in range(8):
        centre = rng.uniform(8, 16, 2)
        mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 25).astype(np.uint8)
        image = 60 + 120 * mask + rng.normal(0, 5, mask.shape)
        for folder, array in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / folder / f"d{number}.png")
    return balls


def written(name: str, data: str, patch: list[int]) -> str:
    """The pipeline on a data set, as a file; its name."""
    plain = yaml.safe_load(OURS)
    plain |= {"data": data, "method": "supervised", "train": {**FEW, "patch": patch}}
    plain |= {"split": {"labels": 2, "validation": 0.5, "test": 2}}
    plain |= {"evaluate": {"bootstrap": 100, "overlays": 1}}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return f"{name}.yaml"


def test_volumes_go_through_it_from_files_to_scores(balls: Path) -> None:
    done = run(load_config(written("mine", "balls", [8, 8, 8])), QuietReporter())
    described = json.loads((done["model"] / "checkpoint.json").read_text())
    steps = [next(iter(one)) for one in described["preprocess"]]
    assert steps == ["Orientationd", "Spacingd", "NormalizeIntensityd"]
    assert described["network"]["init_filters"] == 16
    assert done["scores"].read_text().count("\n") == 3


def test_pictures_go_through_the_same_file(discs: Path) -> None:
    done = run(load_config(written("mine", "discs", [16, 16])), QuietReporter())
    described = json.loads((done["model"] / "checkpoint.json").read_text())
    assert described["network"]["spatial_dims"] == 2
    (mask, _) = sorted(Path(done["masks"]).glob("*.png"))
    assert Image.open(mask).size == (32, 24)
