"""What is measured of a scan to tell if it is like others: grid, intensities, layout and so on.

Legend: W windows, C channels, E features, X Y Z voxels.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d

from medssl.data.geometry import Geometry
from medssl.data.quantiles import quantiles_of
from medssl.infer.contrast import contrast
from medssl.infer.window import WindowReader, windows_per_call
from medssl.infer.window_grid import Triple, Windows

WINDOWS = 4
"""Windows of a scan whose features are pooled."""

CELLS = 4
"""Cells along each axis, in which the layout is seen."""

FINEST = 12
"""Voxels along each axis of a cell that are looked at, about; of more only some."""

VOXELS, VIEW, RAW, SEEN, LAYOUT, FEATURES, CONTRAST = (
    "voxel size",
    "field of view",
    "intensities of the file",
    "intensities",
    "layout",
    "features",
    "contrast",
)
PARTS = (VOXELS, VIEW, RAW, SEEN, LAYOUT, FEATURES, CONTRAST)


def look(
    image: np.ndarray,
    grid: Geometry,
    raw: np.ndarray,
    patch: Triple,
    mirrored: Sequence[int],
    features: np.ndarray,
) -> dict[str, np.ndarray]:
    """The numbers of a scan by what they measure, each [D] float64.

    Args:
        image: as the network sees it, [C, X, Y, Z]; it may be memory-mapped.
        grid: of the file.
        raw: quantiles of the intensities of the file, [C, Q].
        patch: voxels of the windows in which it is looked at how rough the image is.
        mirrored: axes of the image along which training mirrored.
        features: of the bottleneck, see `Listener`, [E].
    """
    windows = windows_of(image, patch, _half(patch))
    cpu = torch.device("cpu")
    batch = _reader(image, windows, cpu).read(chosen_windows(windows))
    seen = quantiles_of(image)
    return {
        VOXELS: np.log(np.sort(grid.spacing)),
        VIEW: np.log(np.sort(np.multiply(grid.shape, grid.spacing))),
        RAW: (np.sign(raw) * np.log1p(np.abs(raw))).ravel(),
        SEEN: np.concatenate([seen.ravel(), _roughness(batch).mean(0)]),
        LAYOUT: layout(image, mirrored),
        FEATURES: features,
        CONTRAST: contrast(image, patch),
    }


def layout(image: np.ndarray, mirrored: Sequence[int] = ()) -> np.ndarray:
    """Where a scan is bright and dark: means of 4 x 4 x 4 cells that fill it, [C * 64] float64.

    Each channel has mean 0 and standard deviation 1 over its cells, so that brightness and
    contrast of a scan do not matter. Axes are those of the network's grid, which are anatomical
    where preprocessing turns scans; a scan upside down has other numbers.

    Args:
        image: [C, X, Y, Z]; it may be memory-mapped.
        mirrored: axes X Y Z (0, 1, 2) along which both directions are alike: a scan and its mirror
            image have the same numbers.
    """
    steps = [max(1, side // (CELLS * FINEST)) for side in image.shape[1:]]
    seen = image[(slice(None), *(slice(step // 2, None, step) for step in steps))]
    cells = adaptive_avg_pool3d(torch.from_numpy(np.array(seen, np.float32)), CELLS).double()
    for axis in mirrored:
        cells = (cells + cells.flip(axis + 1)) / 2
    rows = cells.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    spread = rows.std(1, correction=0, keepdim=True).clamp_min(1e-6)
    return np.asarray((rows / spread).ravel().numpy())


def windows_of(image: np.ndarray, patch: Triple, stride: Triple) -> Windows:
    """Those that slide over an image [C, X, Y, Z]."""
    return Windows((image.shape[1], image.shape[2], image.shape[3]), patch, stride)


def chosen_windows(windows: Windows) -> list[Triple]:
    """First voxels of up to `WINDOWS` windows, spread over all."""
    corners = windows.corners()
    count = min(WINDOWS, len(corners))
    return [corners[int((number + 0.5) * len(corners) / count)] for number in range(count)]


class Listener:
    """Hears what the bottleneck of a network answers to a few windows of a scan.

    While it is entered it listens to a prediction, which `tell`s it the windows of each call, so
    that the guard needs no pass of its own.

    Attributes:
        module: name of the bottleneck, see `bottleneck`.
        windows: those that the prediction slides over.
    """

    def __init__(self, network: nn.Module, module: str, windows: Windows) -> None:
        self.network, self.module, self.windows = network, module, windows
        self._due = chosen_windows(windows)
        self._rows: list[tuple[int, Triple]] = []
        self._heard: dict[Triple, np.ndarray] = {}

    def __enter__(self) -> Self:
        self._handle = self.network.get_submodule(self.module).register_forward_hook(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def tell(self, corners: Sequence[Triple]) -> None:
        """The windows of the next call, in the order of its rows; rows beyond are passed over."""
        self._rows = [(row, one) for row, one in enumerate(corners) if one in self._due]

    def _hear(self, _: nn.Module, __: Any, output: Tensor) -> None:
        rows, self._rows = self._rows, []  # mirrored copies that may follow are passed over
        for row, corner in rows:
            self._heard[corner] = output[row].flatten(1).double().mean(1).cpu().numpy()

    def features(self, image: np.ndarray, device: torch.device) -> np.ndarray:
        """Mean of each feature over the windows, [E] float64.

        Args:
            image: as the network sees it, [C, X, Y, Z], for windows that were not heard of.
            device: that of the network.
        """
        left = [one for one in self._due if one not in self._heard]
        reader = _reader(image, self.windows, device)
        size = windows_per_call(device, self.windows.patch)
        for start in range(0, len(left), size):
            some = left[start : start + size]
            self.tell(some)
            with self, torch.inference_mode(), suppress(_Reached):
                handle = self.network.get_submodule(self.module).register_forward_hook(_enough)
                try:
                    self.network(reader.read(some))
                finally:
                    handle.remove()
        return np.asarray(np.mean([self._heard[one] for one in self._due], axis=0))


def bottleneck(network: nn.Module, channels: int, patch: Triple, device: torch.device) -> str:
    """Name of the module that answers with the fewest voxels, the last of several.

    It is found by one pass of zeros. Of a network without a part that makes maps it is the network
    itself, whose name is empty.
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
    if not sizes:
        return ""
    least = min(size for size, _ in sizes)
    return [name for size, name in sizes if size == least][-1]


class _Reached(Exception):
    """The pass has come to the bottleneck."""


def _enough(*_: object) -> None:
    """Hook that leaves the decoder out."""
    raise _Reached


def _reader(image: np.ndarray, windows: Windows, device: torch.device) -> WindowReader:
    padded = windows.padded != windows.shape
    return WindowReader(image, windows, float(image.min()) if padded else 0.0, device)


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
