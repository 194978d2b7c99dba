"""Networks that are moving averages of others: teachers and momentum encoders."""

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set what `network` trains to decay * average + (1 - decay) * network, in place.

    What does not learn is equal in both from the start and stays so.
    """
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        if new.requires_grad:
            old.lerp_(new, 1 - decay)


@torch.no_grad()
def follow_statistics(average: nn.Module, network: nn.Module, decay: float) -> None:
    """The same of running statistics; counts are copied."""
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
