"""Loading prepared cases against reading and transforming NIfTI anew, and what a step waits for.

    python -m tests.benchmarks.loading [--no-steps]

On noise of a usual size and, with MEDSSL_DATA set, on the real data sets of the CPU pipelines.
CPU milliseconds on one thread, the least of several repeats:

- MONAI anew: image and label are read, and Orientation, Spacing and the intensity transform that
  the pipeline asks for applied, by MONAI's own transforms, without a cache;
- load: a whole case, image as float32 and mask, from our cache into memory;
- open: once per run and case, which hashes the files and loads them;
- patch: one patch of image and mask at a random place, from our memory maps, from MONAI's
  CacheDataset (all cases in memory), its PersistentDataset (a .pt file a case), and from blosc2 in
  nnU-Net's way (memory-mapped, compressed blocks), where that package is installed.

The share of time that training waits for data is the loop's own, over 30 steps of each pipeline.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import numpy as np
import torch

from medssl.data.cache import CachedCase, CaseCache
from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.patches import SinglePatch, cut
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError
from medssl.families.segment.streams import streams
from medssl.families.segment.train import build_method, used_cases
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.plan import cohort_of
from medssl.train.loop import Callbacks, fit
from medssl.transforms.chain import Preprocess

CASES, REPEATS, STEPS, PATCH = 8, 5, 30, 64
PIPELINES = ("hippocampus", "left_atrium")


def noise(folder: Path) -> tuple[DataSpec, list[Case], Preprocess]:
    """Two T1-like volumes of 1 mm, resampled to 1.5 mm."""
    spec = DataSpec.model_validate(
        {
            "name": "noise",
            "title": "Noise",
            "modality": "MR",
            "channels": ["T1"],
            "labels": [{"value": 1, "name": "part"}],
            "root": str(folder),
            "layout": {"kind": "glob"},
            "licence": "CC0",
            "citation": "none",
        }
    )
    shape = (192, 224, 160)
    cases = []
    for number in range(2):
        rng = np.random.default_rng(number)
        image, label = folder / f"{number}.nii.gz", folder / f"{number}_seg.nii.gz"
        write_volume(rng.integers(0, 1000, shape), Geometry(shape, np.eye(4)), image)
        write_mask(rng.random(shape) > 0.9, Geometry(shape, np.eye(4)), label)
        cases.append(Case(str(number), str(number), {"T1": image}, label))
    return spec, cases, Preprocess.of({"mr": {"spacing": (1.5, 1.5, 1.5)}})


def real(name: str) -> tuple[DataSpec, list[Case], Preprocess]:
    config = load_config(name)
    return config.spec, find_cases(config.spec)[:CASES], config.pipeline.preprocess


def monai_transform(chain: Preprocess, channel: str) -> Callable[[dict[str, Any]], Any]:
    """What the settings ask for, by MONAI's own transforms."""
    from monai import transforms as t

    settings: Any = chain.keys
    both = (channel, "label")
    steps: list[Any] = [t.LoadImaged(both), t.EnsureChannelFirstd(both)]
    if settings.orientation is not None:
        steps.append(t.Orientationd(both, axcodes=settings.orientation, labels=None))
    if settings.spacing is not None:
        steps.append(t.Spacingd(both, pixdim=settings.spacing, mode=("bilinear", "nearest")))
    if settings.intensity == "minmax":
        steps.append(t.ScaleIntensityd(channel))
    else:
        steps.append(t.ClipIntensityPercentilesd(channel, lower=0.5, upper=99.5))
        steps.append(t.NormalizeIntensityd(channel))
    return t.Compose(steps)


def load(case: CachedCase) -> tuple[np.ndarray, np.ndarray]:
    return case.image.astype(np.float32), np.array(case.mask)


def cpu_seconds(call: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Per item, the least of several rounds over all items."""
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        for item in items:
            call(item)
        taken.append((time.process_time() - start) / len(items))
    return min(taken)


def compare(name: str, spec: DataSpec, cases: list[Case], settings: Preprocess) -> None:
    channel = spec.channels[0]
    files = [{channel: str(case.images[channel]), "label": str(case.label)} for case in cases]
    with tempfile.TemporaryDirectory() as root:
        cache = CaseCache(Path(root), spec, settings)
        prepared = list(cache.prepare(cases).values())
        anew = cpu_seconds(monai_transform(settings, channel), files)
        loading = cpu_seconds(load, prepared)
        opening = cpu_seconds(lambda case: load(cache.open(case)), cases)
        patches = patch_times(prepared, Path(root))
    print(
        f"{name:12} MONAI {1e3 * anew:7.2f} ms  load {1e3 * loading:6.2f} ms, "
        f"{anew / loading:5.1f}x faster  open {1e3 * opening:6.2f} ms, "
        f"{anew / opening:5.1f}x faster"
    )
    ours = patches["medssl"]
    ratios = (f"{name} {1e3 * one:.3f} ms ({one / ours:.1f}x)" for name, one in patches.items())
    print(f"{'':12} patch: {', '.join(ratios)}")


def patch_times(prepared: list[CachedCase], folder: Path) -> dict[str, float]:
    """CPU seconds for a random patch of image and mask, by how prepared cases are kept."""
    from monai.data import CacheDataset, PersistentDataset
    from monai.transforms import Compose, RandSpatialCropd

    side = tuple(min(PATCH, *(min(one.image.shape[1:]) for one in prepared)) for _ in range(3))
    sampler, rng = SinglePatch(side), np.random.default_rng(0)

    def ours(case: CachedCase) -> None:
        (start,) = sampler.draw(case.image.shape[1:], rng)
        cut(case.image, start, side, case.floor).astype(np.float32)
        cut(case.mask[None], start, side, 0)

    def whole(case: CachedCase) -> dict[str, torch.Tensor]:
        image, mask = load(case)
        return {"image": torch.from_numpy(image), "label": torch.from_numpy(mask[None])}

    crop = Compose([whole, RandSpatialCropd(("image", "label"), side, random_size=False)])
    in_memory = CacheDataset(prepared, crop, progress=False)
    on_disk = PersistentDataset(prepared, crop, folder / "persistent", hash_func=case_name)
    numbers = list(range(len(prepared))) * 10
    for number in numbers:
        on_disk[number]
    found = {
        "medssl": cpu_seconds(ours, prepared * 10),
        "CacheDataset": cpu_seconds(in_memory.__getitem__, numbers),
        "PersistentDataset": cpu_seconds(on_disk.__getitem__, numbers),
    }
    try:
        import blosc2
    except ImportError:
        print("blosc2 is not installed, so its store is left out")
        return found
    kept = []
    for number, case in enumerate(prepared):
        arrays = []
        for name, array in zip("im", load(case), strict=True):
            path = str(folder / f"{number}{name}.b2nd")
            blocks = tuple(min(PATCH, length) for length in array.shape[-3:])
            lead = (1,) * (array.ndim - 3)
            blosc2.asarray(array, urlpath=path, chunks=lead + blocks, blocks=lead + blocks)
            arrays.append(blosc2.open(urlpath=path, mode="r", mmap_mode="r"))
        kept.append(arrays)

    def from_blosc(arrays: list[Any]) -> None:
        (start,) = sampler.draw(arrays[0].shape[1:], rng)
        box = tuple(slice(low, low + n) for low, n in zip(start, side, strict=True))
        arrays[0][(slice(None), *box)]
        arrays[1][box]

    found["blosc2"] = cpu_seconds(from_blosc, kept * 10)
    return found


def case_name(case: CachedCase) -> bytes:
    return case.id.encode()


class Watch:
    """Reporter and log that keep the last step's values."""

    values: dict[str, float]

    def begin(self, total: int, start: int) -> None: ...

    def step(self, step: int, values: dict[str, float]) -> None:
        self.values = values

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


def waiting(config: Config) -> dict[str, float]:
    """Train a little; steps per second and the share of time spent waiting."""
    cohort = cohort_of(config)
    cases, split = cohort.cases, cohort.split
    method, watch = build_method(config), Watch()
    train = config.pipeline.train.model_copy(update={"steps": STEPS, "device": "cpu"})
    with tempfile.TemporaryDirectory() as root:
        cache = CaseCache(Path(root), config.spec, config.pipeline.preprocess)
        cached = cache.prepare(used_cases(cases, split))
        fit(
            method,
            streams(config, method, split, cached),
            train,
            config.pipeline.seed,
            Path(root) / "state.pt",
            Callbacks(None, lambda *_: None),
            watch,
            watch,
        )
    return watch.values


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        compare("noise", *noise(Path(folder)))
    found = []
    for name in PIPELINES:
        try:
            compare(name, *real(name))
            found.append(name)
        except DataError as error:
            print(f"{name}: left out; {error}")
    if "--no-steps" in sys.argv:
        return
    torch.set_num_threads(2)
    for name in found:
        for overrides in ([], ["method=supervised"]):
            config = load_config(name, overrides)
            values = waiting(config)
            print(
                f"{name:12} {config.pipeline.method.name:11} {values['steps_per_s']:5.1f} steps/s, "
                f"waiting for data {100 * values['wait_share']:.2f} % of the time"
            )


if __name__ == "__main__":
    main()
