"""How busy reading keeps the encoder, and what memory it takes, while slides become features.

    python -m tests.benchmarks.tiling

On made slides of 4096 and 16384 pixels a side (JPEG tiles, half of it tissue) and, with MEDSSL_DATA
set, on the real ones. The busy share is the encoder's part of the wall time of the whole: opening,
finding tissue, reading and writing included; at least 90 % is wanted. Two encoders on one torch
thread: ResNet-18 (MONAI), a usual one, and a single convolution, which leaves reading no time.
Tiles per second of reading alone say what an encoder on a faster device could be fed. Memory is the
peak of the process; it must not grow with the slide by more than its features.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

from medssl.data.slide.reader import open_slide
from medssl.data.slide.sample import read_tiles
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import tile_grid
from medssl.environment import data_root
from medssl.infer.features import extract_features

SIDES, WORKERS, BATCH, MOST = (4096, 16384), 2, 32, 400
KEPT = {"otsu": TileSettings(), "edges": TileSettings(tissue="edges")}


def blocks(side: int) -> Iterator[np.ndarray]:
    """Tiles of 512 pixels, row by row: smooth stained noise on the left half, bright on the right.

    One at a time, so that making the slide takes no more memory than reading it.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (128, 128)).astype(np.uint8)
    noise = np.asarray(Image.fromarray(coarse).resize((512, 512)), np.float32)[..., None] / 255
    tissue = (np.array((130, 50, 120)) + noise * np.array((100, 120, 80))).astype(np.uint8)
    bright = np.full((512, 512, 3), 243, np.uint8)
    for number in range((side // 512) ** 2):
        yield tissue if number % (side // 512) < side // 1024 else bright


def make(path: Path, side: int) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for number in range(2):
            shrunk = side >> 2 * number
            tiff.write(
                blocks(shrunk),
                shape=(shrunk, shrunk, 3),
                dtype=np.uint8,
                tile=(512, 512),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 80},
                subfiletype=int(number > 0),
                resolution=(2e4, 2e4),
                resolutionunit="CENTIMETER",
                metadata=None,
            )


class Few(nn.Module):
    """A single strided convolution: hardly any work."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images).mean((2, 3))


def resnet18() -> nn.Module:
    from monai.networks.nets import resnet18 as build

    return build(spatial_dims=2, n_input_channels=3, feed_forward=False, conv1_t_stride=2)


def peak() -> float:
    """Largest memory of the process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reading(path: Path, settings: TileSettings) -> tuple[int, float, float]:
    """Kept tiles, seconds to find them, and tiles per second that threads read."""
    with open_slide(path) as slide:
        start = time.perf_counter()
        grid = tile_grid(slide, settings, WORKERS)
        found = time.perf_counter() - start
        numbers = np.linspace(0, len(grid) - 1, min(MOST, len(grid))).astype(int)
        start = time.perf_counter()
        for first in range(0, len(numbers), BATCH):
            read_tiles(slide, grid, numbers[first : first + BATCH], WORKERS)
        return len(grid), found, len(numbers) / (time.perf_counter() - start)


def extracting(
    slides: dict[str, Path], name: str, encoder: nn.Module, settings: TileSettings
) -> None:
    with tempfile.TemporaryDirectory() as out:
        found = extract_features(
            slides, Path(out), encoder, name, settings, batch=BATCH, workers=WORKERS
        )
    print(
        f"  {', '.join(slides)}\n    {name:16} {settings.tissue:6} "
        f"{found.tiles:5} tiles in {found.seconds:6.1f} s, "
        f"{found.tiles / found.seconds:6.1f} tiles/s, "
        f"encoder busy {100 * (found.busy_share or 0):5.1f} %, peak memory {peak():5.0f} MB"
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as root:
        made = {f"made_{side}": Path(root) / f"{side}.tif" for side in SIDES}
        sets = [{name: path} for name, path in made.items()]
        for path, side in zip(made.values(), SIDES, strict=True):
            make(path, side)
        real = {path.stem: path for path in sorted((data_root() / "slides").glob("*.svs"))}
        if real:
            sets.append(real)
        print(f"peak memory before: {peak():.0f} MB")
        for name, path in {**made, **real}.items():
            kept, found, rate = reading(path, KEPT["otsu"])
            print(f"  {name}: {kept} tiles found in {found:.2f} s, read at {rate:.0f} tiles/s")
        # First what takes little memory itself, so that the peak is that of reading.
        for slides in sets:
            extracting(slides, "one convolution", Few(), KEPT["otsu"])
        for slides in (sets[0], *sets[len(made) :]):
            for settings in KEPT.values():
                extracting(slides, "ResNet-18", resnet18(), settings)


if __name__ == "__main__":
    main()
