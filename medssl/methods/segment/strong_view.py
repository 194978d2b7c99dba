"""Strong views: the intensities of patches changed, their voxels left in place.

Sources: released code of AD-MT (sheet section 5), of UniMatch and CrossMatch (sheet sections 2, 4).

All but blur and noise work on a patch between its least and largest value as 0 and 1, each channel
by itself, and stay in that range. CrossMatch applies field and gamma to z-scored values as they
are, whose zero has no meaning.

Legend: B items, C channels, X Y Z voxels.
"""

from itertools import product

import numpy as np
import torch
from torch import Generator, Tensor

from medssl.methods.segment.cutmix import numpy_generator
from medssl.methods.segment.strong_settings import Colour, Field3d, Linear, Strong
from medssl.transforms.linear import along, blurring

AXES = (1, 2, 3)
ORDER = 3
TERMS = [powers for powers in product(range(ORDER + 1), repeat=3) if sum(powers) <= ORDER]


def strong_view(image: Tensor, settings: Strong, generator: Generator) -> Tensor:
    """Patches [B, C, X, Y, Z], each changed by amounts of its own; `image` stays as it is."""
    rng = numpy_generator(generator)
    noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    return torch.stack(
        [_changed(item, drawn, settings, rng) for item, drawn in zip(image, noise, strict=True)]
    )


def _changed(item: Tensor, noise: Tensor, settings: Strong, rng: np.random.Generator) -> Tensor:
    """One patch [C, X, Y, Z]; the changes in the order of the settings."""
    if rng.random() < settings.linear.probability:
        item = _within_range(item, linear, *_amounts(settings.linear, rng))
    if rng.random() < settings.colour.probability:
        item = _within_range(item, colour, *_amounts(settings.colour, rng))
    if rng.random() < settings.field.probability:
        item = _within_range(item, field_and_gamma, *_field(settings.field, rng))
    if rng.random() < settings.blur.probability:
        item = blurred(item, rng.uniform(*settings.blur.sigma))
    if rng.random() < settings.noise.probability:
        size = rng.uniform(*settings.noise.deviation)
        item = item + (noise * size).clamp(-2 * size, 2 * size)
    return item


def _amounts(chosen: Linear | Colour, rng: np.random.Generator) -> tuple[float, float]:
    return (
        rng.uniform(-chosen.contrast, chosen.contrast),
        rng.uniform(-chosen.brightness, chosen.brightness),
    )


def _field(chosen: Field3d, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    size = chosen.coefficient
    return rng.uniform(-size, size, len(TERMS)), rng.uniform(-chosen.log_gamma, chosen.log_gamma)


def _within_range(item: Tensor, change, *amounts) -> Tensor:  # type: ignore[no-untyped-def]
    """[C, X, Y, Z] after `change` of its values between 0 and 1."""
    low, high = item.amin(AXES, keepdim=True), item.amax(AXES, keepdim=True)
    span = high - low
    unit = (item - low) / torch.where(span > 0, span, 1)
    changed: Tensor = change(unit, *amounts)
    return changed.clamp(0, 1) * span + low


def linear(unit: Tensor, contrast: float, brightness: float) -> Tensor:
    """Values [C, X, Y, Z] times 1 + contrast, plus their mean times brightness."""
    return unit * (1 + contrast) + brightness * unit.mean(AXES, keepdim=True)


def colour(unit: Tensor, contrast: float, brightness: float) -> Tensor:
    """Values times 1 + brightness, clipped to [0, 1], then spread about their mean."""
    bright = (unit * (1 + brightness)).clamp(0, 1)
    mean = bright.mean(AXES, keepdim=True)
    return (bright - mean) * (1 + contrast) + mean


def field_and_gamma(unit: Tensor, coefficients: np.ndarray, log_gamma: float) -> Tensor:
    """Values times the exponential of a polynomial of the place (-1 to 1); then to a power."""
    axes = [
        torch.linspace(-1, 1, side, device=unit.device, dtype=unit.dtype)
        if side > 1
        else unit.new_zeros(1)
        for side in unit.shape[1:]
    ]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    terms = (
        float(size) * x**i * y**j * z**k
        for size, (i, j, k) in zip(coefficients, TERMS, strict=True)
    )
    field = sum(terms, unit.new_zeros(())).exp()
    return (unit * field).clamp(0, 1) ** float(np.exp(log_gamma))


def blurred(item: Tensor, sigma: float) -> Tensor:
    """[C, X, Y, Z] smoothed by a Gaussian of `sigma` voxels; it goes on mirrored at its faces."""
    smooth = item.to(torch.float32)
    for axis in AXES:
        smooth = along(smooth, axis, blurring(smooth.shape[axis], sigma))
    return smooth.to(item.dtype)
