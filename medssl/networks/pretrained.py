"""Pre-trained weights from a local file, matched to a network by name and shape, never by order."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from medssl.errors import DataError, UsageError
from medssl.networks.load_report import LoadReport
from medssl.networks.vision_transformer import resize_positions

WITHIN = ("teacher", "student", "model", "state_dict")
"""Entries of a training checkpoint that may hold the weights; the first that is there is read."""

WRAPPERS = ("module.", "slices.", "backbone.")

STEM = "conv1.weight"

DSMIL_NAMES = {
    "features.0.": "conv1.",
    "features.4.": "layer1.",
    "features.5.": "layer2.",
    "features.6.": "layer3.",
    "features.7.": "layer4.",
}
"""DSMIL's weights number the layers of the ResNet that others name."""


def load_pretrained(network: nn.Module, path: Path, matched: float) -> LoadReport:
    """Copy the weights of a file into `network`; all of it happens or nothing.

    Understands weights alone (DINO's backbones, timm, torchvision, safetensors of medssl), DINO's
    training checkpoints, of which the teacher is taken, MAE's and DSMIL's.

    Args:
        matched: share of the network's parameters that the file must hold.

    Raises:
        UsageError: there is no such file.
        DataError: it holds no weights, or too few of this network.
    """
    found = {_plain_name(name): value for name, value in read_weights(path).items()}
    own = {name: value.detach() for name, value in network.state_dict().items()}
    if "pos_embed" in found and "pos_embed" in own:
        found["pos_embed"] = _fit_positions(found["pos_embed"], own["pos_embed"])
    if STEM in found and STEM in own:
        found[STEM] = _fit_planes(found[STEM], own[STEM])
    # Adapters that the file lacks are new and do not count.
    counted = {name for name in own if name in found or ".adapter." not in name}
    report = LoadReport.of(own, found, counted)
    if report.share < matched:
        examples = ", ".join((*report.missing, *report.misshapen)[:3])
        raise DataError(
            f"{path} holds {report.share:.1%} of the encoder's parameters, at least "
            f"{matched:.0%} are wanted",
            f"it lacks, or has in another shape, {examples}",
            "name the encoder that the weights are of, or lower `matched`",
        )
    network.load_state_dict({name: found[name] for name in report.matched}, strict=False)
    return report


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a .safetensors, .pth or .pt file; no pickled code is run.

    Raises:
        UsageError: there is no such file.
        DataError: it holds no weights.
    """
    if not path.is_file():
        raise UsageError(f"there is no weights file {path}", do="give the path of a local file")
    try:
        plain = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except (RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as weights",
            "it is damaged, or holds objects besides tensors, which are never unpickled",
            "give a .safetensors file, or a .pth that torch.load(weights_only=True) reads",
        ) from error
    inner = next((plain[key] for key in WITHIN if isinstance(plain.get(key), Mapping)), plain)
    tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    if not tensors:
        raise DataError(f"{path} holds no named tensors", do="give a file of weights")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        loaded: dict[str, Any] = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return loaded


def _read_torch(path: Path) -> dict[str, Any]:
    # DINO's and MAE's checkpoints keep their command line, a Namespace of plain values.
    with torch.serialization.safe_globals([Namespace]):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, Mapping):
        raise ValueError("no mapping")
    return dict(loaded)


def _plain_name(name: str) -> str:
    """The name without what wraps the encoder in its training code."""
    while wrapper := next((one for one in WRAPPERS if name.startswith(one)), None):
        name = name.removeprefix(wrapper)
    for numbered, named in DSMIL_NAMES.items():
        if name.startswith(numbered):
            return named + name.removeprefix(numbered)
    return name


def _fit_planes(found: Tensor, own: Tensor) -> Tensor:
    """A first convolution of colour images for grey ones, as if they came in three equal planes."""
    grey = own.shape[1] == 1 and found.ndim == 4 and found.shape[1] == 3
    return found.sum(1, keepdim=True) if grey else found


def _fit_positions(found: Tensor, own: Tensor) -> Tensor:
    """Positions [1, 1 + m * m, E] of another image size as [1, 1 + n * n, E], where that is all."""
    if found.ndim != 3 or found.shape[2] != own.shape[2]:
        return found
    learned, wanted = found.shape[1] - 1, round((own.shape[1] - 1) ** 0.5)
    if learned < 1 or round(learned**0.5) ** 2 != learned:
        return found
    return resize_positions(found.float(), wanted, wanted)
