"""An imported encoder, or a file of weights, where pipelines and commands name it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.families import recognise
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.unet import UNet
from medssl.networks.unet_settings import UNetSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import train
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import WEIGHTS, description_of
from medssl.train.imported import import_file, rebuilt
from medssl.train.inside import inside
from tests.networks.foreign.volumes import nnunet_residual, swin, voco


def unet_file(place: Path) -> Path:
    """A small U-Net under the names of nnU-Net, written by hand."""
    torch.manual_seed(3)
    settings = UNetSettings(name="plain_unet", features=(2, 4), blocks=(1, 1))
    network = UNet(1, 2, settings.stages)
    named = {}
    for name, value in network.encoder.state_dict().items():
        _, stage, conv, kind, end = name.split(".")
        part = ("conv", "norm")[int(kind)]
        named[f"encoder.stages.{stage}.0.convs.{conv}.{part}.{end}"] = value
    named["decoder.transpconvs.0.weight"] = torch.zeros(4, 2, 2, 2, 2)
    path = place / "unet.pth"
    torch.save({"network_weights": named}, path)
    return path


@pytest.fixture
def encoders(balls: Path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDSSL_ENCODERS", str(balls / "encoders"))
    return balls / "encoders"


def test_an_imported_encoder_is_started_from_by_its_name(balls, encoders):
    folder, report = import_file(unet_file(balls), "mine")
    assert (folder, report.share) == (encoders / "mine", 1)
    chosen = load_config("balls", ["pretrain=mine", "train.steps=1", "network.frozen=true"])
    network = chosen.pipeline.network
    assert (network.name, network.features, network.blocks) == ("plain_unet", (2, 4), (1, 1))
    model = train(chosen, QuietReporter())["model"]
    given = load_file(folder / WEIGHTS)
    learnt = load_checkpoint(model)[0].members[0].encoder.state_dict()
    assert learnt.keys() == given.keys()
    assert all(torch.equal(learnt[name], value) for name, value in given.items())


def test_a_file_is_imported_where_a_pipeline_names_it(balls, encoders):
    chosen = load_config("balls", [f"pretrain={unet_file(balls)}"])
    assert not encoders.exists()
    kept = chosen.pipeline.pretrain.folder
    assert description_of(kept)["imported"]["family"] == "nnunet"
    named, _ = import_file(balls / "unet.pth", "mine")
    again = load_config("balls", [f"pretrain={named}"])
    assert again.section("pretrain") == chosen.section("pretrain")


def test_a_name_is_of_one_encoder(balls, encoders):
    path = unet_file(balls)
    folder, _ = import_file(path, "mine")
    assert import_file(path, "mine")[0] == folder
    other = balls / "other.pth"
    torch.save(torch.load(path, weights_only=True) | {"epoch": 1}, other)
    with pytest.raises(UsageError, match=r"another encoder in .*mine.*--as"):
        import_file(other, "mine")
    with pytest.raises(UsageError, match="cannot be called"):
        import_file(path, "a/b")


def test_what_is_inside_is_told(balls, encoders):
    path = unet_file(balls)
    assert "can be imported" in inside(path)
    told = inside(import_file(path, "mine")[0])
    for part in ("encodes volumes", "U-Net of nnU-Net", "SHA-256", "plain_unet", "not known"):
        assert part in told


def test_swin_unetr_that_may_be_of_any_monai_has_to_be_told(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(swin(True).state_dict(), path)
    with pytest.raises(UsageError, match=r"--family swin_unetr_until_monai_1_4 or swin_unetr_si"):
        recognise(path)
    with pytest.raises(UsageError, match="did you mean 'voco'"):
        recognise(path, "vocco")


def test_voco_is_known_by_its_name_and_merges_cells_as_monai_did(tmp_path):
    found = recognise(voco(tmp_path).path)
    settings = MonaiSettings(**found.network)
    assert (found.family, settings.arguments["downsample"]) == ("voco", "legacy")
    assert found.network["use_v2"]
    assert any(name.startswith("student") for name in found.left_out)


@pytest.mark.parametrize(
    "missing",
    ["swinViT.layers2c.0.layer.conv1.conv.weight", "swinViT.layers4.0.downsample.norm.bias"],
)
def test_an_encoder_with_a_part_missing_is_refused(tmp_path, missing):
    plain = swin(True).state_dict()
    del plain[missing]
    torch.save(plain, tmp_path / "voco.pth")
    with pytest.raises(DataError, match="lack, or have in another shape"):
        rebuilt(tmp_path / "voco.pth")


def test_an_encoder_with_a_part_more_is_refused(tmp_path):
    plain = swin(False).state_dict() | {"swinViT.layers1.0.blocks.0.gamma": torch.ones(12)}
    torch.save(plain, tmp_path / "suprem.pth")
    with pytest.raises(DataError, match=r"no place for: swinViT\.layers1\.0\.blocks\.0\.gamma"):
        rebuilt(tmp_path / "suprem.pth")


def test_twins_that_differ_are_refused(tmp_path):
    case = nnunet_residual(tmp_path)
    held = torch.load(case.path, weights_only=True)["network_weights"]
    twin = "encoder.stem.convs.0.all_modules.0.weight"
    torch.save({"network_weights": {**held, twin: held[twin] + 1}}, case.path)
    with pytest.raises(DataError, match="are one tensor in the network and differ"):
        recognise(case.path)


def test_a_family_that_is_not_known_is_refused(tmp_path):
    torch.save({"a.b": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"no family that medssl knows; it names a\.b"):
        recognise(tmp_path / "w.pth")
