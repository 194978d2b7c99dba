"""Random intensity changes of scans; batched, on the device, by a generator handed in.

Each scan draws its own changes and their amounts. What is drawn does not depend on what happens.

Source: the sheet of modality-invariant learning, section 5, step 4, whose transforms are MONAI's;
but a blur does not darken the border, and the sphere of Gibbs ringing is centred in k-space.

Legend: N scans, X Y Z voxels, L voxels of one of these axes.
"""

from collections.abc import Callable
from math import sqrt

import torch
from torch import Generator, Tensor
from torch.fft import irfftn, rfftn

from medssl.data.draws import host, placed, uniform
from medssl.data.scan.settings import IntensitySettings

DEGREE = 3
"""Degree of the bias field's polynomial."""

COEFFICIENTS = tuple(
    (i, j, k)
    for i in range(DEGREE + 1)
    for j in range(DEGREE + 1 - i)
    for k in range(DEGREE + 1 - i - j)
)

ARTEFACTS = ("blur", "bias", "gibbs")


def change_intensity(image: Tensor, settings: IntensitySettings, generator: Generator) -> Tensor:
    """Scans [N, 1, X, Y, Z] changed, each for itself; the input stays as it is."""
    with torch.autocast(image.device.type, enabled=False):
        return _changed(image.float(), settings, generator)


def _changed(image: Tensor, settings: IntensitySettings, generator: Generator) -> Tensor:
    count = len(image)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return uniform((count, *shape), low, high, image, generator)

    factor = 1 + draw(-settings.scale, settings.scale)
    sigma = draw(*settings.blur, 3)
    bias = draw(0, settings.bias, len(COEFFICIENTS))
    cut_off, gamma, zoom = draw(*settings.gibbs), draw(*settings.gamma), draw(*settings.zoom)
    chances = torch.rand((count, 5), generator=host(generator), dtype=image.dtype)
    scaled, noisy, artefact, last, zoomed = chances.T

    image = _where(image, scaled < settings.scale_chance, scale_about_mean, factor)
    image = _where(
        image, noisy < settings.noise_chance, lambda x: add_noise(x, settings.noise, generator)
    )
    share = settings.artefact_chance / len(ARTEFACTS)
    kind = torch.div(artefact, share or 1, rounding_mode="floor")
    happens = artefact < settings.artefact_chance
    image = _where(image, happens & (kind == 0), blur, sigma)
    image = _where(image, happens & (kind == 1), multiply_bias, bias)
    image = _where(image, happens & (kind >= 2), ring, cut_off)
    half = settings.gamma_or_zoom_chance / 2
    image = _where(image, last < half, correct_gamma, gamma)
    low = (last >= half) & (last < 2 * half) & (zoomed < settings.zoom_chance)
    return _where(image, low, lower_resolution, zoom)


def _where(
    image: Tensor, chosen: Tensor, change: Callable[..., Tensor], *amounts: Tensor
) -> Tensor:
    """`image` with `change` applied to the scans where `chosen` [N], bool on the CPU, is true."""
    places = placed(chosen.nonzero()[:, 0], image)
    if not len(places):
        return image
    changed = change(image[places], *(amount[places] for amount in amounts))
    return image.index_copy(0, places, changed)


def scale_about_mean(image: Tensor, factor: Tensor) -> Tensor:
    """Scans with their deviation from the mean multiplied by `factor` [N]; the mean stays."""
    mean = image.mean((1, 2, 3, 4), keepdim=True)
    return (image - mean) * _per_scan(factor) + mean


def add_noise(image: Tensor, deviation: float, generator: Generator) -> Tensor:
    """Scans with Gaussian noise of this standard deviation added."""
    drawn = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    return image + deviation * drawn


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Scans blurred by a Gaussian of `sigma` [N, 3] voxels; weights are renormalised at borders."""
    weights = []
    for axis, side in enumerate(image.shape[2:]):
        place = torch.arange(side, device=image.device, dtype=image.dtype)
        distance = (place[:, None] - place) / sigma[:, axis, None, None].clamp_min(1e-3)
        weights.append((-0.5 * distance**2).softmax(2))
    return _along_axes(image, weights)


def multiply_bias(image: Tensor, coefficients: Tensor) -> Tensor:
    """Scans times exp of a Legendre polynomial of degree 3 with `coefficients` [N, 20]."""
    cube = image.new_zeros(len(image), *(DEGREE + 1,) * 3)
    i, j, k = placed(COEFFICIENTS, image).unbind(1)
    cube[:, i, j, k] = coefficients
    x, y, z = (_legendre(side, image) for side in image.shape[2:])
    field = torch.einsum("nijk,ix,jy,kz->nxyz", cube, x, y, z)
    return image * field.exp().unsqueeze(1)


def _legendre(side: int, like: Tensor) -> Tensor:
    """Legendre polynomials [4, L] of degrees 0 to 3 at `side` places from -1 to 1."""
    x = torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype)
    return torch.stack([torch.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2])


def ring(image: Tensor, cut_off: Tensor) -> Tensor:
    """Scans with Gibbs ringing: k-space outside of a sphere is set to 0.

    Args:
        cut_off: [N], share of the radius that is cut off; at 0 the sphere reaches half the diagonal
            of a face of k-space, so that its corners alone are lost.
    """
    sides = image.shape[2:]
    frequencies = [torch.fft.fftfreq(side, device=image.device) for side in sides[:2]]
    frequencies.append(torch.fft.rfftfreq(sides[2], device=image.device))
    x, y, z = torch.meshgrid(*frequencies, indexing="ij")
    kept = (x**2 + y**2 + z**2).sqrt() <= _per_scan((1 - cut_off) * sqrt(2) / 2)
    ringing: Tensor = irfftn(rfftn(image, dim=(2, 3, 4)) * kept, s=sides, dim=(2, 3, 4))
    return ringing


def correct_gamma(image: Tensor, gamma: Tensor) -> Tensor:
    """Gamma correction with exponents [N] within each scan's own range, which stays the same."""
    low, high = image.amin((1, 2, 3, 4), keepdim=True), image.amax((1, 2, 3, 4), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return ((image - low) / span) ** _per_scan(gamma) * span + low


def lower_resolution(image: Tensor, zoom: Tensor) -> Tensor:
    """Scans shrunk to `zoom` [N] of each side by the nearest voxel and stretched back linearly."""
    return _along_axes(image, [_there_and_back(zoom, side) for side in image.shape[2:]])


def _there_and_back(zoom: Tensor, side: int) -> Tensor:
    """Weights [N, L, L] that shrink and stretch one axis of `side` voxels, one matrix per scan."""
    short = (zoom * side).round().clamp_min(1)[:, None]
    place = torch.arange(side, device=zoom.device, dtype=zoom.dtype)
    centre = ((place + 0.5) * short / side - 0.5).clamp_min(0)
    lower = centre.floor().minimum(short - 1)
    upper = (lower + 1).minimum(short - 1)
    share = centre - lower
    weights = zoom.new_zeros(len(zoom), side, side)
    for taken, weight in ((lower, 1 - share), (upper, share)):
        source = ((taken + 0.5) * side / short).floor()
        weights += weight[..., None] * (source[..., None] == place)
    return weights


def _along_axes(image: Tensor, weights: list[Tensor]) -> Tensor:
    """Scans [N, 1, X, Y, Z] times a matrix [N, L, L] along each axis."""
    x, y, z = weights
    shape = image.shape[2:]
    flat = x @ image.reshape(len(image), shape[0], -1)
    flat = y[:, None] @ flat.reshape(len(image), *shape)
    return (flat @ z[:, None].mT).unsqueeze(1)


def _per_scan(value: Tensor) -> Tensor:
    return value.reshape(-1, 1, 1, 1, 1)
