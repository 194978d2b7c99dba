"""Random numbers where they are used, and numbers of the host that a device needs.

A GPU works through what it was given while the host goes on; the host waits only where it asks for
a value, or copies to the device in the usual way. Here it does neither.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Generator, Tensor, rand

_hosts: WeakKeyDictionary[Generator, Generator] = WeakKeyDictionary()


def uniform(shape: tuple[int, ...], low: float, high: float, like: Tensor, g: Generator) -> Tensor:
    """Uniform draws on the device of `like`, by a generator of that device."""
    return rand(shape, generator=g, device=like.device, dtype=like.dtype) * (high - low) + low


def host(generator: Generator) -> Generator:
    """The generator for numbers that decide what is done next, which the host has to know.

    That is the given one where it draws on the CPU. One of a GPU has another beside it, with its
    seed, that draws on the CPU.
    """
    if generator.device.type == "cpu":
        return generator
    if generator not in _hosts:
        _hosts[generator] = Generator().manual_seed(generator.initial_seed())
    return _hosts[generator]


def placed(values: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers, an array or a tensor of the host on the device of `like`.

    Args:
        dtype: None: that of the values.
    """
    return torch.as_tensor(values, dtype=dtype).to(like.device, non_blocking=True)
