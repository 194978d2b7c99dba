"""Random intensity changes on a batch of patches; the same code on CPU and GPU.

Each item draws its own amount, shared by all its views. Turns and flips happen when a patch is cut
(`medssl.data.patches`), where they cost no copy.

Legend: B items, V views, C channels, X Y Z voxels.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch
from medssl.settings import AugmentSettings


def intensity_changes(settings: AugmentSettings) -> Callable[[Batch, Generator], Batch]:
    """The random change that a training step makes to every batch."""

    def change(batch: Batch, generator: Generator) -> Batch:
        return replace(batch, image=augment(batch.image, settings, generator))

    return change


def uniform(shape: tuple[int, ...], low: float, high: float, like: Tensor, g: Generator) -> Tensor:
    """Uniform draws on the device of `like`, by a generator of that device."""
    return torch.rand(shape, generator=g, device=like.device, dtype=like.dtype) * (high - low) + low


def augment(image: Tensor, settings: AugmentSettings, generator: Generator) -> Tensor:
    """Image [B, V, C, X, Y, Z] with gamma, brightness and noise as `settings` asks."""
    items = (image.shape[0], 1, 1, 1, 1, 1)
    if settings.gamma:
        image = _gamma(image, uniform(items, -settings.gamma, settings.gamma, image, generator))
    if settings.brightness:
        low, high = 1 - settings.brightness, 1 + settings.brightness
        image = image * uniform(items, low, high, image, generator)
    if settings.noise:
        drawn = torch.randn(
            image.shape, generator=generator, device=image.device, dtype=image.dtype
        )
        image = image + settings.noise * drawn
    return image if settings.clip is None else image.clamp(*settings.clip)


def _gamma(image: Tensor, log_exponent: Tensor) -> Tensor:
    """Gamma correction within each item's own range of values, which stays the same."""
    dims = (1, 2, 3, 4, 5)
    low, high = image.amin(dims, keepdim=True), image.amax(dims, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return ((image - low) / span) ** log_exponent.exp() * span + low
