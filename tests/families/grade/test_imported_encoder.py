"""Radiographs graded by an encoder of images of another project."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medssl.networks.grader import build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.description import WEIGHTS
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.imported import import_file
from tests.networks.foreign.test_vit import plain_vit

FEW = ["train.steps=2", "train.validate_every=2"]


@pytest.fixture
def encoders(joints: Path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDSSL_ENCODERS", str(joints / "encoders"))
    return joints


def test_grades_from_an_imported_transformer(encoders: Path):
    folder, _ = import_file(plain_vit(encoders, num_attention_heads=4), "theirs")
    chosen = load_config("joints", ["pretrain=theirs", "network.frozen=true", *FEW])
    assert (chosen.pipeline.network.name, chosen.pipeline.network.frozen) == ("images", True)
    done = run(chosen, QuietReporter())
    assert done["report"].is_file()
    network = load_grade_checkpoint(done["model"])[0].members[0]
    given = load_file(folder / WEIGHTS)
    kept = network.encoder.images.state_dict()
    assert given.keys() == kept.keys()
    assert all(torch.equal(kept[name], value) for name, value in given.items())


def test_batch_norms_keep_their_statistics():
    encoder = {"name": "resnet18", "side": 64}
    settings = GraderSettings(name="images", image_encoder=encoder, dropout=0)
    network = build_grader(settings, views=1, grades=3, seed=1).train()
    before = {k: v.clone() for k, v in network.state_dict().items() if "running" in k}
    first = torch.rand(4, 1, 64, 64)
    answers = network(first)
    assert all(torch.equal(network.state_dict()[k], v) for k, v in before.items())
    torch.testing.assert_close(network(first[:1]), answers[:1])


def test_crops_are_shown_in_the_range_of_the_weights():
    """[-1, 1] becomes [0, 1], three equal channels, then mean and deviation of the encoder."""
    tiny = {"name": "vit_tiny", "side": 32, "mean": [0.25] * 3, "std": [0.5] * 3}
    settings = GraderSettings(name="images", image_encoder=tiny, dropout=0)
    network = build_grader(settings, views=2, grades=3, seed=1).eval()
    crops = torch.linspace(-1, 1, 2 * 32 * 32).view(1, 2, 32, 32)
    images = (((crops + 1) / 2 - 0.25) / 0.5).view(2, 1, 32, 32).expand(-1, 3, -1, -1)
    wanted = network.encoder.images.backbone(images).flatten()
    torch.testing.assert_close(network.features(crops).flatten(), wanted)
