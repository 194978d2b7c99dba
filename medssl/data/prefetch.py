"""Batches that threads draw ahead of the loop that trains with them."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor

from medssl.data.batch import TrainBatch
from medssl.settings import MOST_WORKERS

CPU = torch.device("cpu")


def pinned(part: Any) -> Any:
    """A batch, or a part of one, whose tensors lie in memory that the system does not move.

    A GPU copies from there while the host goes on.
    """
    if isinstance(part, Tensor):
        return part.pin_memory()
    if isinstance(part, tuple):
        return tuple(pinned(one) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        own = {one.name for one in fields(part) if one.init}
        return replace(part, **{name: pinned(getattr(part, name)) for name in own})
    return part


class BatchStream(Protocol):
    """Batches by number."""

    def batch(self, number: int) -> TrainBatch:
        """Batch `number`, counted from 0; equal numbers give equal batches."""


def choose_workers(asked: int | None, device: torch.device) -> int:
    """The threads asked for; None: as many as draw batches without being in the way of training.

    A CPU that trains needs its cores itself, so one thread reads ahead.
    """
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if device.type == "cpu" else min(MOST_WORKERS, cores or 1)


class Prefetch:
    """Draws the next batches of every stream in threads while the present one trains.

    As many batches are under way as there are threads, each stream's in a thread of its own, so
    that none waits for a slow one. Within such a thread, torch computes on one core.

    Args:
        streams: by name; with several threads, several batches of one are drawn at a time.
        first: number of the first batch.
        workers: threads; 0 draws each batch when it is taken.
        device: where batches go next; those for a GPU are put where it fetches them by itself.

    Attributes:
        waited: seconds that training stood still for data.
    """

    def __init__(
        self,
        streams: Mapping[str, BatchStream],
        first: int,
        workers: int = 1,
        device: torch.device = CPU,
    ) -> None:
        self._streams, self._number, self._pins = streams, first, device.type == "cuda"
        self._pool = ThreadPoolExecutor(workers, initializer=_compute_alone) if workers else None
        self._ahead: deque[dict[str, Future[TrainBatch]]] = deque()
        for _ in range(workers):
            self._submit()
        self.waited = 0.0

    def _submit(self) -> None:
        if self._pool is not None:
            submit, number = self._pool.submit, self._number
            self._ahead.append(
                {name: submit(self._drawn, one, number) for name, one in self._streams.items()}
            )
            self._number += 1

    def _drawn(self, stream: BatchStream, number: int) -> TrainBatch:
        batch = stream.batch(number)
        found: TrainBatch = pinned(batch) if self._pins else batch
        return found

    def take(self) -> dict[str, TrainBatch]:
        """The next batch of every stream; one more starts to be drawn."""
        begin = perf_counter()
        if self._pool is None:
            with _alone():
                number = self._number
                batches = {name: self._drawn(one, number) for name, one in self._streams.items()}
            self._number += 1
        else:
            batches = {name: future.result() for name, future in self._ahead.popleft().items()}
        self.waited += perf_counter() - begin
        self._submit()
        return batches

    def close(self) -> None:
        """Stop drawing."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _compute_alone() -> None:
    """One core for torch in this thread: several threads share the machine already."""
    torch.set_num_threads(1)


@contextmanager
def _alone() -> Iterator[None]:
    """One core for torch for a while: sums over several are rounded otherwise."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
