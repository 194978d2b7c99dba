"""Snuffy on a whole slide against the released model and against dense attention.

    python -m tests.benchmarks.attention [PATCHES [speed | memory]]

The released model is written here as it computes: the assignment of all patches to all tokens
whole, the feed-forward and the norms over all rows at once. CPU seconds on one thread, the least of
interleaved repeats, as ratios within one process. Memory is the peak of a process of its own above
what it held with torch imported and the bag in memory; freed blocks go back to the system at once,
so that the peak is what was needed at one time. Training keeps them, and "in all" says what its
process then holds at most. Bags are random: only their size matters.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from itertools import pairwise

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor, nn
from torch.nn import functional

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagTask, Progress
from medssl.methods.settings.snuffy import Settings
from medssl.methods.slide.snuffy import Snuffy
from medssl.networks.sparse_attention import joined
from medssl.train.allocator import keep_freed_memory

PATCHES, WIDTH, HEADS, TOKENS, DENSE = 100_000, 384, 4, 500, 20_000
REPEATS = 3


class Released(nn.Module):
    """The released operator and layer, whole, with the weights of one of ours in mode B."""

    def __init__(self, ours: Snuffy) -> None:
        super().__init__()
        self.network = ours.network

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, E] to the bag's logit."""
        network, block = self.network, self.network.encoder.blocks[0]
        attention, settings = block.attention, self.network.settings
        scores = network.head(features).squeeze(1)
        order = scores.sort(descending=True).indices
        top = order[: settings.lambda_total // 2]
        rest = order[len(top) :][torch.randperm(len(order) - len(top))]
        chosen = torch.cat([top, rest[: settings.lambda_total - len(top)]])
        normed = attention.norm(features)
        q, k, v = (
            rows.view(len(rows), HEADS, -1).transpose(0, 1)
            for rows in (
                attention.query(normed),
                attention.key(features[chosen]),
                attention.value(normed),
            )
        )
        spread = (q @ k.mT / (WIDTH // HEADS) ** 0.5).softmax(-1)
        spread = functional.dropout(spread, settings.attn_dropout, self.training)
        update = attention.out((spread.mT @ v).transpose(0, 1).flatten(1))
        rows = features.index_copy(0, chosen, features[chosen] + block.drop(update))
        rows = rows + block.drop(
            block.narrow(block.drop(block.activation(block.widen(block.norm(rows)))))
        )
        return network.readout(network.encoder.norm(rows).mean(0))


def bag(patches: int) -> Tensor:
    return torch.randn(patches, WIDTH, generator=torch.Generator().manual_seed(0))


def snuffy(mode: str) -> Snuffy:
    settings = Settings(
        mode=mode, key_norm="raw" if mode == "B" else "ln", heads=HEADS, lambda_total=TOKENS
    )
    return Snuffy(settings, BagTask(WIDTH, ("negative", "positive"), (1, 1)), 0)


def step(method: Snuffy, features: Tensor) -> None:
    batch = {"bags": BagBatch(features, torch.tensor(1), ("slide",))}
    terms = method.train()(batch, Progress(1, 1), torch.Generator().manual_seed(0))
    sum(terms.values()).backward()


def released_step(model: Released, features: Tensor) -> None:
    functional.softplus(-model.train()(features)).sum().backward()


@torch.inference_mode()
def forward(method: Snuffy, features: Tensor) -> None:
    method.eval().network(features, torch.Generator().manual_seed(0))


@torch.inference_mode()
def released_forward(model: Released, features: Tensor) -> None:
    model.eval()(features)


@torch.inference_mode()
def attention_alone(method: Snuffy, rows: Tensor, chunk: int = 2048) -> None:
    """The attention without the feed-forward, as a layer runs it."""
    attention = method.eval().network.encoder.blocks[0].attention
    selected = attention.selected(rows[:TOKENS])
    pieces = rows[TOKENS:].split(chunk)
    given = (attention.exchange(piece, selected)[1] for piece in pieces)
    attention.collect(reduce(joined, given, attention.gather(rows[:TOKENS], selected)))


@torch.inference_mode()
def dense_attention(method: Snuffy, rows: Tensor) -> None:
    attention = method.eval().network.encoder.blocks[0].attention
    normed = attention.norm(rows)
    q, k, v = (
        part(normed).view(1, len(rows), HEADS, -1).transpose(1, 2)
        for part in (attention.query, attention.key, attention.value)
    )
    attention.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def least(calls: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, float]:
    """The least CPU seconds of each call; all take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            found[name].append(cpu_seconds(call))
    return {name: min(times) for name, times in found.items()}


def status(field: str) -> float:
    """GB of a field of this process: VmHWM is the peak since it was reset, VmRSS the present."""
    with open("/proc/self/status") as lines:  # noqa: PTH123
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e6


CALLS: dict[str, Callable[[Tensor], object]] = {
    "forward A": lambda x: forward(snuffy("A"), x),
    "forward B": lambda x: forward(snuffy("B"), x),
    "forward released": lambda x: released_forward(Released(snuffy("B")), x),
    "step A": lambda x: step(snuffy("A"), x),
    "step B": lambda x: step(snuffy("B"), x),
    "step released": lambda x: released_step(Released(snuffy("B")), x),
}


def peak(call: str, patches: int, keep: str = "free") -> tuple[float, float]:
    """(GB above torch and the bag, GB of the whole process) of a call in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.attention", "--peak"]
    answer = subprocess.run(
        [*command, call, str(patches), keep],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | ({"MALLOC_MMAP_THRESHOLD_": "1000000"} if keep == "free" else {}),
    ).stdout.split()
    return float(answer[0]), float(answer[1])


def report_peak(call: str, patches: int, keep: str) -> None:
    if keep == "keep":
        keep_freed_memory()
    features = bag(patches)
    CALLS[call](features[: 2 * TOKENS])  # libraries load what they need
    before = status("VmRSS")
    CALLS[call](features)
    print(status("VmHWM") - before, status("VmHWM"))


def report_speed(patches: int) -> None:
    features = bag(patches)
    a, b, old = snuffy("A"), snuffy("B"), Released(snuffy("B"))
    times = least(
        {
            "A": lambda: forward(a, features),
            "B": lambda: forward(b, features),
            "released": lambda: released_forward(old, features),
        }
    )
    print(
        f"forward, {patches} patches, {TOKENS} tokens: A {times['A']:.2f}, B {times['B']:.2f}, "
        f"released {times['released']:.2f} CPU-s; A/B {times['A'] / times['B']:.2f}, "
        f"B/released {times['B'] / times['released']:.2f}"
    )
    few = features[:DENSE]
    times = least(
        {
            "A": lambda: attention_alone(a, features),
            "B": lambda: attention_alone(b, features),
            "dense": lambda: dense_attention(a, few),
        }
    )
    dense = times["dense"] * (patches / DENSE) ** 2
    print(
        f"attention alone: A {times['A']:.2f}, B {times['B']:.2f} CPU-s; dense at {DENSE} "
        f"{times['dense']:.2f}, so about {dense:.0f} at {patches}: {dense / times['A']:.0f} times "
        f"A, {dense / times['B']:.0f} times B; A/B {times['A'] / times['B']:.2f}"
    )
    times = least(
        {
            "A": lambda: step(a, features),
            "B": lambda: step(b, features),
            "released": lambda: released_step(old, features),
        },
        1,
    )
    print(
        f"training step: A {times['A']:.2f}, B {times['B']:.2f}, released "
        f"{times['released']:.2f} CPU-s; B/released {times['B'] / times['released']:.2f}"
    )


def report_memory(patches: int) -> None:
    for call in CALLS:
        above = [peak(call, count)[0] for count in (patches // 4, patches // 2, patches)]
        whole = peak(call, patches, "keep")[1]
        growth = ", ".join(f"{b / a:.2f}" for a, b in pairwise(above))
        print(
            f"{call}, {patches} patches: {above[-1]:.2f} GB above the bag, {whole:.2f} in all; "
            f"per doubling times {growth}"
        )


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--peak"]:
        report_peak(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    patches = int(sys.argv[1]) if len(sys.argv) > 1 else PATCHES
    chosen = sys.argv[2:] or ["speed", "memory"]
    if "memory" in chosen:
        report_memory(patches)
    if "speed" in chosen:
        keep_freed_memory()  # as training does
        report_speed(patches)


if __name__ == "__main__":
    main()
