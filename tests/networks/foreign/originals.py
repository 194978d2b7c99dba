"""The classes of other projects, with random weights, and files as these projects save them."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

Features = Callable[[Tensor], list[Tensor]]


class Original(NamedTuple):
    """A file of another project, and what its class makes of an image.

    Attributes:
        path: the file, or the folder of a bundle.
        family: to ask for; None: it is known by itself.
        image: [B, C, ...].
        features: of the original class.
        ours: what of our encoder answers to them, from the rebuilt network.
    """

    path: Path
    family: str | None
    image: Tensor
    features: Features
    ours: Callable[[nn.Module], Features]


class NotInstalled(pytest.skip.Exception):
    """A library is missing, so that a test is skipped, saying so."""


_declared: list[Any] = []


def original(module: str) -> Any:
    """A module of an optional library, or the test is skipped, saying so.

    timm and TorchXRayVision import torchvision, whose usual wheel does not fit the CPU build of
    torch: it finds two operators missing that no encoder uses. They are declared here, for tests.
    """
    if not _declared and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
    try:
        return importlib.import_module(module)
    except ImportError:
        raise NotInstalled(f"{module} is not installed (pip install 'medssl[originals]')") from None


def filled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and statistic away from its start: equal norms and zero biases hide errors.

    Norms 1 + 0.1 n, LayerScale 0.3 to 0.5, variances 0.5 to 1.5, the rest 0.04 n, n normal.
    """
    draw = torch.Generator().manual_seed(seed)
    norms = {
        id(module.weight)
        for module in network.modules()
        if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None
    }
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if not value.is_floating_point() or "rope" in name or "periods" in name:
                continue
            noise = torch.randn(value.shape, generator=draw)
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=draw))
            elif any(mark in name for mark in ("gamma", "lambda1")):
                value.copy_(0.3 + 0.2 * torch.rand(value.shape, generator=draw))
            elif id(value) in norms:
                value.copy_(1 + 0.1 * noise)
            elif value.ndim > 2 and "conv" in name:
                value.copy_(noise * (2 / value[0].numel()) ** 0.5)
            else:
                value.copy_(0.04 * noise)
    return network.eval()


def saved(path: Path, tensors: Mapping[str, Any]) -> Path:
    torch.save(dict(tensors), path)
    return path


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Largest difference, relative to the largest value of the original's features (1 at least)."""
    assert [tuple(a.shape) for a in one] == [tuple(b.shape) for b in other]
    return max(
        float((a - b).abs().max() / a.abs().max().clamp_min(1))
        for a, b in zip(one, other, strict=True)
    )


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
