"""A pipeline that a user of MONAI writes, in MONAI's own words: it trains, predicts and scores."""

import json
from pathlib import Path

import torch
import yaml
from PIL import Image

from medssl.networks.build import build_network
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.checkpoint import read_weights

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
    found = read_weights(done["model"])
    fresh = build_network(load_config("mine.yaml").pipeline.network, 1, 2, seed=0).state_dict()
    learnt = [key for key, one in fresh.items() if not torch.equal(one, found[f"members.0.{key}"])]
    assert len(learnt) == len(fresh)
    assert done["scores"].read_text().count("\n") == 3


def test_pictures_go_through_the_same_file(discs: Path) -> None:
    done = run(load_config(written("mine", "discs", [16, 16])), QuietReporter())
    described = json.loads((done["model"] / "checkpoint.json").read_text())
    assert described["network"]["spatial_dims"] == 2
    (mask, _) = sorted(Path(done["masks"]).glob("*.png"))
    assert Image.open(mask).size == (32, 24)
