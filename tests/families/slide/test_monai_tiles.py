"""Networks of MONAI that encode tiles: `encoder: monai:NAME` with the arguments of its class."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
import yaml

from medssl.errors import DataError, UsageError
from medssl.methods.pretrain.dino import Dino
from medssl.networks.image_fpn import ImagePyramid
from medssl.networks.monai_grader_list import known_graders
from medssl.networks.monai_tile_settings import MonaiTileSettings
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.tile_settings import encoder_hash
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.run import train as train_alone
from medssl.train.slide_checkpoint import load_slide_checkpoint
from medssl.train.tile_checkpoint import read_tile_encoder

QUIET = QuietReporter()
DENSENET = (
    "{name: monai:DenseNet121, norm: instance, init_features: 4, growth_rate: 4, "
    "block_config: [1, 1]}"
)
VIT = "{name: monai:ViT, patch_size: 8, hidden_size: 12, mlp_dim: 12, num_layers: 1, num_heads: 2}"
CLASSIFIER = "{name: monai:Classifier, channels: [4, 4], strides: [2, 2]}"
OF_32 = ["method.local_crops.side=32"]  # a class that asks for a side takes no other


def settings(text: str, **more: Any) -> MonaiTileSettings:
    return MonaiTileSettings(**{**yaml.safe_load(text), "side": 32, **more})


@pytest.mark.parametrize(("encoder", "crops"), [(DENSENET, []), (VIT, OF_32), (CLASSIFIER, OF_32)])
def test_it_is_pre_trained_then_encodes_and_is_loaded_again_from_a_copy(
    encoder: str, crops: list[str], toys: Path
) -> None:
    config = load_config("dino", [f"encoder={encoder}", *crops])
    pretrained = train_alone(config, QUIET)["model"]
    found = read_tile_encoder(pretrained)
    assert (found.encoder, set(found.packages)) == (config.pipeline.encoder, {"monai"})
    given = [f"pretrain={pretrained}", f"encoder={encoder}", "method=abmil"]
    done = run(load_config("slides", given), QUIET)
    copytree(done["model"], toys / "copy")
    classifier, described = load_slide_checkpoint(toys / "copy")
    assert described.encoder.name == yaml.safe_load(encoder)["name"]
    assert set(described.packages) == {"monai"}
    learnt = build_tile_encoder(
        described.encoder.model_copy(update={"weights": str(pretrained / "weights.safetensors")}), 5
    )
    tiles = torch.rand(3, 3, 40, 40)
    with torch.inference_mode():
        features = classifier.encoder(tiles)
        assert features.shape == (3, described.width)
        assert torch.equal(learnt.eval()(tiles), features)


def test_a_name_alone_keeps_what_every_encoder_has(toys: Path) -> None:
    config = load_config("slides", ["encoder=monai:DenseNet121", "encoder.growth_rate=8"])
    assert config.resolved()["encoder"] == {
        "name": "monai:DenseNet121",
        "growth_rate": 8,
        "side": 32,
        "normalise": "none",
        "weights": None,
        "matched": 1.0,
    }
    (toys / "again.yaml").write_text(yaml.safe_dump(config.resolved()))
    assert load_config(str(toys / "again.yaml")).resolved() == config.resolved()
    back = load_config(str(toys / "again.yaml"), ["encoder=vit_tiny"]).pipeline.encoder
    assert (back.name, back.side) == ("vit_tiny", 32)


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        ("monai:Densenet121", "did you mean 'monai:DenseNet121'?"),
        ("SEResNet50", "did you mean 'monai:SEResNet50'?"),
        ("monai:UNet", "did you mean 'monai:"),
        (DENSENET.replace("growth_rate", "growth_rat"), "did you mean 'encoder.growth_rate'?"),
        ("{name: monai:DenseNet121, in_channels: 3}", "medssl gives it by itself"),
        ("{name: monai:DenseNet121, adapters: {}}", "monai:DenseNet121 has no such argument"),
        ("monai:ViT", "the key 'encoder.patch_size' is missing"),
        ("{name: monai:DenseNet121, norm: 2026-01-01}", "give numbers, texts"),
        ("{name: monai:DenseNet121, mean: [0.5]}", "give both mean and std"),
    ],
)
@pytest.mark.parametrize("pipeline", ["slides", "dino"])
def test_a_wrong_name_or_argument_is_refused_at_once(
    pipeline: str, encoder: str, sentence: str, toys: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(pipeline, [f"encoder={encoder}"])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        ("{name: monai:EfficientNetBN, model_name: b0}", "cannot be built with its arguments"),
        (DENSENET.replace("[1, 1]", "[1, 1, 1, 1, 1, 1, 1]"), "images of 32 x 32 pixels"),
    ],
)
@pytest.mark.parametrize("pipeline", ["slides", "dino"])
def test_what_a_network_refuses_is_told_before_slides_are_read(
    pipeline: str, encoder: str, sentence: str, toys: Path
) -> None:
    for path in (toys / "data" / "toys").glob("*.tiff"):
        path.write_bytes(b"damaged")
    with pytest.raises(UsageError) as caught:
        train_alone(load_config(pipeline, [f"encoder={encoder}"]), QUIET)
    assert sentence in str(caught.value)


def test_crops_of_another_side_are_refused_where_the_class_asks_for_one(toys: Path) -> None:
    with pytest.raises(UsageError, match=r"encoder.side=32 alone.*method.local_crops.side=32"):
        load_config("dino", [f"encoder={VIT}"])


def test_an_encoder_that_its_description_does_not_build_is_refused(
    toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_tile_encoder(settings(DENSENET, growth_rate=8), 0)
    monkeypatch.setattr(Dino, "encoder", lambda _: other)
    with pytest.raises(UsageError, match=r"encoder.name=monai:DenseNet121 builds is not what"):
        train_alone(load_config("dino", [f"encoder={DENSENET}"]), QUIET)


def test_an_encoder_of_another_kind_is_told_with_all_its_keys(toys: Path) -> None:
    pretrained = train_alone(load_config("dino", [f"encoder={DENSENET}"]), QUIET)["model"]
    with pytest.raises(UsageError) as caught:
        train_alone(load_config("slides", [f"pretrain={pretrained}"]), QUIET)
    said = str(caught.value)
    assert "it is monai:DenseNet121, and the pipeline has encoder.name=vit_tiny" in said
    told = said.split("'encoder=")[1].split("'", maxsplit=1)[0]
    given = [f"pretrain={pretrained}", f"encoder={told}", "method=abmil"]
    assert train_alone(load_config("slides", given), QUIET)["model"].is_dir()


def test_features_belong_to_a_version_of_monai(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = encoder_hash(settings(DENSENET), 0)
    assert own != encoder_hash(settings(DENSENET, growth_rate=8), 0)
    monkeypatch.setattr(MonaiTileSettings, "packages", {"monai": "0.9.1"})
    assert encoder_hash(settings(DENSENET), 0) != own


def test_weights_of_another_version_of_monai_are_told_so(toys: Path) -> None:
    done = run(load_config("slides", [f"encoder={DENSENET}", "method=abmil"]), QUIET)["model"]
    (done / "SHA256SUMS").unlink()
    described = json.loads((done / "checkpoint.json").read_text())
    described["packages"] = {"monai": "0.9.1"}
    described["encoder"]["growth_rate"] = 8
    (done / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"install monai==0.9.1"):
        load_slide_checkpoint(done)


def test_masks_can_be_made_of_its_last_map() -> None:
    pyramid = ImagePyramid(settings(DENSENET), 1)
    (last,) = pyramid.eval()(torch.rand(2, 1, 48, 64))
    assert last.shape == (2, pyramid.widths[0], 6, 8)
    assert pyramid.strides == (8,)
    with pytest.raises(UsageError, match="has no map that masks could be made of"):
        ImagePyramid(settings(VIT), 1)


@pytest.mark.parametrize("name", sorted(known_graders()))
def test_every_class_that_grades_is_offered(name: str, toys: Path) -> None:
    values = {"channels": [4], "strides": [2], "patch_size": 8, "blocks_args_str": ["x"]}
    values |= {"model_name": "efficientnet-b0", "block": "basic", "layers": [1, 1, 1, 1]}
    values |= {"block_inplanes": [4, 4, 4, 4], "groups": 1, "reduction": 2}
    given = {key: values[key] for key in known_graders()[name].required}
    found = load_config("slides", [f"encoder={json.dumps({'name': f'monai:{name}', **given})}"])
    assert found.pipeline.encoder.arguments == given
