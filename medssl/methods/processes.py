"""Numbers of all processes of a training; with one process, they are its own."""

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def total(value: Tensor) -> Tensor:
    """The sum over all processes; without gradient."""
    if count() == 1:
        return value
    found = value.detach().clone()
    dist.all_reduce(found)
    return found


def largest(value: Tensor) -> Tensor:
    """The element-wise maximum over all processes; without gradient."""
    if count() == 1:
        return value
    found = value.detach().clone()
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found


def gathered(rows: Tensor) -> Tensor:
    """The rows [B, ...] of all processes, in order; as many in each; without gradient."""
    if count() == 1:
        return rows
    parts = [rows.new_empty(rows.shape) for _ in range(count())]
    dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)
