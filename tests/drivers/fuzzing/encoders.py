"""Encoders of other projects, as `medssl import` and `medssl info` take them: weights and JSON.

The samples need no library but MONAI: networks of medssl's own and of MONAI's, by the names that
timm, torchvision, nnU-Net and MONAI's own releases give to their tensors.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, damage_json, damage_tree, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.models import odd_tensor
from tests.networks.foreign.originals import filled
from tests.networks.foreign.volumes import bundle, monai_ssl

PICKLED = (".pt", ".pth")

MARK = "carried_out"
"""A file that is there once the code in a malicious file was carried out."""


class Malicious:
    """An object that does something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(MARK),)


def _vit(place: Path) -> None:
    """A transformer by timm's names, with the two files that Hugging Face keeps beside it."""
    from medssl.networks.vision_transformer import VisionTransformer

    network = filled(VisionTransformer(32, 16, 128, 4, 4))
    save_file(dict(network.state_dict()), place / "vit.safetensors")
    said = {"num_attention_heads": 4, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
            "image_size": 32, "pretrained_cfg": {"license": "mit", "interpolation": "bicubic"},
            "model_args": {"num_heads": 4}}  # fmt: skip
    (place / "config.json").write_text(json.dumps(said))
    images = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (place / "preprocessor_config.json").write_text(json.dumps(images))


def _unet() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An encoder of nnU-Net with every tensor as often as its classes list it, and its plans."""
    from medssl.networks.build import build_encoder
    from medssl.networks.foreign.nnunet import theirs
    from medssl.networks.unet_settings import UNetSettings

    strides = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    settings = UNetSettings.model_validate(
        {"name": "residual_unet", "features": [4, 8, 12], "strides": strides}
    )
    pools = [set(one.stride) != {1} for one in settings.stages]
    tensors = {}
    for name, value in filled(build_encoder(settings, 1, seed=0)).state_dict().items():
        first = theirs(name, True, pools)
        tensors[first] = value
        tensors[first.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")] = (
            value
        )
    configuration = {
        "spacing": [2.5, 0.8, 0.8],
        "normalization_schemes": ["CTNormalization"],
        "architecture": {"arch_kwargs": {"strides": strides}},
    }
    intensities = {"mean": 90.0, "std": 40.0, "percentile_00_5": -50.0, "percentile_99_5": 200.0}
    plans = {
        "transpose_forward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    return tensors, plans


def _unet_alone(place: Path) -> None:
    """A checkpoint of nnU-Net, which carries its plans."""
    tensors, plans = _unet()
    held = {
        "network_weights": tensors,
        "logging": {"dice": [np.float64(0.5), np.float32(0.25)]},
        "init_args": {"plans": plans, "configuration": "3d_fullres"},
    }
    torch.save(held, place / "checkpoint_final.pth")


def _unet_with_plans(place: Path) -> None:
    tensors, plans = _unet()
    save_file({name: value.clone() for name, value in tensors.items()}, place / "unet.safetensors")
    (place / "plans.json").write_text(json.dumps(plans))
    (place / "medssl_encoder.json").write_text(json.dumps({"family": "nnunet"}))


def _resnet(place: Path) -> None:
    """A ResNet18 by torchvision's names."""
    from medssl.networks.tile_encoder import build_tile_encoder
    from medssl.networks.tile_settings import TileEncoderSettings

    settings = TileEncoderSettings.model_validate({"name": "resnet18", "side": 64})
    network = filled(build_tile_encoder(settings, seed=0))
    held = {
        name.removeprefix("backbone."): value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
        if name.startswith("backbone.")
    }
    torch.save(held, place / "resnet.pth")


SAMPLES: dict[str, Callable[[Path], object]] = {
    "vit": _vit,
    "unet": _unet_alone,
    "plans": _unet_with_plans,
    "resnet": _resnet,
    "swin": monai_ssl,
    "bundle": bundle,
}


def _make(place: Path) -> None:
    from medssl.train.imported import rebuilt

    for name, make in SAMPLES.items():
        (place / name).mkdir()
        make(place / name)
        network = rebuilt(_subject(place / name)).network
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        (place / f"{name}.shapes").write_text(json.dumps(shapes))


def _subject(folder: Path) -> Path:
    """What is imported of a sample: its file of weights, or the folder of a bundle."""
    if folder.name == "bundle":
        return folder
    (found,) = (one for one in folder.iterdir() if one.suffix in (*PICKLED, ".safetensors"))
    return found


def _weights(folder: Path) -> Path:
    return folder / "models" / "model.pt" if folder.name == "bundle" else _subject(folder)


def _damage(place: Path, rng: Generator) -> str:
    name = pick(rng, list(SAMPLES))
    folder, path = place / name, _weights(place / name)
    (place / "subject").write_text(str(_subject(folder).relative_to(place)))
    described = sorted(folder.rglob("*.json"))
    how = pick(rng, ("bytes", "tensor", "tensor", "json", "json", "json", "object", "code"))
    if how == "json" and described:
        return f"{name}: {damage_json(pick(rng, described), rng)}"
    if how == "bytes":
        return f"{name}: {damage_bytes(path, rng)}"
    if path.suffix == ".safetensors":
        return f"{name}: {odd_tensor(path, rng)}"
    held = torch.load(path, weights_only=False)  # our own
    key = next((one for one in ("network_weights", "state_dict") if one in held), None)
    if how == "code":
        whole = {"weights": held} if key is None else held
        odd = pick(rng, ({**whole, "epoch": Malicious()}, {**held, "x": Malicious()}, Malicious(),
                         {"state_dict": Malicious()}, {Malicious: torch.ones(2)}))  # fmt: skip
        zipped = bool(rng.integers(2))
        torch.save(odd, path, _use_new_zipfile_serialization=zipped)
        return f"{name}: code, {'zipped' if zipped else 'in the old form'}"
    if how == "object" and key == "network_weights":
        rest = {one: value for one, value in held.items() if one != key and one != "logging"}
        changed, words = damage_tree(rest, rng)
        kept = changed if isinstance(changed, dict) else {"x": changed}
        torch.save({key: held[key], **kept}, path)
        return f"{name}: {words}"
    if how == "object":
        more = {key or "net": {**(held[key] if key else held), "more": [1]}}
        odd = pick(rng, ([], {}, [1], {"state_dict": []}, {"state_dict": {"x": 1}}, None, "x",
                         {1: torch.ones(2)}, torch.ones(3), {"model": {"teacher": {}}}, Path("x"),
                         more))  # fmt: skip
        torch.save(odd, path)
        return f"{name}: {odd!r:.60}"
    beside = path.with_suffix(".safetensors")
    tensors = held[key] if key else held
    save_file({one: value.clone() for one, value in tensors.items()}, beside)
    words = odd_tensor(beside, rng)
    changed = load_file(beside)
    beside.unlink()
    torch.save({**held, key: changed} if key else changed, path)
    return f"{name}: {words}"


def _exercise(place: Path, base: Path) -> Iterable[Step]:
    subject = (place / "subject").read_text()
    name = subject.partition("/")[0]

    def harmless(*arguments: str) -> None:
        try:
            medssl(*arguments)
        finally:
            if (place / MARK).exists():
                raise Silent("code in the file was carried out")

    def imported() -> None:
        harmless("import", subject, "--as", "it")
        kept = load_file(place / "encoders" / "it" / "weights.safetensors")
        _compare(kept, json.loads((base / f"{name}.shapes").read_text()), place / subject)

    yield "import", imported
    yield "info", lambda: harmless("info", subject)


def _compare(kept: Mapping[str, Tensor], shapes: dict[str, list[int]], path: Path) -> None:
    """What was imported is whole, finite, and nothing but values of the file."""
    if {name: list(value.shape) for name, value in kept.items()} != shapes:
        raise Silent("a damaged file gives an encoder of another shape")
    weights = path / "models" / "model.pt" if path.is_dir() else path
    values = np.unique(np.concatenate([_flat(one) for one in _independently(weights)]))
    for name, value in kept.items():
        if not value.is_floating_point():
            continue
        if not bool(torch.isfinite(value).all()):
            raise Silent(f"{name} is not finite")
        if not np.isin(_flat(value), values).all():
            raise Silent(f"{name} holds values that are not in the file")


def _independently(path: Path) -> list[Tensor]:
    """All tensors of a file, whatever their names; it is our own."""
    if path.suffix == ".safetensors":
        return list(load_file(path).values())
    found: list[Tensor] = []

    def walk(value: Any) -> None:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Mapping):
            for one in value.values():
                walk(one)

    walk(torch.load(path, weights_only=False))
    return found


def _flat(value: Tensor) -> np.ndarray:
    flat: np.ndarray = value.detach().to(torch.float32).numpy().ravel()
    return flat


FORMAT = Format("encoder", _make, _damage, _exercise)
