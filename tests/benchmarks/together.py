"""From one process to two on this machine: seconds a step, and the share of communication.

    python -m tests.benchmarks.together [--method tracoco] [--side 48] [--width 16] [--batch 4]

The same batch is learnt from by one process and by two, on one thread each. Communication is all
time inside collectives, which holds waiting for the other process too; the bytes that a process
gives to them are counted, and hang on no load. Readings are medians over steps; the load of the
machine is told, since other work on its cores changes all but the bytes.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from medssl.data.stream import PatchStream
from medssl.methods.method import Progress
from medssl.networks.settings import NetworkSettings
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.distributed import TEAM
from medssl.train.division import OwnPart, own_part
from medssl.train.update import make_update
from medssl.transforms.chain import Augment
from tests.contract.conftest import build_method, toy_case
from tests.contract.two_processes import CPU, both

WARM = 2


class Talk:
    """Seconds and bytes in collectives since they were last asked for."""

    def __init__(self) -> None:
        self.seconds, self.bytes, self.calls = 0.0, 0, 0
        for name in ("all_gather", "all_reduce", "broadcast"):
            setattr(dist, name, self._timed(name, getattr(dist, name)))

    def _timed(self, name: str, collective: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            found = collective(*given, **named)
            self.seconds += time.perf_counter() - begun
            self.bytes += (given[1] if name == "all_gather" else given[0]).nbytes
            self.calls += 1
            return found

        return call

    def taken(self) -> list[float]:
        found = [self.seconds, float(self.bytes), float(self.calls)]
        self.seconds, self.bytes, self.calls = 0.0, 0, 0
        return found


def steps(name: str, side: int, width: int, batch: int, count: int) -> dict[str, Any]:
    """Of each step: seconds, those in collectives, bytes and calls."""
    patch = (side, side, side)
    network = NetworkSettings(name="vnet", width=width, levels=3, norm="instance", dropout=0)
    method = build_method(patch, name, network=network)
    settings = TrainSettings(
        steps=1000, patch=patch, optimiser=OptimiserSettings(learning_rate=0.01), device="cpu"
    )
    cases = [toy_case(number) for number in range(2 * batch)]
    streams = {
        kind: PatchStream(kind, cases, method.sampler(patch), Augment.of({"basic": {}}), batch, 1)
        for kind in method.streams
    }
    found, talk = [], Talk()
    with TEAM.joined(CPU):
        shared = {kind: own_part(stream, TEAM) for kind, stream in streams.items()}
        parted = frozenset(kind for kind, one in shared.items() if isinstance(one, OwnPart))
        update = make_update(method, settings, 0, CPU, parted=parted)
        for step in range(1, count + WARM + 1):
            begun = time.perf_counter()
            given = {kind: stream.batch(step - 1) for kind, stream in shared.items()}
            update(given, Progress(900 + step, 1000))
            found.append([time.perf_counter() - begun, *talk.taken()])
    return {"steps": found[WARM:]}


def main() -> None:
    """The command."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--method", default="tracoco")
    reader.add_argument("--side", type=int, default=48, help="of the patch, voxels")
    reader.add_argument("--width", type=int, default=16, help="channels of the network")
    reader.add_argument("--batch", type=int, default=4, help="items of each stream")
    reader.add_argument("--steps", type=int, default=8)
    chosen = reader.parse_args()
    torch.set_num_threads(1)
    training = partial(steps, chosen.method, chosen.side, chosen.width, chosen.batch, chosen.steps)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        two = both({"two": training}, Path(folder))["two"]
        (one,) = [training()]
    if failed := [part["failed"] for part in two if "failed" in part]:
        raise RuntimeError(failed[0])
    alone = statistics.median(row[0] for row in one["steps"])
    rows = [max(pair) for pair in zip(*(part["steps"] for part in two), strict=True)]
    together = statistics.median(row[0] for row in rows)
    shares = [row[1] / row[0] for part in two for row in part["steps"]]
    talked, calls = rows[0][2], rows[0][3]
    print(
        f"{chosen.method}, {chosen.batch} patches of {chosen.side}^3 a stream, width "
        f"{chosen.width}: one process {alone:.3f} s a step, two {together:.3f} s: "
        f"{alone / together:.2f} times as fast; {statistics.median(shares):.0%} in communication "
        f"({min(shares):.0%} to {max(shares):.0%}), {talked / 1e6:.1f} MB in {calls:.0f} calls a "
        f"step and process; load {before:.1f} before, on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
