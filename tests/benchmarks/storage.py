"""Workers that read, predict and write studies on one shared storage, simulated event by event.

Each worker has three threads, as `medssl.pipeline.overlap`: one study is read ahead, one is worked
on, one is written behind. Transfers share the storage's bandwidth evenly, up to a link's own.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Study:
    """What one study costs.

    Attributes:
        read_s, predict_s, write_s: seconds of work on the worker itself, without transfers.
        read_bytes, write_bytes: that go over the storage.
    """

    read_s: float
    predict_s: float
    write_s: float
    read_bytes: float
    write_bytes: float


@dataclass(frozen=True)
class Storage:
    """A shared storage.

    Attributes:
        bandwidth: bytes/s that all workers have together.
        link: bytes/s that one transfer has at most.
        latency_s: before each transfer.
    """

    bandwidth: float
    link: float
    latency_s: float


class _Clock:
    """Things that happen later, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._number), act))

    def run(self) -> None:
        while self._due:
            self.now, _, act = heapq.heappop(self._due)
            act()


class _Disk:
    """Transfers that share a bandwidth: each has moved as far as all others since it began."""

    def __init__(self, clock: _Clock, storage: Storage) -> None:
        self._clock, self._storage = clock, storage
        self._moved = self._since = 0.0
        self._open: list[tuple[float, int, Callable[[], None]]] = []
        self._number, self._version = count(), 0

    def transfer(self, size: float, done: Callable[[], None]) -> None:
        self._clock.after(self._storage.latency_s, lambda: self._begin(size, done))

    def _begin(self, size: float, done: Callable[[], None]) -> None:
        self._advance()
        heapq.heappush(self._open, (self._moved + size, next(self._number), done))
        self._plan()

    def _rate(self) -> float:
        return min(self._storage.link, self._storage.bandwidth / max(1, len(self._open)))

    def _advance(self) -> None:
        self._moved += self._rate() * (self._clock.now - self._since)
        self._since = self._clock.now

    def _plan(self) -> None:
        """Wake at the next end, unless another transfer begins before."""
        self._version += 1
        if self._open:
            version, left = self._version, self._open[0][0] - self._moved
            self._clock.after(max(0.0, left) / self._rate(), lambda: self._end(version))

    def _end(self, version: int) -> None:
        if version != self._version:
            return
        self._advance()
        _, _, done = heapq.heappop(self._open)
        self._plan()
        done()


class _Worker:
    """One process: a study read ahead, one at work, one written behind."""

    def __init__(self, clock: _Clock, disk: _Disk, studies: Sequence[Study]) -> None:
        self._clock, self._disk, self._left = clock, disk, list(reversed(studies))
        self._ahead: Study | None = None
        self._made: Study | None = None
        self._works = self._writes = False
        self._read()

    def _read(self) -> None:
        if self._left:
            one = self._left.pop()
            self._disk.transfer(
                one.read_bytes, lambda: self._clock.after(one.read_s, lambda: self._has(one))
            )

    def _has(self, one: Study) -> None:
        self._ahead = one
        self._work()

    def _work(self) -> None:
        if self._works or self._ahead is None:
            return
        one, self._ahead, self._works = self._ahead, None, True
        self._read()
        self._clock.after(one.predict_s, lambda: self._worked(one))

    def _worked(self, one: Study) -> None:
        self._made = one
        self._write()

    def _write(self) -> None:
        if self._writes or self._made is None:
            return
        one, self._made, self._writes, self._works = self._made, None, True, False
        self._clock.after(one.write_s, lambda: self._disk.transfer(one.write_bytes, self._written))
        self._work()

    def _written(self) -> None:
        self._writes = False
        self._write()


def seconds(studies: Sequence[Study], workers: int, storage: Storage) -> float:
    """Until all studies are done by so many workers, each of which takes every so many of them."""
    clock = _Clock()
    disk = _Disk(clock, storage)
    kept = [_Worker(clock, disk, studies[rank::workers]) for rank in range(workers)]
    clock.run()
    del kept
    return clock.now


def bound(study: Study, workers: int, storage: Storage) -> float:
    """Studies/s that cannot be passed: by the slowest of the three threads, or by the storage."""
    reads = storage.latency_s + study.read_bytes / storage.link + study.read_s
    writes = storage.latency_s + study.write_bytes / storage.link + study.write_s
    shared = storage.bandwidth / (study.read_bytes + study.write_bytes)
    return min(workers / max(reads, study.predict_s, writes), shared)
