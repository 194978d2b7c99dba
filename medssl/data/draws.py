"""Random numbers on the device where they are used."""

from torch import Generator, Tensor, rand


def uniform(shape: tuple[int, ...], low: float, high: float, like: Tensor, g: Generator) -> Tensor:
    """Uniform draws on the device of `like`, by a generator of that device."""
    return rand(shape, generator=g, device=like.device, dtype=like.dtype) * (high - low) + low
