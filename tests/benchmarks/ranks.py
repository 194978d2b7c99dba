"""A step of training on so many ranks, simulated from what one process measures.

    python -m tests.benchmarks.ranks --seconds 13.549 --megabytes 42.2 --calls 18
    python -m tests.benchmarks.ranks --ranks 8 --seconds 0.4 --megabytes 42.2 --calls 18 \\
        --bandwidth 25e9 --latency 2e-5 --serial 0.02 --jitter 0.05

`python -m tests.benchmarks.together` measures seconds of one process, and megabytes and calls of a
process. A rank computes its part between two collectives, waits for the slowest, and takes part in
a ring all-reduce: of n ranks, 2 (n - 1) messages one after the other of an n-th of the bytes.
Prints the trace of a step, rank by rank, and what more ranks gain. No figure of it is measured but
those that it is given.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDE = 72
"""Letters of a trace."""

COMPUTE, WAIT, TALK = "#.="


@dataclass(frozen=True)
class Step:
    """What a step takes.

    Attributes:
        seconds: of the whole batch, by one process.
        bytes: that a process gives to collectives.
        calls: collectives, between which it computes.
        bandwidth: of a link, bytes/s.
        latency: of a message, s.
        serial: share of the seconds that every rank spends on the whole batch.
        jitter: how far a rank's computing differs from its mean, as a share of it.
    """

    seconds: float
    bytes: float
    calls: int
    bandwidth: float = 1.25e9
    latency: float = 5e-5
    serial: float = 0.0
    jitter: float = 0.0

    def all_reduce(self, ranks: int) -> float:
        """Seconds of one collective."""
        messages = 2 * (ranks - 1)
        return messages * (self.latency + self.bytes / self.calls / ranks / self.bandwidth)

    def computing(self, ranks: int) -> float:
        """Mean seconds in which a rank computes."""
        return self.seconds * (self.serial + (1 - self.serial) / ranks)


@dataclass(frozen=True)
class Trace:
    """One step.

    Attributes:
        compute: [ranks, calls] seconds before each collective.
        talk: of each collective.
    """

    compute: np.ndarray
    talk: float

    @property
    def seconds(self) -> float:
        """Of the step: at each collective all wait for the slowest."""
        return float(self.compute.max(axis=0).sum() + self.talk * self.compute.shape[1])

    @property
    def waiting(self) -> np.ndarray:
        """[ranks] seconds in which each waits for others."""
        found: np.ndarray = (self.compute.max(axis=0) - self.compute).sum(axis=1)
        return found

    def line(self, rank: int) -> str:
        """What a rank does over the step, a letter for each of `WIDE` equal parts."""
        ends, letters, now = list[float](), "", 0.0
        for own, slowest in zip(self.compute[rank], self.compute.max(axis=0), strict=True):
            ends += [now + own, now + slowest, now + slowest + self.talk]
            letters += COMPUTE + WAIT + TALK
            now = ends[-1]
        middles = (np.arange(WIDE) + 0.5) * now / WIDE
        return "".join(letters[one] for one in np.searchsorted(ends, middles, side="right"))


def simulate(step: Step, ranks: int, seed: int = 0) -> Trace:
    """A step by so many ranks."""
    drawn = np.random.default_rng(seed).uniform(-1, 1, (ranks, step.calls))
    each = step.computing(ranks) / step.calls * (1 + step.jitter * drawn)
    return Trace(each, step.all_reduce(ranks) if ranks > 1 else 0.0)


def table(step: Step, ranks: Sequence[int]) -> str:
    """What more ranks gain."""
    lines = [f"{'ranks':>5} {'s a step':>9} {'times as fast':>13} {'in collectives':>14}"]
    alone = simulate(step, 1).seconds
    for count in ranks:
        trace = simulate(step, count)
        talk = 1 - trace.compute.mean(axis=0).sum() / trace.seconds
        gain = alone / trace.seconds
        lines.append(f"{count:5} {trace.seconds:9.3f} {gain:13.2f} {talk:14.1%}")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--ranks", type=int, default=8)
    reader.add_argument("--seconds", type=float, required=True, help="a step, by one process")
    reader.add_argument("--megabytes", type=float, required=True, help="of a process, a step")
    reader.add_argument("--calls", type=int, required=True, help="collectives of a step")
    reader.add_argument("--bandwidth", type=float, default=Step.bandwidth, help="bytes/s")
    reader.add_argument("--latency", type=float, default=Step.latency, help="seconds a message")
    reader.add_argument("--serial", type=float, default=0.0, help="share that is not divided")
    reader.add_argument("--jitter", type=float, default=0.05, help="share of computing")
    chosen = reader.parse_args()
    links = chosen.bandwidth, chosen.latency
    step = Step(
        chosen.seconds, chosen.megabytes * 1e6, chosen.calls, *links, chosen.serial, chosen.jitter
    )
    trace = simulate(step, chosen.ranks)
    print(f"{chosen.ranks} ranks, simulated: {COMPUTE} computes, {WAIT} waits, {TALK} collectives")
    for rank in range(chosen.ranks):
        print(f"rank {rank:2} {trace.line(rank)} waits {trace.waiting[rank]:.3f} s")
    print(table(step, sorted({1, 2, 4, chosen.ranks})))


if __name__ == "__main__":
    main()
