"""What is measured of a scan to tell whether it is like others: grid, intensities, features.

Legend: W windows, C channels, E features, X Y Z voxels.
"""

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medssl.data.geometry import Geometry
from medssl.data.quantiles import quantiles_of
from medssl.infer.window import WindowReader, windows_per_call
from medssl.infer.window_grid import Triple, Windows

WINDOWS = 4
"""Windows of a scan whose features are pooled."""

VOXELS, VIEW, RAW, SEEN, FEATURES = (
    "voxel size",
    "field of view",
    "intensities of the file",
    "intensities",
    "features",
)
PARTS = (VOXELS, VIEW, RAW, SEEN, FEATURES)


def look(
    network: nn.Module,
    module: str,
    image: np.ndarray,
    grid: Geometry,
    raw: np.ndarray,
    patch: Triple,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """The numbers of a scan by what they measure, each [D] float64.

    Args:
        network: on the device, in evaluation mode.
        module: name of its bottleneck, see `bottleneck`.
        image: as the network sees it, [C, X, Y, Z]; it may be memory-mapped.
        grid: of the file.
        raw: quantiles of the intensities of the file, [C, Q].
    """
    windows = Windows((image.shape[1], image.shape[2], image.shape[3]), patch, _half(patch))
    corners, seen = windows.corners(), quantiles_of(image)
    count = min(WINDOWS, len(corners))
    chosen = [corners[int((number + 0.5) * len(corners) / count)] for number in range(count)]
    padded = windows.padded != windows.shape
    reader = WindowReader(image, windows, float(image.min()) if padded else 0.0, device)
    size, features, roughness = windows_per_call(device, patch), [], []
    for start in range(0, count, size):
        batch = reader.read(chosen[start : start + size])
        features.append(_pooled(network, module, batch))
        roughness.append(_roughness(batch))
    return {
        VOXELS: np.log(np.sort(grid.spacing)),
        VIEW: np.log(np.sort(np.multiply(grid.shape, grid.spacing))),
        RAW: (np.sign(raw) * np.log1p(np.abs(raw))).ravel(),
        SEEN: np.concatenate([seen.ravel(), np.concatenate(roughness).mean(0)]),
        FEATURES: np.concatenate(features).mean(0),
    }


def bottleneck(network: nn.Module, channels: int, patch: Triple, device: torch.device) -> str:
    """Name of the module that answers with the fewest voxels, the last of several.

    It is found by one pass of zeros; every network has one, whoever wrote it.
    """
    sizes: list[tuple[int, str]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def seen(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim in (4, 5):
                sizes.append((output[0, 0].numel(), name))

        return module.register_forward_hook(seen)

    leaves = [
        (name, one) for name, one in network.named_modules() if name and not [*one.children()]
    ]
    handles = [watch(*leaf) for leaf in leaves]
    try:
        with torch.inference_mode():
            network(torch.zeros(2, channels, *patch, device=device))
    finally:
        for handle in handles:
            handle.remove()
    least = min(size for size, _ in sizes)
    return [name for size, name in sizes if size == least][-1]


class _Reached(Exception):
    """The pass has come to the bottleneck."""


def _pooled(network: nn.Module, module: str, windows: Tensor) -> np.ndarray:
    """Mean of each feature of the bottleneck over a window, [W, E]; the decoder is left out."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        kept.append(output.float().flatten(2).mean(2))
        raise _Reached

    handle = network.get_submodule(module).register_forward_hook(keep)
    try:
        with torch.inference_mode(), suppress(_Reached):
            network(windows)
    finally:
        handle.remove()
    return kept[0].cpu().numpy().astype(np.float64)


def _roughness(windows: Tensor) -> np.ndarray:
    """Logarithm of the mean step between neighbours, beside the standard deviation, [W, C]."""
    axes = [axis for axis in (2, 3, 4) if windows.shape[axis] > 1]
    steps = [windows.diff(dim=axis).abs().flatten(2).mean(2) for axis in axes]
    spread = windows.flatten(2).std(2).clamp_min(1e-6)
    rough = torch.stack(steps).mean(0) / spread
    return rough.clamp_min(1e-6).log().cpu().numpy().astype(np.float64)


def _half(patch: Triple) -> Triple:
    x, y, z = (max(1, side // 2) for side in patch)
    return x, y, z
