"""What pre-training spends on its data: boxes read, windows sampled, intensities changed.

    python -m tests.benchmarks.scans

On sessions of noise in half precision, 160 x 192 x 160 voxels, memory-mapped. Microseconds per
scan on one thread, the least of several rounds; beside it the share of a bare forward and backward
of a small convolutional network (16-32-64-96, stride 8) on the same windows.
"""

import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from torch import nn

from medssl.data.geometry import Geometry
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.sessions import prepare_sessions
from medssl.data.scan.settings import AffineSettings, IntensitySettings, PairSettings
from medssl.data.scan.stream import PairStream
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import write_volume
from medssl.transforms.chain import Preprocess

SHAPE, SESSIONS, ROUNDS = (160, 192, 160), 3, 5


def noise(folder: Path) -> tuple[DataSpec, list[Case]]:
    """Sessions of two scans."""
    spec = DataSpec.model_validate(
        {
            "name": "noise",
            "title": "Noise",
            "modality": "MR",
            "channels": ["t1", "t2"],
            "root": str(folder),
            "layout": {"kind": "glob"},
            "licence": "CC0",
            "citation": "none",
        }
    )
    cases = []
    for number in range(SESSIONS):
        rng = np.random.default_rng(number)
        images = {name: folder / f"{number}_{name}.nii" for name in spec.channels}
        for path in images.values():
            write_volume(rng.normal(size=SHAPE), Geometry(SHAPE, np.eye(4)), path)
        cases.append(Case(str(number), str(number), images))
    return spec, cases


def network() -> nn.Module:
    widths = (1, 16, 32, 64, 96)
    layers: list[nn.Module] = []
    for level, (before, after) in enumerate(pairwise(widths)):
        layers += [
            nn.Conv3d(before, after, 3, stride=2 if level else 1, padding=1),
            nn.GroupNorm(8, after),
            nn.GELU(),
        ]
    return nn.Sequential(*layers)


def seconds(call: Callable[[int], object], scans: int) -> float:
    """Per scan, the least of several rounds."""
    call(0)
    taken = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        call(number)
        taken.append((time.perf_counter() - start) / scans)
    return min(taken)


def compare(stream: PairStream, size: int, side: int, net: nn.Module) -> None:
    batch = stream.batch(0)
    windows = batch.windows().flatten(0, 1)
    g = torch.Generator().manual_seed(0)
    step = seconds(lambda _: net(windows).mean().backward(), 2 * size)
    times = {
        "box": seconds(stream.batch, 2 * size),
        "window": seconds(lambda _: batch.windows(), 2 * size),
        "intensity": seconds(lambda _: change_intensity(windows, IntensitySettings(), g), 2 * size),
    }
    parts = ", ".join(
        f"{name} {1e6 * value:7.0f} us ({100 * value / step:4.1f} %)"
        for name, value in times.items()
    )
    print(f"{side}^3: {parts}; forward and backward {1e6 * step:8.0f} us")


def main() -> None:
    torch.set_num_threads(1)
    net = network()
    with tempfile.TemporaryDirectory() as folder:
        sources = [noise(Path(folder))]
        groups = prepare_sessions(sources, Preprocess.of("mr"), Path(folder) / "cache").groups
        for side, size in ((32, 8), (96, 2)):
            patch = (side, side, side)
            stream = PairStream(groups, PairSettings(), AffineSettings(), patch, size, 0)
            compare(stream, size, side, net)


if __name__ == "__main__":
    main()
