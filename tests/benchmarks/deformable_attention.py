"""Deformable attention over slices against a plain loop, and its growth with the slices.

    python -m tests.benchmarks.deformable_attention [SLICES]

Prints ratios of times measured in one run, and the largest difference from the loop.
"""

import sys
from math import floor
from time import perf_counter

import torch
from torch import Tensor

from medssl.networks.deformable_attention import attend

ITEMS, HEADS, POINTS, WIDTH = 2, 8, 4, 32
"""Two volumes with the default transformer: 8 heads of 32, 4 points."""


def by_loops(values: Tensor, position: Tensor, weight: Tensor) -> Tensor:
    """The definition: one interpolation at a time, all features of a head at once."""
    items, slices, heads, width = values.shape
    found = torch.zeros(items, position.shape[1], heads, width)
    places, shares = position.tolist(), weight.tolist()
    for b in range(items):
        for q in range(position.shape[1]):
            for m in range(heads):
                for place, share in zip(places[b][q][m], shares[b][q][m], strict=True):
                    low = floor(place)
                    for index, part in ((low, 1 - (place - low)), (low + 1, place - low)):
                        if 0 <= index < slices:
                            found[b, q, m] += share * part * values[b, index, m]
    return found


def case(slices: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(ITEMS, slices, HEADS, WIDTH, generator=g)
    offset = 4 * torch.randn(ITEMS, slices, HEADS, POINTS, generator=g)
    weight = torch.randn(ITEMS, slices, HEADS, POINTS, generator=g).softmax(3)
    return values, torch.arange(slices).view(1, -1, 1, 1) + offset, weight


def least(call, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        begin = perf_counter()
        call()
        times.append(perf_counter() - begin)
    return min(times)


def step(given: tuple[Tensor, Tensor, Tensor]) -> None:
    leaves = [part.detach().requires_grad_() for part in given]
    attend(*leaves).square().sum().backward()


def main() -> None:
    torch.set_num_threads(1)
    slices = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    given = case(slices)
    difference = (attend(*given) - by_loops(*given)).abs().max().item()
    ratio = least(lambda: by_loops(*given), 2) / least(lambda: attend(*given), 20)
    print(f"{slices} slices: {ratio:.0f} times faster than the loop, {difference:.1e} apart")
    lengths = [slices * 2**doubling for doubling in range(2, 6)]
    times = [least(lambda length=length: step(case(length)), 5) for length in lengths]
    growth = ", ".join(
        f"{one} to {two}: {after / before:.2f}"
        for one, two, before, after in zip(lengths, lengths[1:], times, times[1:], strict=False)
    )
    print(f"forward and backward, times per doubling of slices: {growth}")


if __name__ == "__main__":
    main()
