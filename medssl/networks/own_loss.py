"""Losses that networks have of their own, beside what a method makes of their logits.

A network gives its loss away where it is passed, whatever the method does with its logits, and who
trains adds it to the method's terms. No method needs to know of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medssl.networks.rows import share


class OwnLoss(NamedTuple):
    """Of one pass, or of one turn of it.

    Attributes:
        network: whose it is.
        value: a scalar, the mean over the rows that were passed.
        rows: how many these are.
    """

    network: nn.Module
    value: Tensor
    rows: int


_kept: list[list[OwnLoss]] = []


@contextmanager
def own_losses() -> Iterator[list[OwnLoss]]:
    """While it lasts, the own losses of networks that learn are kept, each pass's."""
    found: list[OwnLoss] = []
    _kept.append(found)
    try:
        yield found
    finally:
        _kept.pop()


def give(network: nn.Module, value: Tensor, rows: int) -> None:
    """Keep a loss, if somebody asks and the network learns from this pass.

    Args:
        rows: that were passed, with those that only fill up a share.
    """
    if _kept and network.training and torch.is_grad_enabled() and value.requires_grad:
        seen = share()
        count = rows if seen is None else len(set(seen.index.tolist()))
        _kept[-1].append(OwnLoss(network, value, count))


def total(losses: list[OwnLoss]) -> Tensor | None:
    """The sum over networks of the mean over all rows that each was passed; None: there is none.

    So a network that a method passes several times weighs no more than one that it passes once.
    """
    found = []
    for network in dict.fromkeys(one.network for one in losses):
        own = [one for one in losses if one.network is network]
        rows = sum(one.rows for one in own)
        found += [one.value.float() * (one.rows / rows) for one in own]
    return torch.stack(found).sum() if found else None
