"""Encoders for other libraries: their classes load them strictly, and medssl takes them back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medssl.errors import UsageError
from medssl.export.encoder import export_encoder
from medssl.networks.settings import NetworkSettings
from medssl.train.description import WEIGHTS
from medssl.train.imported import import_file, rebuilt
from tests.networks.foreign import images, volumes
from tests.networks.foreign.originals import original
from tests.train.volume_encoder import write_encoder

CASES = {
    name: make
    for name, make in {**volumes.CASES, **images.CASES}.items()
    if name not in ("monai_bundle", "swin_unetr_mergingv2", "suprem")
}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_what_is_exported_is_imported_again(make: Any, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MEDSSL_ENCODERS", str(tmp_path / "encoders"))
    (tmp_path / "theirs").mkdir()
    case = make(tmp_path / "theirs")
    folder, _ = import_file(case.path, "mine", case.family)
    export_encoder(folder, tmp_path / "out")
    again = rebuilt(tmp_path / "out" / "model.safetensors")
    given = load_file(folder / WEIGHTS)
    assert same(given, dict(again.network.state_dict()))


def exported(case: Any, place: Path, monkeypatch: Any) -> dict[str, torch.Tensor]:
    monkeypatch.setenv("MEDSSL_ENCODERS", str(place / "encoders"))
    folder, _ = import_file(case.path, "mine", case.family)
    export_encoder(folder, place / "out")
    return load_file(place / "out" / "model.safetensors")


@pytest.mark.parametrize("residual", [False, True])
def test_nnunets_encoder_loads_it_strictly(residual: bool, tmp_path: Path, monkeypatch):
    case = (volumes.nnunet_residual if residual else volumes.nnunet_plain)(tmp_path)
    found = exported(case, tmp_path, monkeypatch)
    network = volumes.unet(residual)
    wanted = {k: v.clone() for k, v in network.encoder.state_dict().items()}
    torch.nn.init.zeros_(next(network.encoder.parameters()))
    network.encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in found.items()})
    assert same(wanted, dict(network.encoder.state_dict()))


def test_monais_transformer_loads_it_strictly(tmp_path: Path, monkeypatch):
    found = exported(volumes.voco(tmp_path), tmp_path, monkeypatch)
    network = volumes.swin(True)
    names = {k.removeprefix("swinViT."): v for k, v in found.items()}
    assert names.keys() == network.swinViT.state_dict().keys()
    network.swinViT.load_state_dict(names)


def test_timm_loads_it_strictly(tmp_path: Path, monkeypatch):
    timm = original("timm")
    found = exported(images.resnet50(tmp_path), tmp_path, monkeypatch)
    timm.create_model("resnet50", num_classes=0).load_state_dict(found)
    (tmp_path / "other").mkdir()
    found = exported(images.uni(tmp_path / "other"), tmp_path / "other", monkeypatch)
    images.timm_vit(init_values=0.1).load_state_dict(found)


def test_what_no_other_library_has_is_refused(tmp_path: Path):
    network = NetworkSettings(name="conv_fpn", width=4, levels=2)
    write_encoder(tmp_path / "last", network)
    with pytest.raises(UsageError, match="the encoder of conv_fpn cannot be exported"):
        export_encoder(tmp_path / "last", tmp_path / "out")
    assert not (tmp_path / "out").exists()
