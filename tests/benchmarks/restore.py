"""Restoring 14 classes to the scan's grid, against resampling every class and taking the argmax.

    python -m tests.benchmarks.restore

CPU seconds are the best of five, on one thread; memory is the growth of the process's peak, each
side in a process of its own (Linux only: the peak is reset and read in /proc). Two kinds of logits:
smooth ones, as networks give, and noise, where every voxel is a border.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.resample import linear_axis, taps
from medssl.infer.restore import restore_labels

CLASSES, NETWORK, SOURCE = 14, (96, 96, 80), (192, 192, 200)


def record() -> Record:
    source = Geometry(SOURCE, np.eye(4))
    return Record(source, source.reshaped(NETWORK))


def logits(kind: str) -> np.ndarray:
    """[K, x, y, z]; smooth: a coarse random field, enlarged."""
    rng = np.random.default_rng(0)
    if kind == "noise":
        return rng.standard_normal((CLASSES, *NETWORK), np.float32)
    field = rng.standard_normal((CLASSES, 8, 8, 7), np.float32)
    for axis, length in zip((3, 2, 1), reversed(NETWORK), strict=True):
        field = linear_axis(field, axis, taps(field.shape[axis], length))
    return field


def every_class(values: np.ndarray, how: Record) -> np.ndarray:
    """The usual way, in torch: the fastest full-volume form we know of."""
    full = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None], size=how.source.shape, mode="trilinear", align_corners=False
    )
    return full[0].argmax(0).to(torch.uint8).numpy()


WAYS: dict[str, Callable[[np.ndarray, Record], np.ndarray]] = {
    "every class": every_class,
    "medssl": restore_labels,
}


def cpu_seconds(way: str, kind: str) -> float:
    values, how = logits(kind), record()
    times = []
    for _ in range(5):
        start = time.process_time()
        WAYS[way](values, how)
        times.append(time.process_time() - start)
    return min(times)


def grown_mebibytes(way: str, kind: str) -> float:
    values, how = logits(kind), record()
    WAYS[way](values, how)  # what is allocated once and for all
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the present size
    before = peak_kibibytes()
    WAYS[way](values, how)
    return (peak_kibibytes() - before) / 1024


def peak_kibibytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def apart(measure: Callable[[str, str], float], way: str, kind: str) -> float:
    """Measured in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (way, kind))


def main() -> None:
    torch.set_num_threads(1)
    print(f"{CLASSES} classes, {NETWORK} to {SOURCE}")
    for kind in ("smooth", "noise"):
        values = logits(kind)
        differ = int((every_class(values, record()) != restore_labels(values, record())).sum())
        seconds = {way: cpu_seconds(way, kind) for way in WAYS}
        memory = {way: apart(grown_mebibytes, way, kind) for way in WAYS}
        for way in WAYS:
            print(f"{kind:7} {way:12} {seconds[way]:6.3f} CPU-s {memory[way]:7.1f} MiB")
        print(
            f"{kind:7} CPU time 1/{seconds['every class'] / seconds['medssl']:.1f}, "
            f"memory 1/{memory['every class'] / memory['medssl']:.1f}, "
            f"{differ} of {np.prod(SOURCE)} labels differ"
        )


if __name__ == "__main__":
    main()
