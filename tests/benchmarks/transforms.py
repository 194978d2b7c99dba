"""Our transforms against those of MONAI that they stand for, and the whole chain of `mr`;
random ones likewise, and what a loop waits for the chain of `standard`.

    python -m tests.benchmarks.transforms

CPU milliseconds on one thread, the least of several repeats taken in turns, on T1-like noise of
160 x 192 x 144 voxels in the Fortran order in which NIfTI files are read. That both give the same
is a test (tests/transforms/test_compose.py), but for the marked: MONAI's percentiles and mean are
those of all voxels, and its Spacing moves the outer faces.

Random transforms always act here, on a patch of 96 x 96 x 96 voxels and, where they move voxels, a
mask of two classes. MONAI rotates and scales by RandAffined, which fills what lies outside, and
has no law like nnU-Net's; the work is alike. Where the work depends on the amount drawn, both have
the same.

What the loop waits: 60 steps of 0.2 s, in which the loop sleeps as it would for a GPU, with two
workers and a batch of two labelled patches of 96 x 96 x 96 voxels, or of two of each stream. Where
other work crowds the machine it waits longer; so the CPU seconds of each batch are put in line as
two free cores would work on them.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch
from monai import transforms as monai

import medssl.transforms as ours
from medssl.data.batch import TrainBatch
from medssl.data.geometry import Geometry
from medssl.data.patches import SinglePatch
from medssl.data.prefetch import Prefetch
from medssl.data.stream import PatchStream
from medssl.data.volume import Volume, write_volume
from medssl.transforms.chain import Augment, Preprocess
from medssl.transforms.compose import Preparation
from medssl.transforms.reader import as_meta_tensor

SHAPE, REPEATS = (160, 192, 144), 7
PATCH, STEPS, STEP_S, WORKERS = (96, 96, 96), 60, 0.2, 2
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
        np.save(Path(folder) / "cached.npy", np.ascontiguousarray(volume.array))
        start, stop = (20, 30, 40), (116, 126, 136)
        box = ours.CropPatchd(KEY, PATCH, start)
        crop = monai.SpatialCropd(KEY, roi_start=start, roi_end=stop)
        cached = Path(folder) / "cached.npy"

        def copied(transform: Callable[[dict[str, Any]], dict[str, Any]]) -> torch.Tensor:
            return transform({KEY: np.load(cached, mmap_mode="r")})[KEY].clone()

        times = least(lambda: copied(box), lambda: copied(crop))
        report("CropPatchd / SpatialCropd, memory-mapped, and a copy", *times)
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


def random_ones() -> None:
    """Our random transforms against MONAI's."""
    both = [KEY, "label"]
    image = torch.randn(1, *PATCH)
    ball = (
        (torch.stack(torch.meshgrid(*map(torch.arange, PATCH), indexing="ij")) - 48.0) ** 2
    ).sum(0)
    label = (ball < 900).to(torch.uint8)[None] + (ball < 200).to(torch.uint8)[None]
    data = {KEY: image, "label": label}
    turned = {"rotate_range": [0.52] * 3, "scale_range": [0.4] * 3, "padding_mode": "zeros"}
    gamma = {"prob": 1, "gamma": (0.7, 1.5)}
    sigma = {f"sigma_{axis}": (0.5, 1.0) for axis in "xyz"}
    pairs = {
        "RandRotateScaled / RandAffined": (
            ours.RandRotateScaled(both, prob_rotation=1, prob_scaling=1),
            monai.RandAffined(both, prob=1, mode=("bilinear", "nearest"), **turned),
        ),
        "RandRotateScaled, image alone / RandAffined": (
            ours.RandRotateScaled(KEY, prob_rotation=1, prob_scaling=1),
            monai.RandAffined(KEY, prob=1, **turned),
        ),
        "RandRotateScaled, larger / RandZoomd": scaled(KEY, 0.8, mode="trilinear"),
        "RandRotateScaled, smaller / RandZoomd": scaled(KEY, 1.25, mode="trilinear"),
        "RandRotateScaled, smaller, with mask / RandZoomd": scaled(
            both, 1.25, mode=["trilinear", "nearest"]
        ),
        "RandMirrord / three RandFlipd": (
            ours.RandMirrord(both, prob=1),
            monai.Compose([monai.RandFlipd(both, prob=1, spatial_axis=axis) for axis in range(3)]),
        ),
        "RandBlurd / RandGaussianSmoothd": (
            ours.RandBlurd(KEY, prob=1, channel_prob=1),
            monai.RandGaussianSmoothd(KEY, prob=1, **sigma),
        ),
        "RandBrightnessd / RandScaleIntensityd": (
            ours.RandBrightnessd(KEY, prob=1),
            monai.RandScaleIntensityd(KEY, prob=1, factors=0.25),
        ),
        "RandContrastd / RandScaleIntensityFixedMeand": (
            ours.RandContrastd(KEY, prob=1),
            monai.RandScaleIntensityFixedMeand(KEY, prob=1, factors=0.25, preserve_range=True),
        ),
        "RandLowResolutiond / RandSimulateLowResolutiond": (
            ours.RandLowResolutiond(KEY, prob=1, channel_prob=1, zoom=(0.75, 0.75)),
            monai.RandSimulateLowResolutiond(KEY, prob=1, zoom_range=(0.75, 0.75)),
        ),
        "RandGammaRangePreservingd / RandAdjustContrastd": (
            ours.RandGammaRangePreservingd(KEY, **gamma),
            monai.RandAdjustContrastd(KEY, **gamma),
        ),
        "RandGammaRangePreservingd, restored / RandAdjustContrastd": (
            ours.RandGammaRangePreservingd(KEY, retain_stats=True, **gamma),
            monai.RandAdjustContrastd(KEY, retain_stats=True, **gamma),
        ),
    }
    for name, (mine, theirs) in pairs.items():
        for one in (mine, theirs):
            one.set_random_state(0)
        report(name, *least(lambda mine=mine: mine(data), lambda theirs=theirs: theirs(data)))


def radiographs() -> None:
    """Our transforms of radiographs and crops against MONAI's; a film of 2000 x 1600 pixels."""
    rng = np.random.default_rng(0)
    film = {KEY: torch.from_numpy(rng.gamma(4, 200, (1, 2000, 1600)).astype(np.float32))}
    crops = {KEY: torch.rand(2, 128, 128)}
    placed = {"rotate_range": 0.17, "translate_range": 6, "padding_mode": "zeros"}
    pairs = {
        "StretchPercentilesd / ScaleIntensityRangePercentilesd": (
            film,
            ours.StretchPercentilesd(KEY),
            monai.ScaleIntensityRangePercentilesd(KEY, 5, 99, 0, 255, clip=True),
        ),
        "RandTurnShiftd / RandAffined": (
            crops,
            ours.RandTurnShiftd(KEY),
            monai.RandAffined(KEY, prob=1, **placed),
        ),
        "RandMixNoised / RandGaussianNoised": (
            crops,
            ours.RandMixNoised(KEY, prob=1),
            monai.RandGaussianNoised(KEY, prob=1),
        ),
        "RandInverseGammad / RandAdjustContrastd": (
            crops,
            ours.RandInverseGammad(KEY, prob=1),
            monai.RandAdjustContrastd(KEY, prob=1, gamma=(0.5, 1.5)),
        ),
    }
    for name, (data, mine, theirs) in pairs.items():
        report(
            name,
            *least(
                lambda mine=mine, data=data: mine(data),
                lambda theirs=theirs, data=data: theirs(data),
            ),
        )


def scaled(keys: Any, factor: float, mode: Any) -> tuple[Any, Any]:
    """Ours and MONAI's transform for scaling by one factor; MONAI has its inverse."""
    zoom = {"min_zoom": 1 / factor, "max_zoom": 1 / factor, "mode": mode}
    mine = ours.RandRotateScaled(keys, 0, prob_scaling=1, scaling=(factor, factor))
    return mine, monai.RandZoomd(keys, prob=1, **zoom)


@dataclass(frozen=True)
class Stored:
    """A case of float16 in memory, as the cache has it."""

    image: np.ndarray
    mask: np.ndarray
    id: str = "noise"
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None


class Timed:
    """A stream that notes the CPU seconds of each batch."""

    def __init__(self, stream: PatchStream) -> None:
        self._stream = stream
        self.taken: dict[int, float] = {}

    def batch(self, number: int) -> TrainBatch:
        start = time.thread_time()
        batch = self._stream.batch(number)
        self.taken[number] = time.thread_time() - start
        return batch


def waiting() -> None:
    """Share of the time that a loop waits for `standard`, and what a patch takes."""
    volume = np.ascontiguousarray(scan().array)
    case = Stored(volume.astype(np.float16), (volume[0] > 400).astype(np.uint8))
    for kinds in (("labelled",), ("labelled", "unlabelled")):
        streams = {
            kind: Timed(PatchStream(kind, [case], SinglePatch(PATCH), Augment.of("standard"), 2, 0))
            for kind in kinds
        }
        feed = Prefetch(streams, 0, WORKERS)
        start = time.perf_counter()
        for _ in range(STEPS):
            feed.take()
            time.sleep(STEP_S)
        whole = time.perf_counter() - start
        feed.close()
        taken = [[one.taken[number] for one in streams.values()] for number in range(STEPS)]
        patches = 2 * len(kinds) * STEPS
        print(
            f"`standard`, {patches // STEPS} patches a step: the loop waits "
            f"{100 * feed.waited / whole:.1f} % of its time, {100 * idle_wait(taken):.1f} % were "
            f"two cores free; {1e3 * sum(map(sum, taken)) / patches:.0f} CPU ms a patch"
        )


def idle_wait(taken: list[list[float]]) -> float:
    """The share that a loop would wait for batches of these CPU seconds on free cores.

    Tasks start in the order of their batches, WORKERS batches ahead, as `Prefetch` has it.
    """
    free, submitted, now, waited = [0.0] * WORKERS, [0.0] * WORKERS, 0.0, 0.0
    for number, tasks in enumerate(taken):
        done = 0.0
        for seconds in tasks:
            worker = free.index(min(free))
            free[worker] = max(free[worker], submitted[number]) + seconds
            done = max(done, free[worker])
        waited += max(0.0, done - now)
        now = max(now, done)
        submitted.append(now)
        now += STEP_S
    return waited / now


def report(name: str, mine: float, theirs: float) -> None:
    print(f"{name:70} {mine:7.1f} ms {theirs:7.1f} ms {theirs / mine:6.1f}x")


if __name__ == "__main__":
    main()
    random_ones()
    radiographs()
    waiting()
