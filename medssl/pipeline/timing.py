"""Steps and answers of fresh networks, timed before a run starts.

They draw from generators of their own, so that the run's results are the same to the last bit.
"""

import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import torch

from medssl.data.prefetch import BatchStream, Prefetch
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.methods.method import Method, Progress
from medssl.pipeline.foretold import Pace
from medssl.settings import LoopSettings
from medssl.train.allocator import keep_freed_memory
from medssl.train.loop import configure_torch, float32_products
from medssl.train.update import make_update

STEPS = 3
"""So many are timed at least, after one that is not."""

MOST_STEPS = 20
LONG_ENOUGH = 2.0
"""Seconds of timed steps after which no more are made; and there are never more than `MOST_STEPS`.
Random changes are dear or none, so that three quick steps say little."""


@contextmanager
def trial(
    device: torch.device, threads: int | None, deterministic: bool, holds: str, do: str
) -> Iterator[None]:
    """While it lasts things are timed; the generators of torch are left as they were.

    Args:
        threads, deterministic: as in the training that follows.
        holds: what a step holds, in words.
        do: what to lower where it does not fit into the memory.

    Raises:
        UsageError: a step does not fit into the memory; says what to lower.
    """
    configure_torch(threads, deterministic)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    except torch.OutOfMemoryError:
        raise UsageError(
            f"a step of the training does not fit into the memory of {device}",
            f"it takes {holds}",
            do,
        ) from None


def step_pace(
    method: Method[Any],
    streams: Mapping[str, BatchStream],
    settings: LoopSettings,
    seed: int,
    workers: int = 1,
) -> Pace:
    """Of a step, batches included: by the wall the median, as other work may hold one up."""
    device = choose_device(settings.device)
    if device.type == "cpu":
        keep_freed_memory()
    else:
        torch.cuda.reset_peak_memory_stats(device)
    ends, steps = list[Pace](), max(settings.steps, MOST_STEPS + 1)
    with float32_products(tf32=settings.precision == "tf32"):
        update = make_update(method, settings, seed, device)
        with closing(Prefetch(streams, 0, workers, device)) as feed:
            while not _enough(ends):
                update(feed.take(), Progress(len(ends) + 1, steps))
                ends.append(Pace.now())
    timed = [after.since(before) for before, after in pairwise(ends)]
    return Pace(median(one.wall for one in timed), fmean(one.processor for one in timed))


def _enough(ends: list[Pace]) -> bool:
    """Whether the steps that ended then say how long one is."""
    timed = len(ends) - 1
    if timed < STEPS:
        return False
    return timed >= MOST_STEPS or ends[-1].since(ends[0]).wall >= LONG_ENOUGH


def second_of_two(work: Callable[[], object], device: torch.device) -> Pace:
    """Of some work, by its second time: the first loads what it needs."""
    begin = Pace.now()
    for _ in range(2):
        begin = Pace.now()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return Pace.now().since(begin)


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the process on a CPU, else of tensors on the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def in_words(device: torch.device) -> str:
    """What a device is called in what is foretold."""
    return "CPU" if device.type == "cpu" else f"GPU ({device})"
