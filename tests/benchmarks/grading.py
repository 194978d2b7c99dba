"""A semixup step against a bare forward and backward pass of as many images.

    python -m tests.benchmarks.grading [WIDTH,SIDE ...]

The step is a whole update: views drawn from bytes, mixing, one pass, losses, backward, Adam. Bare
is the network alone on equally many random images, with a gradient at hand. Images per second are
those that go through the network; CPU seconds, the least of several interleaved repeats, on one
thread. Beside it, a step of supervised_mixup, and what the views cost.
"""

import os
import sys
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from medssl.data.radiograph.augment import random_view
from medssl.data.radiograph.batch import RadiographBatch
from medssl.methods.method import GradeMethod, GradeTask, Progress
from medssl.methods.registry import implementation, settings_class
from medssl.networks.grader_settings import GraderSettings
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.allocator import keep_freed_memory
from medssl.train.update import make_update
from medssl.transforms.radiograph_chain import RadiographAugment

BATCH, REPEATS = 20, 7
SIZES = ("8,48", "8,64", "16,48", "16,64")


def build(name: str, width: int, side: int) -> GradeMethod:
    settings = settings_class(name)()
    task = GradeTask(
        ("lateral", "medial"),
        ("KL0", "KL1", "KL2", "KL3", "KL4"),
        side,
        GraderSettings(width=width, init="he"),
        RadiographAugment.of("semixup"),
    )
    method = implementation(settings)(settings, task, 0)
    assert isinstance(method, GradeMethod)
    return method


def step(method: GradeMethod, side: int) -> Callable[[], object]:
    adam = OptimiserSettings(name="adam", learning_rate=1e-3, schedule="constant", weight_decay=0)
    update = make_update(method, LoopSettings(optimiser=adam), 0, torch.device("cpu"))
    ids = tuple(map(str, range(BATCH)))
    given = {
        kind: RadiographBatch(
            torch.randint(256, (BATCH, 2, side, side), dtype=torch.uint8),
            torch.randint(5, (BATCH,)) if kind == "labelled" else None,
            ids,
        )
        for kind in method.streams
    }
    return lambda: update(given, Progress(1, 10))


def bare(method: GradeMethod, images: int, side: int) -> Callable[[], object]:
    network = method.predictor().train()
    image, gradient = torch.rand(images, 2, side, side), torch.randn(images, 5)

    def run() -> None:
        network.zero_grad(set_to_none=True)
        network(image).backward(gradient)

    return run


def views(side: int) -> Callable[[], object]:
    image = torch.randint(256, (3 * BATCH, 2, side, side), dtype=torch.uint8)
    return lambda: random_view(
        image, RadiographAugment.of("semixup"), torch.Generator().manual_seed(0)
    )


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(width: int, side: int) -> None:
    semixup, baseline = build("semixup", width, side), build("supervised_mixup", width, side)
    calls = {
        "semixup": step(semixup, side),
        "bare": bare(build("semixup", width, side), 4 * BATCH, side),
        "baseline": step(baseline, side),
        "views": views(side),
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS):
        for name, call in calls.items():
            found[name].append(cpu_seconds(call))
    least = {name: min(times) for name, times in found.items()}
    print(
        f"width {width:2}, side {side:3}, {BATCH} images a stream: semixup {least['semixup']:.3f} "
        f"CPU-s a step, {4 * BATCH / least['semixup']:.0f} images/s; bare "
        f"{4 * BATCH / least['bare']:.0f} images/s, ratio {least['bare'] / least['semixup']:.3f}; "
        f"views {least['views']:.3f} CPU-s; supervised_mixup {least['baseline']:.3f} CPU-s a step"
    )


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    for size in sys.argv[1:] or SIZES:
        width, side = map(int, size.split(","))
        measure(width, side)


if __name__ == "__main__":
    main()
