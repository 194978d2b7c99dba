"""Training and prediction on a GPU, within 8 minutes; writes docs/results/gpu.md.

    python -m tests.benchmarks.gpu [--small] [WORK ...]

TraCoCo at published size, nnU-Net's planned network, Alice, Snuffy on 100,000 patches, Semixup, and
the sliding window on 512x512x400 voxels: steps a second, the share of it that waits for batches
(random ones, which threads make ahead), the peak of the GPU's memory, and which share of what the
GPU reaches in products of matrices of 8192 a side, each in float32, TF32 and bfloat16 and,
for three of them, compiled. Before, a predictor is held against what it answers on the CPU.

With --small everything is tiny, runs on a CPU as well, and nothing is written: it only shows that
it runs. What no time is left for is said to be left out.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from medssl.data.prefetch import Prefetch, choose_workers
from medssl.errors import MedsslError
from medssl.infer.window import sliding_window
from medssl.methods.method import Progress
from medssl.networks.build import build_network
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.loop import float32_products
from medssl.train.update import make_update
from tests.benchmarks.gpu_work import WORKS, Work, planned_network

PAGE = Path(__file__).parents[2] / "docs" / "results" / "gpu.md"
LIMIT_S, EACH_S, MOST, WARM = 440, 8, 30, 3
PRECISIONS = ("float32", "tf32", "bfloat16")
TOLERANCE = 1e-4
"""Largest difference to the CPU in float32, as a share of the largest answer."""


@dataclass(frozen=True)
class Reading:
    """How one work ran in one mode."""

    rate: float
    waiting: float
    memory: int
    share: float
    unit: str = "steps"

    @property
    def row(self) -> str:
        shown = f"{self.rate:.3g} {self.unit}/s"
        return f"{shown} | {self.waiting:.0%} | {self.memory / 2**30:.2f} GiB | {self.share:.0%}"


@dataclass(frozen=True)
class Device:
    """The device and what it reaches."""

    device: torch.device
    peaks: dict[str, float]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Its peak of memory in the block."""
        found: list[int] = []
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        yield found
        on_gpu = self.device.type == "cuda"
        found.append(torch.cuda.max_memory_allocated(self.device) if on_gpu else 0)


def reached(device: torch.device, side: int) -> dict[str, float]:
    """FLOP/s of products of matrices, by precision."""
    found = {}
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        one = torch.randn(side, side, device=device, dtype=dtype)
        with float32_products(precision == "tf32"):
            one @ one
            there = Device(device, {})
            there.wait()
            begin = time.perf_counter()
            for _ in range(5):
                one @ one
            there.wait()
        found[precision] = 5 * 2 * side**3 / (time.perf_counter() - begin)
    return found


def first(answer: Any) -> Tensor:
    """A predictor's answer, or the first of several."""
    while isinstance(answer, tuple | list):
        answer = answer[0]
    found: Tensor = answer
    return found.detach().float().cpu()


@torch.no_grad()
def apart(work: Work, there: Device) -> float:
    """Difference of the device's answer from the CPU's, as a share of the largest value."""
    predictor = work.method().eval().predictor().eval()
    with float32_products(tf32=False):
        alone = first(predictor(work.given))
        found = first(predictor.to(there.device)(work.given.to(there.device)))
    return float((found - alone).abs().max() / alone.abs().max().clamp_min(1e-9))


class Random:
    """A stream of a work."""

    def __init__(self, work: Work, kind: str) -> None:
        self.work, self.kind = work, kind

    def batch(self, number: int) -> Any:
        return self.work.batch(self.kind, number)


def trained(
    work: Work, there: Device, flops: int, precision: str, compiles: bool | Literal["graphs"]
) -> tuple[Reading, list[str]]:
    """Steps of the loop's own update, each of so many FLOP; and what it had to say."""
    method, told = work.method(), list[str]()
    settings = LoopSettings(
        steps=1000,
        optimiser=OptimiserSettings(name="adamw", learning_rate=1e-4),
        precision=precision,
        compile=compiles,
        deterministic=False,
    )
    update = make_update(method, settings, 0, there.device, note=told.append)
    workers = choose_workers(None, there.device)
    feed = Prefetch({kind: Random(work, kind) for kind in method.streams}, 0, workers, there.device)
    with there.watched() as memory, closing(feed), float32_products(precision == "tf32"):
        for step in range(500, 501 + WARM):
            update(feed.take(), Progress(step, 1000))
        there.wait()
        begin, waited, steps = time.perf_counter(), feed.waited, 0
        while steps < MOST and time.perf_counter() - begin < EACH_S:
            steps += 1
            update(feed.take(), Progress(510 + steps, 1000))
        there.wait()
        spent = time.perf_counter() - begin
        waiting = (feed.waited - waited) / spent
    rate = steps / spent
    return Reading(rate, waiting, memory[0], flops * rate / there.peaks[precision]), told


def counted(work: Work, there: Device) -> int:
    """FLOP of a step."""
    method = work.method()
    update = make_update(method, LoopSettings(steps=1000), 0, there.device)
    batches = {kind: work.batch(kind, 0) for kind in method.streams}
    with FlopCounterMode(display=False) as counter:
        update(batches, Progress(500, 1000))
    found: int = counter.get_total_flops()
    return found


@torch.no_grad()
def slid(there: Device, small: bool, precision: str) -> Reading:
    """Windows a second of a whole volume."""
    shape, side = ((24, 24, 20), 16) if small else ((512, 512, 400), 128)
    network = build_network(planned_network(small).sized((side,) * 3), 1, 3, 0)
    network.to(there.device).eval()
    image, calls = torch.rand(1, *shape), 0

    def answer(windows: Tensor) -> Tensor:
        nonlocal calls
        calls += len(windows)
        half = precision == "bfloat16"
        with torch.autocast(there.device.type, torch.bfloat16, enabled=half):
            found: Tensor = network(windows)
        return found

    with FlopCounterMode(display=False) as counter:
        answer(torch.rand(1, 1, *(side,) * 3, device=there.device))
    calls = 0
    with there.watched() as memory, float32_products(precision == "tf32"):
        there.wait()
        begin = time.perf_counter()
        sliding_window(image, answer, (side,) * 3, (side // 2,) * 3, device=there.device)
        there.wait()
        spent = time.perf_counter() - begin
    rate = calls / spent
    share = counter.get_total_flops() * rate / there.peaks[precision]
    return Reading(rate, 0.0, memory[0], share, "windows")


def rows(there: Device, small: bool, names: list[str], until: float) -> Iterator[str]:
    """A row of the table for each work and mode; what no time is left for is said."""
    for name in names:
        if name == "window":
            shape = "24x24x20" if small else "512x512x400"
            for precision in PRECISIONS:
                title = f"sliding window, nnU-Net's planned network, {shape}"
                if time.perf_counter() > until:
                    yield f"| {title} | {precision} | left out: no time | | | | |"
                    continue
                yield f"| {title} | {precision} | {slid(there, small, precision).row} | |"
            continue
        work = WORKS[name](small)
        if time.perf_counter() > until:
            yield f"| {work.title} | every mode | left out: no time | | | | |"
            continue
        differs, flops = apart(work, there), counted(work, there)
        equal = f"{differs:.0e}{'' if differs <= TOLERANCE else ' **beyond the tolerance**'}"
        for precision, compiles in [
            *((one, False) for one in PRECISIONS),
            *([("bfloat16", True), ("bfloat16", "graphs")] if work.compiles else []),
        ]:
            how = {False: "", True: ", compiled", "graphs": ", compiled, CUDA graphs"}[compiles]
            mode = f"{precision}{how}"
            if time.perf_counter() > until - 60 * bool(compiles):
                yield f"| {work.title} | {mode} | left out: no time | | | | |"
                continue
            try:
                reading, told = trained(work, there, flops, precision, compiles)
            except (MedsslError, RuntimeError) as error:  # one mode does not cost the others
                yield f"| {work.title} | {mode} | failed: {str(error).splitlines()[0]} | | | | |"
                continue
            said = f" ({'; '.join(told)})" if told else ""
            shown = equal if precision == "float32" else ""
            yield f"| {work.title} | {mode}{said} | {reading.row} | {shown} |"


HEAD = (
    "| what | mode | speed | waits for batches | peak memory | share of the peak | apart from the "
    "CPU |\n|---|---|---|---|---|---|---|"
)


def main(argv: list[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--small", action="store_true", help="tiny; writes nothing")
    parser.add_argument("works", nargs="*", help=", ".join([*WORKS, "window"]))
    asked = parser.parse_args(argv)
    names = asked.works or [*WORKS, "window"]
    if unknown := set(names) - {*WORKS, "window"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose {', '.join(WORKS)}, window")
    if not torch.cuda.is_available() and not asked.small:
        parser.error("torch finds no GPU here; --small shows on a CPU that all of it runs")
    until = time.perf_counter() + LIMIT_S
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = Device(device, reached(device, 64 if asked.small else 8192))
    found = []
    print(HEAD)
    for row in rows(there, asked.small, names, until):
        print(row, flush=True)
        found.append(row)
    if not asked.small and not asked.works:
        PAGE.write_text(page(there, found), encoding="utf-8")
        print(f"written to {PAGE}")
    return found


def page(there: Device, found: list[str]) -> str:
    """The page of results."""
    peaks = ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in there.peaks.items())
    return (
        f"# On a GPU\n\n`python -m tests.benchmarks.gpu` on {torch.cuda.get_device_name()}, torch "
        f"{torch.__version__}; one run, random batches. Products of matrices of 8192 reach, in "
        f"TFLOP/s: {peaks}; shares are of these. Differences from the CPU are of a predictor's "
        f"answer in float32, as a share of its largest value (at most {TOLERANCE:.0e} is "
        f"expected).\n\n{HEAD}\n" + "\n".join(found) + "\n"
    )


if __name__ == "__main__":
    main()
