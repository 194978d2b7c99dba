"""Radiographs graded by networks of MONAI that a pipeline names."""

import json
from pathlib import Path
from shutil import copytree

import pytest
import torch
import yaml
from typer.testing import CliRunner

from medssl.cli import app
from medssl.errors import DataError, UsageError
from medssl.methods.grade.supervised_grading import SupervisedGrading
from medssl.networks.ensemble import Ensemble
from medssl.networks.grader import build_grader
from medssl.networks.monai_grader_list import (
    LIST,
    as_text,
    installed_graders,
    known_graders,
)
from medssl.networks.monai_grader_settings import MonaiGraderSettings
from medssl.pipeline.class_keys import describe_class
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.run import train as train_alone
from medssl.train.grade_checkpoint import load_grade_checkpoint

QUIET = QuietReporter()
FEW = ["train.steps=2", "train.validate_every=2"]
DENSENET = (
    "{name: monai:DenseNet121, norm: [group, {num_groups: 2}], init_features: 4, growth_rate: 4, "
    "block_config: [1, 1], dropout: 0}"
)
VIT = "{name: monai:ViT, patch_size: 4, hidden_size: 12, mlp_dim: 12, num_layers: 1, num_heads: 2}"
RESNET = "{name: monai:ResNet, block: basic, layers: [1, 1, 1, 1], block_inplanes: [4, 4, 8, 8]}"
CLASSIFIER = "{name: monai:Classifier, channels: [4, 4], strides: [2, 2], head: cumulative}"


@pytest.mark.parametrize("network", [DENSENET, VIT, RESNET, CLASSIFIER])
def test_it_trains_grades_and_is_loaded_again_from_a_copy(network: str, joints: Path) -> None:
    config = load_config("joints", [f"network={network}", *FEW])
    done = run(config, QUIET)
    assert done["report"].read_text().count("Saliency of") >= 1
    copytree(done["model"], joints / "copy")
    predictor, found = load_grade_checkpoint(joints / "copy")
    assert found.network == config.pipeline.network
    assert found.packages.keys() == {"monai"}
    view = torch.rand(2, 2, 20, 20)
    with torch.inference_mode():
        answers = predictor(view)
        assert answers.shape == (2, 3)
        assert torch.equal(load_grade_checkpoint(done["model"])[0](view), answers)


def test_one_command_trains_it_and_another_grades_a_new_file(joints: Path) -> None:
    rate = "train.optimiser.learning_rate=0.02"
    given = ["run", "joints", f"network={DENSENET}", "split.labels=8", rate]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    (summary,) = Path("runs/joints").glob("evaluate-*/done.json")
    scores = json.loads(summary.read_text())["summary"]
    assert scores["balanced_accuracy"] > 0.6  # of three grades
    (best,) = Path("runs/joints").glob("train-*/checkpoint/best")
    asked = ["predict", str(best), "data/joints/bare0.png", "--out", "graded", "--set", "side=L"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "bare0" in (joints / "graded" / "grades.csv").read_text()


def test_the_side_is_that_of_the_crops(joints: Path) -> None:
    config = load_config("joints", [f"network={VIT}"])
    assert config.resolved()["network"]["side"] == 20
    (joints / "again.yaml").write_text(yaml.safe_dump(config.resolved()))
    assert load_config(str(joints / "again.yaml")).resolved() == config.resolved()
    with pytest.raises(UsageError, match=r"network.side=24 is not that of the crops, 20"):
        load_config("joints", [f"network={VIT}", "network.side=24"])
    with pytest.raises(UsageError, match="leave side out"):
        load_config("joints", [f"network={DENSENET}", "network.side=20"])


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("monai:Densenet121", "did you mean 'monai:DenseNet121'?"),
        ("DenseNet121", "did you mean 'monai:DenseNet121'?"),
        ("monai:UNet", "did you mean 'monai:SENet'?"),
        (DENSENET.replace("growth_rate", "growth_rat"), "did you mean 'network.growth_rate'?"),
        ("{name: monai:DenseNet121, in_channels: 3}", "medssl gives it by itself"),
        ("{name: monai:ViT, pretrained: true}", "medssl gives it by itself"),
        ("monai:ViT", "the key 'network.patch_size' is missing"),
        ("{name: monai:DenseNet121, norm: 2026-01-01}", "give numbers, texts"),
        ("{name: monai:DenseNet121, head: sofmax}", "'softmax'"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_at_once(
    network: str, sentence: str, joints: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("joints", [f"network={network}"])
    assert sentence in str(caught.value)


@pytest.mark.parametrize("method", ["semixup", "mutexmatch", "mixmatch", "ict"])
def test_every_method_takes_batch_norms(method: str, joints: Path) -> None:
    given = [f"network={RESNET}", f"method={method}", *FEW]
    trained = load_grade_checkpoint(train_alone(load_config("joints", given), QUIET)["model"])[0]
    with torch.inference_mode():
        assert bool(trained(torch.rand(2, 2, 20, 20)).isfinite().all())


@pytest.mark.parametrize("given", [DENSENET, VIT, RESNET, CLASSIFIER, "{name: monai:SEResNet50}"])
def test_the_settings_know_whether_there_are_batch_norms(given: str) -> None:
    plain = yaml.safe_load(given)
    if plain["name"] in ("monai:ViT", "monai:Classifier"):
        plain["side"] = 20
    for more in ({}, {"norm": "batch"} if plain["name"] != "monai:SEResNet50" else {}):
        if "ViT" in plain["name"]:
            more = {}  # noqa: PLW2901 - layer norms alone
        settings = MonaiGraderSettings(**{**plain, **more})
        modules = build_grader(settings, 1, 3, seed=0).modules()
        norms = any(isinstance(one, torch.nn.BatchNorm2d) for one in modules)
        assert settings.over_batch == norms


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("{name: monai:EfficientNetBN, model_name: b0}", "cannot be built with its arguments"),
        (DENSENET.replace("[1, 1]", "[1, 1, 1, 1, 1, 1, 1]"), "on crops of 20 x 20 pixels"),
    ],
)
def test_what_a_network_refuses_is_told_before_images_are_read(
    network: str, sentence: str, joints: Path
) -> None:
    for path in (joints / "data" / "joints").glob("*.png"):
        path.write_bytes(b"damaged")
    with pytest.raises(UsageError) as caught:
        train_alone(load_config("joints", [f"network={network}"]), QUIET)
    assert sentence in str(caught.value)


def test_a_network_that_its_description_does_not_build_is_refused(
    joints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Ensemble([torch.nn.Linear(1, 2)])
    monkeypatch.setattr(SupervisedGrading, "predictor", lambda _: other)
    with pytest.raises(UsageError, match="is not what the method trains"):
        train_alone(load_config("joints"), QUIET)


def test_weights_of_another_version_of_monai_are_told_so(joints: Path) -> None:
    trained = train_alone(load_config("joints", [f"network={DENSENET}", *FEW]), QUIET)["model"]
    (trained / "SHA256SUMS").unlink()
    described = json.loads((trained / "checkpoint.json").read_text())
    described["packages"] = {"monai": "0.9.1"}
    described["network"]["growth_rate"] = 8
    (trained / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"install monai==0.9.1"):
        load_grade_checkpoint(trained)


def test_a_frozen_encoder_keeps_its_weights_and_statistics(joints: Path) -> None:
    given = [f"network={RESNET}", "network.frozen=true", *FEW]
    config = load_config("joints", given)
    trained = load_grade_checkpoint(train_alone(config, QUIET)["model"])[0].members[0]
    seeds = 1000 * config.pipeline.seed
    fresh = build_grader(config.pipeline.network, 2, 3, seeds)
    kept, own = trained.encoder.state_dict(), fresh.encoder.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in own.items())
    assert not torch.equal(trained.head.weight, fresh.head.weight)


def test_a_map_and_its_mean_are_what_the_last_layer_was_given(joints: Path) -> None:
    network = build_grader(MonaiGraderSettings(**yaml.safe_load(DENSENET)), 2, 3, 0).eval()
    crops = torch.rand(4, 1, 20, 20)
    maps = network.encoder.maps(crops)
    assert maps.shape[2:] == (2, 2)
    torch.testing.assert_close(network.encoder.network(crops), network.encoder.pool(maps))


def test_the_list_is_that_of_the_installed_monai() -> None:
    """`python -m medssl.networks.monai_grader_list` writes it anew."""
    assert LIST.read_text(encoding="utf-8") == as_text(installed_graders())
    assert {"DenseNet121", "SEResNext50", "ViT", "resnet18"} <= known_graders().keys()


def test_its_arguments_are_told() -> None:
    assert "network.patch_size" in describe_class("monai:ViT")
    assert "that grades images" in describe_class("DenseNet121")
