"""Our transforms against those of MONAI that they stand for, and the whole chain of `mr`.

    python -m tests.benchmarks.transforms

CPU milliseconds on one thread, the least of several repeats taken in turns, on T1-like noise of
160 x 192 x 144 voxels in the Fortran order in which NIfTI files are read. That both give the same
is a test (tests/transforms/test_compose.py), but for the marked: MONAI's percentiles and mean are
those of all voxels, and its Spacing moves the outer faces.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from monai import transforms as monai

import medssl.transforms as ours
from medssl.data.geometry import Geometry
from medssl.data.volume import Volume, write_volume
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation
from medssl.transforms.reader import as_meta_tensor

SHAPE, REPEATS = (160, 192, 144), 7
KEY = "image"


def scan() -> Volume:
    """A ball of noise in air, 1 x 1 x 1.2 mm, LPS."""
    rng = np.random.default_rng(0)
    inside = (((np.indices(SHAPE).T / SHAPE - 0.5) ** 2).sum(-1) < 0.12).T
    array = np.asfortranarray(np.where(inside, rng.gamma(4, 100, SHAPE), 0).astype(np.float32))
    return Volume(array[None], Geometry(SHAPE, np.diag([-1, -1, 1.2, 1])), "noise")


def least(*calls: Callable[[], Any]) -> list[float]:
    """CPU ms of each call, taken in turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for call, times in zip(calls, taken, strict=True):
            start = time.process_time()
            call()
            times.append(1e3 * (time.process_time() - start))
    return [min(times) for times in taken]


def main() -> None:
    torch.set_num_threads(1)
    volume = scan()
    given = {KEY: as_meta_tensor(volume)}
    crop = monai.Compose([ours.MarkForegroundd(KEY), ours.CropMarkedd(KEY)])
    spacing = (1.5, 1.5, 1.5)
    pairs = {
        "ZScored / NormalizeIntensityd": (
            ours.ZScored(KEY),
            monai.NormalizeIntensityd(KEY, channel_wise=True),
        ),
        "ZScored, clipped / ClipIntensityPercentilesd, NormalizeIntensityd (*)": (
            ours.ZScored(KEY, clip=(0.5, 99.5), foreground=True),
            monai.Compose(
                [
                    monai.ClipIntensityPercentilesd(KEY, lower=0.5, upper=99.5),
                    monai.NormalizeIntensityd(KEY),
                ]
            ),
        ),
        "MarkForegroundd, CropMarkedd / CropForegroundd": (
            crop,
            monai.CropForegroundd(KEY, source_key=KEY),
        ),
        "FieldSpacingd / Spacingd (*)": (
            ours.FieldSpacingd(KEY, spacing),
            monai.Spacingd(KEY, pixdim=spacing),
        ),
    }
    for name, (mine, theirs) in pairs.items():
        report(name, *least(lambda mine=mine: mine(given), lambda theirs=theirs: theirs(given)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        write_volume(volume.array[0], volume.geometry, path)
        mine = ours.LoadVolumed(KEY)
        theirs = monai.LoadImaged(KEY, ensure_channel_first=True)
        named = {KEY: path}
        report("LoadVolumed / LoadImaged", *least(lambda: mine(named), lambda: theirs(named)))
    word = Preparation(Preprocess.of({"mr": {"spacing": spacing, "crop_foreground": True}}))
    whole = monai.Compose(
        [
            monai.CropForegroundd(KEY, source_key=KEY),
            monai.Orientationd(KEY, axcodes="RAS", labels=None),
            monai.ClipIntensityPercentilesd(KEY, lower=0.5, upper=99.5),
            monai.NormalizeIntensityd(KEY),
            monai.Spacingd(KEY, pixdim=spacing),
        ]
    )
    report("`mr` / the same of MONAI (*)", *least(lambda: word(volume), lambda: whole(given)))


def report(name: str, mine: float, theirs: float) -> None:
    print(f"{name:70} {mine:7.1f} ms {theirs:7.1f} ms {theirs / mine:6.1f}x")


if __name__ == "__main__":
    main()
