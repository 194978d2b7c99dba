"""Networks of MONAI are named in a pipeline, trained, packaged and used like those of medssl."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medssl.data.volume import read_geometry, read_mask
from medssl.errors import DataError, UsageError
from medssl.export.package import export_package
from medssl.families.segment.predict import predict_files
from medssl.networks.build import build_network
from medssl.networks.heads import ManyHeads
from medssl.networks.monai_list import LIST, as_text, installed
from medssl.networks.monai_settings import MonaiSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from medssl.train.checkpoint import load_checkpoint, read_weights
from tests.contract.training import training

SEGMENT = training("segment")
FEW = [4, 4, 4, 4, 4, 4]
DYNUNET = {
    "name": "DynUNet",
    "kernel_size": [[3, 3, 1], 3, 3],
    "strides": [1, [2, 2, 1], 2],
    "upsample_kernel_size": [[2, 2, 1], 2],
    "filters": [4, 8, 8],
}
MEDNEXT = {"init_filters": 4, "kernel_size": 3, "blocks_down": [1, 1], "blocks_up": [1, 1]}
VAE = {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1], "vae_nz": 4}
KL = {
    "channels": [4, 4],
    "num_res_blocks": 1,
    "norm_num_groups": 2,
    "attention_levels": [False] * 2,
}
KL |= {"with_encoder_nonlocal_attn": False, "with_decoder_nonlocal_attn": False}
CODES = {"channels": [4], "num_res_channels": [4], "num_res_layers": 1, "num_embeddings": 4}
CODES |= {"downsample_parameters": [[2, 4, 1, 1]], "upsample_parameters": [[2, 4, 1, 1, 0]]}
VIT = {"patch_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_layers": 1, "num_heads": 2}
TRANSFORMER = {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4, "window_size": 2}

NETWORKS: dict[str, tuple[dict[str, Any], list[int], int]] = {
    # its arguments, the patch, and its heads
    "AttentionUnet": ({"channels": [4, 8], "strides": [2]}, [8, 8, 8], 1),
    "AutoencoderKL": (KL, [8, 8, 8], 1),
    "BasicUNet": ({"features": FEW}, [32, 16, 16], 1),
    "BasicUNetPlusPlus": ({"features": FEW}, [32, 16, 16], 1),
    "BasicUNetPlusPlus, all": ({"features": FEW, "deep_supervision": True}, [32, 16, 16], 4),
    "DynUNet": (DYNUNET, [8, 8, 4], 1),
    "DynUNet, deep": ({**DYNUNET, "deep_supervision": True}, [8, 8, 4], 2),
    "MedNeXt": ({**MEDNEXT, "blocks_bottleneck": 1}, [8, 8, 8], 1),
    "MedNeXt, deep": ({**MEDNEXT, "deep_supervision": True}, [8, 8, 8], 3),
    "SegResNet": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, [8, 8, 8], 1),
    "SegResNetDS": ({"init_filters": 4, "blocks_down": [1, 1, 1], "dsdepth": 2}, [8, 8, 8], 2),
    "SegResNetDS2": ({"init_filters": 4, "blocks_down": [1, 1, 1], "dsdepth": 2}, [8, 8, 8], 4),
    "SegResNetVAE": (VAE, [8, 8, 8], 1),
    "SwinUNETR": (TRANSFORMER, [64, 32, 32], 1),
    "UNETR": ({"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "feature_size": 4}, [16] * 3, 1),
    "UNet": ({"channels": [4, 8], "strides": [2]}, [8, 8, 8], 1),
    "VNet": ({}, [16, 16, 16], 1),
    "VQVAE": (CODES, [8, 8, 8], 1),
    "ViTAutoEnc": (VIT, [16, 16, 16], 1),
}


FLAT: dict[str, tuple[dict[str, Any], list[int], int]] = {
    "AttentionUnet": ({"channels": [4, 8], "strides": [2]}, [8, 8], 1),
    "BasicUNetPlusPlus": ({"features": FEW, "deep_supervision": True}, [32, 16], 4),
    "DynUNet": (
        {
            "kernel_size": [[3, 1], 3, 3],
            "strides": [1, [2, 1], 2],
            "upsample_kernel_size": [[2, 1], 2],
            "filters": [4, 8, 8],
            "deep_supervision": True,
        },
        [8, 8],
        2,
    ),
    "MedNeXt": ({**MEDNEXT, "blocks_bottleneck": 1, "deep_supervision": True}, [8, 8], 3),
    "SegResNet": ({"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}, [8, 8], 1),
    "SegResNetVAE": (VAE, [8, 8], 1),
    "SwinUNETR": (TRANSFORMER, [64, 32], 1),
    "UNETR": ({"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "feature_size": 4}, [16, 16], 1),
}
"""The same in two dimensions, of those with kernels axis by axis, several heads or transformers."""


def overrides(
    case: str, networks: dict[str, tuple[dict[str, Any], list[int], int]] = NETWORKS
) -> list[str]:
    (arguments, patch, _), named = networks[case], case.split(",", maxsplit=1)[0]
    network = {
        **arguments,
        "name": f"monai:{arguments.get('name', named)}",
    }
    return [f"network={yaml.safe_dump(network, default_flow_style=True)}", f"train.patch={patch}"]


@pytest.mark.parametrize("case", NETWORKS)
def test_it_trains_is_packaged_loaded_again_and_predicts(case: str, balls: Path) -> None:
    config = load_config("balls", [*overrides(case), "train.steps=2"])
    trained = train(config, QuietReporter())["model"]
    export_package(trained, balls / "package")
    scan = balls / "data" / "balls" / "c0.nii.gz"
    given = balls / "package", [scan], balls / "out", [], QuietReporter(), "cpu"
    (mask,) = predict_files(*given)
    assert read_geometry(mask).matches(read_geometry(scan))
    predictor, found = load_checkpoint(balls / "package")
    (network,) = predictor.members
    assert isinstance(network, ManyHeads)
    image = torch.zeros(2, 1, *found.patch)
    assert len(network.train().heads(image)) == NETWORKS[case][2]
    with torch.inference_mode():
        (answer,) = network.eval().heads(image)
    assert answer.shape == (2, 2, *found.patch)
    assert found.packages.keys() == {"monai"}
    assert found.network == config.pipeline.network


@pytest.mark.parametrize("case", FLAT)
def test_it_does_so_in_two_dimensions(case: str, discs: Path) -> None:
    (discs / "pipelines" / "discs.yaml").write_text(
        "data: discs\nsplit: {labels: 2, validation: 0, test: 2}\npreprocess: ultrasound\n"
    )
    given = [*overrides(case, FLAT), "train={steps: 2, device: cpu}"]
    trained = train(load_config("discs", given), QuietReporter())["model"]
    export_package(trained, discs / "package")
    predictor, found = load_checkpoint(discs / "package")
    (network,) = predictor.members
    assert len(network.train().heads(torch.zeros(2, 1, *found.patch))) == FLAT[case][2]
    picture = discs / "data" / "discs" / "images" / "d0.png"
    (mask,) = predict_files(discs / "package", [picture], discs / "out", [], QuietReporter(), "cpu")
    assert Image.open(mask).size == Image.open(picture).size


def test_a_whole_run_ends_with_masks_and_scores(balls: Path) -> None:
    outcome = run(load_config("balls", overrides("DynUNet, deep")), QuietReporter())
    masks = sorted(outcome["masks"].glob("*[0-9].nii.gz"))
    assert len(masks) == 3
    assert set(np.unique(read_mask(masks[0]).array)) <= {0, 3}


HEADS = {
    "BasicUNetPlusPlus, all": [f"final_conv_0_{number}" for number in range(1, 5)],
    "DynUNet, deep": ["output_block.conv.conv", "deep_supervision_heads.0.conv.conv"],
    "MedNeXt, deep": ["out_0.conv_out", "out_blocks.0.conv_out", "out_blocks.1.conv_out"],
    "SegResNetDS": ["up_layers.0.head", "up_layers.1.head"],
}


DIVIDED = ["AttentionUnet", "BasicUNetPlusPlus", "DynUNet", "MedNeXt", "SegResNet", "SegResNetVAE"]
DIVIDED += ["SwinUNETR", "UNETR", "VQVAE"]
CHANGE = ["dmpls", "unimatch"]
"""Methods that change features on their way from the encoder to the decoder."""


@pytest.mark.parametrize("method", CHANGE)
@pytest.mark.parametrize("case", DIVIDED)
def test_features_are_changed_in_three_dimensions(case: str, method: str, balls: Path) -> None:
    given = [*overrides(case), f"method={method}", "train.steps=2", "split.validation=0"]
    trained = train(load_config("balls", given), QuietReporter())["model"]
    export_package(trained, balls / "package")
    scan = balls / "data" / "balls" / "c0.nii.gz"
    used = balls / "package", [scan], balls / "out", [], QuietReporter(), "cpu"
    (mask,) = predict_files(*used)
    assert read_geometry(mask).matches(read_geometry(scan))


@pytest.mark.parametrize("method", [*CHANGE, "{name: unimatch, features: {kind: complementary}}"])
@pytest.mark.parametrize("case", ["DynUNet", "UNETR"])
def test_features_are_changed_in_two_dimensions(case: str, method: str, discs: Path) -> None:
    (discs / "pipelines" / "discs.yaml").write_text(
        "data: discs\nsplit: {labels: 2, validation: 0, test: 2}\npreprocess: ultrasound\n"
    )
    given = [*overrides(case, FLAT), f"method={method}", "train={steps: 2, device: cpu}"]
    trained = train(load_config("discs", given), QuietReporter())["model"]
    picture = discs / "data" / "discs" / "images" / "d0.png"
    (mask,) = predict_files(trained, [picture], discs / "out", [], QuietReporter(), "cpu")
    assert Image.open(mask).size == Image.open(picture).size


@pytest.mark.parametrize("method", CHANGE)
def test_features_that_cannot_be_reached_are_told_before_data_are_read(
    method: str, balls: Path
) -> None:
    for path in (balls / "data" / "balls").iterdir():
        path.write_bytes(b"damaged")
    slices = [
        "network={name: slice_unet, slice_encoder: {name: resnet50}}",
        "train.patch=[32,32,8]",
    ]
    with pytest.raises(UsageError, match=f"method {method} cannot reach the features of network"):
        train(load_config("balls", [*slices, f"method={method}"]), QuietReporter())


def test_dmpls_takes_no_turns(balls: Path) -> None:
    with pytest.raises(UsageError, match=r"accumulate=2 does not go with dmpls"):
        load_config("balls", ["method=dmpls", "train.accumulate=2"])


@pytest.mark.parametrize("method", SEGMENT)
@pytest.mark.parametrize("case", HEADS)
def test_every_method_teaches_all_heads(case: str, method: str, balls: Path) -> None:
    given = [
        *overrides(case),
        f"method={method}",
        "train.optimiser.schedule=constant",
        "split.validation=0",
    ]
    config = load_config("balls", given)
    before = build_network(config.pipeline.network, 1, 2, seed=0).state_dict()
    after = read_weights(train(config, QuietReporter())["model"])
    assert len(HEADS[case]) == NETWORKS[case][2]
    for head in HEADS[case]:
        weight = f"network.{head}.weight"
        assert not torch.equal(before[weight], after[f"members.0.{weight}"]), head


def test_arguments_are_hashed_written_down_and_kept_apart_from_those_of_others(
    balls: Path,
) -> None:
    given = ["train.patch=[8,8,8]", "network=monai:SegResNet"]
    plain = load_config("balls", given)
    assert plain.resolved()["network"] == {"name": "monai:SegResNet", "frozen": False}
    wider = load_config("balls", [*given, "network.init_filters=16"])
    assert wider.resolved()["network"]["init_filters"] == 16
    assert wider.hash("network") != plain.hash("network")
    (balls / "again.yaml").write_text(yaml.safe_dump(wider.resolved()))
    again = load_config(str(balls / "again.yaml"))
    assert again.resolved() == wider.resolved()
    back = load_config("balls", [*given, "network.name=vnet", "network.levels=2"])
    assert back.resolved()["network"]["width"] == 16


def test_sides_are_those_of_the_patch(balls: Path) -> None:
    config = load_config("balls", overrides("UNETR"))
    assert config.resolved()["network"]["img_size"] == [16, 16, 16]
    with pytest.raises(UsageError, match=r"img_size=\[8, 8, 8\] is not train.patch=\[16, 16, 16\]"):
        load_config("balls", [*overrides("UNETR"), "network.img_size=[8,8,8]"])


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ("monai:SegResnet", "did you mean 'monai:SegResNet'?"),
        ("{name: monai:FlexibleUNet, backbone: resnet10, pretrained: true}", "fetch weights"),
        ("{name: monai:SegResNet, init_filtr: 8}", "did you mean 'network.init_filters'?"),
        ("{name: monai:SegResNet, spatial_dims: 2}", "spatial_dims=2 is for 2-D images"),
        ("{name: monai:SegResNet, norm: 2026-01-01}", "give numbers, texts"),
        ("monai:UNet", "the key 'network.channels' is missing"),
        ("{name: monai:HighResNet, frozen: true}", "no encoder of its own"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_at_once(
    network: str, sentence: str, balls: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("balls", [f"network={network}"])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("network", "patch", "sentence"),
    [
        ("{name: monai:SegResNet, init_filters: 3}", "[8,8,8]", "must be divisible by num_groups"),
        ("monai:SegResNet", "[16,12,16]", "the nearest that fits is train.patch=[16, 16, 16]"),
        ("monai:DenseNet121", "[32,32,32]", "logits of (2, 2, 32, 32, 32) are wanted"),
    ],
)
def test_what_a_network_refuses_is_told_before_data_are_read(
    network: str, patch: str, sentence: str, balls: Path
) -> None:
    for path in (balls / "data" / "balls").iterdir():
        path.write_bytes(b"damaged")
    config = load_config("balls", [f"network={network}", f"train.patch={patch}"])
    for verb in (train, run):
        with pytest.raises(UsageError) as caught:
            verb(config, QuietReporter())
        assert sentence in str(caught.value)


def test_a_package_that_a_network_wants_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def wants(**_: Any) -> None:
        raise ImportError("import torchvision (No module named 'torchvision')\n\nand much more")

    monkeypatch.setattr("monai.networks.nets.DAF3D", wants)
    settings = MonaiSettings(name="monai:DAF3D")
    with pytest.raises(UsageError, match=r"not installed; import torchvision \(.*'\); install it"):
        build_network(settings, 1, 2, seed=0)


def test_a_network_that_its_description_does_not_build_is_refused(
    balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medssl.methods.segment.supervised import Supervised
    from medssl.networks.ensemble import Ensemble

    other = Ensemble([torch.nn.Conv3d(1, 2, 1)])
    monkeypatch.setattr(Supervised, "predictor", lambda _: other)
    for path in (balls / "data" / "balls").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UsageError, match="is not what the method trains"):
        train(load_config("balls"), QuietReporter())


def test_weights_of_another_version_of_monai_are_told_so(balls: Path) -> None:
    trained = train(load_config("balls", overrides("UNet")), QuietReporter())["model"]
    (trained / "SHA256SUMS").unlink()
    described = json.loads((trained / "checkpoint.json").read_text())
    described["packages"] = {"monai": "0.9.1"}
    described["network"]["channels"] = [4, 16]
    (trained / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=r"install monai==0.9.1"):
        load_checkpoint(trained)


def test_the_list_is_that_of_the_installed_monai() -> None:
    """`python -m medssl.networks.monai_list` writes it anew."""
    assert LIST.read_text(encoding="utf-8") == as_text(installed())
