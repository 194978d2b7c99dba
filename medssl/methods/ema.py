"""Networks that are moving averages of others: teachers and momentum encoders."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set each weight of `average` to decay * itself + (1 - decay) * that of `network`, in place.

    Weights that `network` does not train are left alone: they are equal in both from the start.
    """
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        if new.requires_grad:
            old.lerp_(new, 1 - decay)


@torch.no_grad()
def follow_statistics(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move running statistics, such as a batch norm's mean, as `update_ema` moves weights.

    Integer buffers, such as the number of batches seen, are copied.
    """
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """While it lasts, passes in training leave the running statistics of a network as they were."""
    before = [one.clone() for one in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for one, old in zip(network.buffers(), before, strict=True):
                one.copy_(old)


def teacher_decay(step: int, decay: float) -> float:
    """True average at first, exponential later: min(1 - 1 / (step + 1), decay)."""
    return min(1 - 1 / (step + 1), decay)
