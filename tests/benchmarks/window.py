"""Sliding window against MONAI's: CPU time and peak memory, as ratios measured in one run.

    python -m tests.benchmarks.window

Same network, weights and windows. Every reading is taken in a process of its own, on one thread:
first the peak of memory above what the process held before the call, then the least CPU time of
several repeats. Both arms keep freed memory, as medssl always does on a CPU: by itself MONAI pays
up to twice as much again for having memory mapped anew. MONAI is read at 1, 2, 4 and 8 windows per
call and its fastest is compared. Memory is read from /proc, so Linux only.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medssl.infer.window import Triple, sliding_window, sliding_window_slabs
from medssl.networks.build import build_network
from medssl.networks.settings import NetworkSettings
from medssl.train.allocator import keep_freed_memory

BATCHES = (1, 2, 4, 8)
OURS = 0
"""Stands for our own choice of windows per call."""


@dataclass(frozen=True)
class Case:
    """One comparison; a stride is half the patch."""

    shape: Triple
    patch: Triple
    classes: int
    network: str
    labels: bool
    repeats: int

    @property
    def stride(self) -> Triple:
        x, y, z = self.patch
        return x // 2, y // 2, z // 2

    def image(self) -> Tensor:
        return torch.randn((1, *self.shape), generator=torch.Generator().manual_seed(1))

    def predictor(self) -> nn.Module:
        torch.manual_seed(2)
        if self.network == "pointwise":
            return nn.Conv3d(1, self.classes, 1).eval()
        settings = NetworkSettings(name="vnet", width=8, levels=4)
        return build_network(settings, 1, self.classes, seed=2).eval()


CASES = {
    "stitching, logits": Case((192, 192, 160), (112, 112, 80), 14, "pointwise", False, 5),
    "stitching, labels": Case((192, 192, 160), (112, 112, 80), 14, "pointwise", True, 5),
    "five windows long": Case((192, 96, 288), (96, 96, 96), 14, "pointwise", True, 5),
    "five patches long": Case((96, 96, 320), (64, 64, 64), 14, "pointwise", True, 5),
    "V-Net, logits": Case((80, 80, 64), (32, 32, 32), 3, "vnet", False, 5),
    "V-Net, five patches long": Case((96, 96, 320), (64, 64, 64), 14, "vnet", True, 2),
}


def ours(case: Case, image: Tensor, predictor: nn.Module) -> Tensor:
    if case.labels:
        labels = torch.empty(case.shape, dtype=torch.uint8)
        for where, logits in sliding_window_slabs(image, predictor, case.patch, case.stride):
            labels[where] = logits.argmax(0)
        return labels
    return sliding_window(image, predictor, case.patch, case.stride)


def monai(case: Case, image: Tensor, predictor: nn.Module, batch: int) -> Tensor:
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        logits = sliding_window_inference(
            image[None], case.patch, batch, predictor, overlap=0.5, mode="gaussian"
        )
        return logits[0].argmax(0).to(torch.uint8) if case.labels else logits[0]


def measure(case: Case, batch: int) -> dict[str, float]:
    """CPU seconds and bytes of one arm, in this process."""
    keep_freed_memory()
    image, predictor = case.image(), case.predictor()

    def answer(case: Case = case, image: Tensor = image) -> Tensor:
        if batch == OURS:
            return ours(case, image, predictor)
        return monai(case, image, predictor, batch)

    small = replace(case, patch=(16, 16, 16))
    answer(small, image[:, :16, :16, :16])  # so that what is loaded on first use is loaded
    grown = peak_growth(answer)
    return {"seconds": min(cpu_seconds(answer, case.repeats)), "bytes": grown}


def cpu_seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return taken


def peak_growth(call: Callable[[], Any]) -> float:
    """Bytes by which the process grows at most during a call."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * float(line.split()[1])
    raise LookupError(key)


def elsewhere(name: str, batch: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.window", name, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reading: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return reading


def agreement(case: Case) -> str:
    """Logits and labels of both on the same input."""
    image, predictor = case.image(), case.predictor()
    mine, theirs = ours(case, image, predictor), monai(case, image, predictor, 4)
    if case.labels:
        return f"labels differ in {int((mine != theirs).sum())} of {mine.numel()} voxels"
    return f"logits differ by at most {float((mine - theirs).abs().max()):.1e}"


def main() -> None:
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        print(json.dumps(measure(CASES[sys.argv[1]], int(sys.argv[2]))))
        return
    for name, case in CASES.items():
        mine = elsewhere(name, OURS)
        theirs = {batch: elsewhere(name, batch) for batch in BATCHES}
        print(f"{name}: {case.shape}, patch {case.patch}, {case.classes} classes")
        print(f"  {agreement(case)}")
        fastest = min(BATCHES, key=lambda batch: theirs[batch]["seconds"])
        for key, unit in (("seconds", "CPU s"), ("bytes", "bytes")):
            best = theirs[fastest][key]
            ratio = mine[key] / best
            print(f"  {ratio:.2f} of MONAI's {unit} ({mine[key]:.3g} / {best:.3g})")
        everything = ", ".join(
            f"{batch}: {one['seconds']:.3g} s, {one['bytes'] / 2**20:.0f} MiB"
            for batch, one in theirs.items()
        )
        print(f"  MONAI at {fastest} per call; in all {everything}", flush=True)


if __name__ == "__main__":
    main()
