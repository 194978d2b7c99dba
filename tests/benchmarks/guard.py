"""How well the guard of a hippocampus model tells scans of other kinds from held-out hippocampi.

    MEDSSL_DATA=... MEDSSL_RUNS=... MEDSSL_CACHE=... python -m tests.benchmarks.guard --seeds 0 1 2

Trains a supervised model of 300 steps per seed (16 labels; the guard knows some of the 160 scans of
training) and judges the 40 test scans, which neither saw, and scans of other kinds. Prints the
AUROC of each kind against the test scans (of the guard, and of each thing that it measures by
itself), the share that is marked, and what the guard costs beside a prediction.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume, read_volume
from medssl.environment import data_root
from medssl.infer.checkpoint_guard import watch_of
from medssl.infer.cleaning import Cleaning
from medssl.infer.guard import Verdict
from medssl.infer.predict import predict_case
from medssl.infer.scan_traits import PARTS
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import train
from medssl.train.checkpoint import load_checkpoint
from medssl.transforms.compose import Preparation

KEYS = ["method=supervised", "split.labels=16", "split.validation=0", "split.test=40",
        "train.device=cpu"]  # fmt: skip

SIZE = (36, 50, 35)
"""Voxels of a box of 1 mm as large as a hippocampus volume."""


def others() -> Iterator[tuple[str, Volume]]:
    """Real scans of other organs and sequences, by their kind."""
    for folder in sorted((data_root() / "left_atrium" / "test").iterdir()):
        (path,) = folder.glob("image*")
        yield "left atrium, LGE MR", read_volume(path)
    for folder in sorted((data_root() / "lgg_lesions").glob("TCGA*")):
        for name in ("t1", "flair"):
            brain = read_volume(folder / f"{name}.nii.gz")
            yield f"whole brain, {name.upper()}", brain
            yield f"box of a brain, {name.upper()}", middle(brain)
    for folder in sorted((data_root() / "ms_lesions").iterdir()):
        if (folder / "t2.nii.gz").is_file():
            yield "box of a brain, T2 of 2 mm", middle(read_volume(folder / "t2.nii.gz"))


def middle(scan: Volume) -> Volume:
    """A box of the size of a hippocampus volume from the middle of a scan."""
    axes = zip(scan.geometry.shape, SIZE, scan.geometry.spacing, strict=True)
    sides = [min(length, max(8, round(mm / step))) for length, mm, step in axes]
    first = [(n - side) // 2 for n, side in zip(scan.geometry.shape, sides, strict=True)]
    last = [low + side for low, side in zip(first, sides, strict=True)]
    box = tuple(slice(low, high) for low, high in zip(first, last, strict=True))
    grid = scan.geometry.cropped(tuple(first), tuple(last))
    return Volume(np.ascontiguousarray(scan.array[(slice(None), *box)]), grid, scan.source)


def changed(scan: Volume, draw: np.random.Generator) -> Iterator[tuple[str, Volume]]:
    """A hippocampus volume, made into what the model has never seen."""
    array, spread = scan.array, float(scan.array.std())
    noise = draw.normal(size=array.shape).astype(np.float32)
    scaled = (array - array.min()) / max(float(np.ptp(array)), 1e-6)
    made = {
        "inverted intensities": array.max() + array.min() - array,
        "noise alone": float(array.mean()) + spread * noise,
        "noise added (1 SD)": array + spread * noise,
        "gamma 3": scaled**3 * float(np.ptp(array)),
        "upside down (2nd axis)": array[:, :, ::-1].copy(),
        "upside down (3rd axis)": array[:, :, :, ::-1].copy(),
        "left is right (1st axis)": array[:, ::-1].copy(),
    }
    for kind, values in made.items():
        yield kind, Volume(values.astype(np.float32), scan.geometry, scan.source)
    coarse = Geometry(scan.geometry.shape, scan.geometry.affine @ np.diag([2.0, 2, 2, 1]))
    yield "header says 2 mm", Volume(array, coarse, scan.source)


def judged(seed: int, steps: int) -> tuple[dict[str, list[Verdict]], Any, dict[str, float]]:
    """Verdicts by kind, the guard, and seconds."""
    config = load_config("hippocampus", [*KEYS, f"seed={seed}", f"train.steps={steps}"])
    began = time.perf_counter()
    folder = train(config, QuietReporter())["model"]
    seconds = {"training": time.perf_counter() - began}
    plan = make_plan(config)
    predictor, found = load_checkpoint(folder)
    device = torch.device("cpu")
    watch = watch_of(folder, predictor, found, device)
    assert watch is not None
    prepare, draw = Preparation(found.preprocess), np.random.default_rng(seed)
    verdicts: dict[str, list[Verdict]] = {}

    def judge(kind: str, scan: Volume) -> None:
        verdicts.setdefault(kind, []).append(watch(scan, prepare(scan).image))

    seconds["prediction"] = seconds["prediction with guard"] = 0.0
    tests = [read_volume([case.images["t1"]]) for case in plan.cohort.test]
    how = found.outputs, device, Cleaning.of(found.predict, found.classes)
    for scan in tests:
        judge("held-out hippocampus", scan)
        for kind, one in changed(scan, draw):
            judge(kind, one)
    for number in range(3 * len(tests)):  # in turn, as other work comes and goes
        for name, watcher in (("prediction", None), ("prediction with guard", watch)):
            scan, began = tests[number % len(tests)], time.process_time()
            predict_case(predictor, scan, prepare, found.patch, found.predict, *how, watch=watcher)
            seconds[name] += time.process_time() - began
    for kind, scan in others():
        judge(kind, scan)
    for study in ("study1", "study3"):
        for path in sorted((data_root() / "dicom_brain" / study).glob("*HCropVolume")):
            judge("hippocampus in DICOM, another clinic", read_volume(path))
    return verdicts, watch.guard, seconds


def told(verdicts: dict[str, list[Verdict]], limit: float) -> dict[str, list[float]]:
    """By kind: AUROC against the first of the guard and of each part, and the share marked."""
    own = next(iter(verdicts.values()))
    rows = {}
    for kind, found in verdicts.items():
        truth = [0] * len(own) + [1] * len(found)
        scores = [[one.score for one in (*own, *found)]]
        scores += [[one.scores[part] for one in (*own, *found)] for part in PARTS]
        aucs = [float(roc_auc_score(truth, one)) for one in scores]
        rows[kind] = [*aucs, float(np.mean([one.score > limit for one in found])), len(found)]
    return rows


def main() -> None:
    """Print a table of means over the seeds, with the least and the greatest AUROC."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=0.02)
    options, tables, costs = parser.parse_args(), [], []
    for seed in options.seeds:
        verdicts, guard, seconds = judged(seed, options.steps)
        tables.append(told(verdicts, guard.limit(options.rate)))
        costs.append(seconds)
        print(f"seed {seed}: limit {guard.limit(options.rate):.2f}, stated false alarms "
              f"{guard.false_alarms(options.rate):.3f} (at most "
              f"{guard.false_alarms_at_most(options.rate):.3f}), {len(guard.scores)} scans, "
              f"{ {k: round(v, 1) for k, v in seconds.items()} } s")  # fmt: skip
    show(tables)
    more = np.mean([c["prediction with guard"] / c["prediction"] - 1 for c in costs])
    print(f"\nprediction takes {more:+.1%} with the guard")


def show(tables: list[dict[str, list[float]]]) -> None:
    """Print means over what `told` gave of each seed, with the least and the greatest AUROC."""
    print(f"\n| scans | number | AUROC [least, greatest] | marked | {' | '.join(PARTS)} |")
    print("|" + "---|" * (4 + len(PARTS)))
    for kind in tables[0]:
        rows = np.array([table[kind] for table in tables])
        mean = rows.mean(0)
        parts = " | ".join(f"{one:.3f}" for one in mean[1:-2])
        print(f"| {kind} | {int(mean[-1])} | {mean[0]:.3f} [{rows[:, 0].min():.3f}, "
              f"{rows[:, 0].max():.3f}] | {mean[-2]:.1%} | {parts} |")  # fmt: skip


if __name__ == "__main__":
    main()
