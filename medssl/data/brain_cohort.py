"""Simulated patients made from the ICBM 152 brain template; nothing here is a measurement.

Tissue maps of one average brain are deformed smoothly and invertibly, given a contrast per tissue
and sequence, a bias field, noise and, if asked for, lesions. The maps ship with nilearn; they are
read from its folder, so that nothing is downloaded and nilearn itself is not imported.

Legend: T tissues, X Y Z voxels of the simulated scan.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from medssl.data.geometry import Geometry
from medssl.data.volume import read_volume
from medssl.errors import DataError

LESION = 4
"""Mask value of lesions. Cortical grey matter is 1, white matter 2, deep grey matter 3; fluid is
background, 0."""

CONTRASTS: dict[str, tuple[float, float, float, float, float]] = {
    "t1": (0.60, 0.85, 0.68, 0.25, 0.50),
    "t2": (0.60, 0.45, 0.52, 1.00, 0.85),
    "flair": (0.70, 0.55, 0.62, 0.15, 1.00),
}
"""Relative brightness by sequence of cortical grey, white and deep grey matter, of fluid and of
lesions. Which is brighter than which is as in textbooks; the numbers are made up."""

_COARSE = 8.0  # mm, the grid on which deformations are made


@dataclass(frozen=True)
class Template:
    """The average brain.

    Attributes:
        maps: [T, *] float32 shares of the tissues in the order of `CONTRASTS`, smoothed for
            sampling at the scans' spacing.
        geometry: grid of the maps.
    """

    maps: np.ndarray
    geometry: Geometry


@dataclass(frozen=True)
class Scan:
    """One simulated patient.

    Attributes:
        images: [X, Y, Z] float32 per contrast, arbitrary units.
        mask: [X, Y, Z] uint8; 1 to 3 for tissues, LESION, else 0.
    """

    images: dict[str, np.ndarray]
    mask: np.ndarray
    geometry: Geometry


def load_template(spacing: float) -> Template:
    """The template, ready to be sampled every `spacing` mm.

    Raises:
        DataError: nilearn's maps are missing.
    """
    grey, grid = _map("gm")
    white, brain = _map("wm")[0], _map("t1")[0] > 0
    inside = _central(grid)
    # Deep nuclei are mixed with white matter in the maps; without the gain they would fall apart.
    deep = np.minimum(1.0, 1.6 * grey) * inside
    white = np.where(inside > 0, np.minimum(white, 1 - deep), white)
    cortex = grey * (1 - inside)
    maps = np.stack([cortex, white, deep, np.clip(brain - cortex - white - deep, 0, 1)])
    factor = max(1, int(spacing // 2))
    if factor > 1:
        maps, grid = _blocks(maps, grid, factor)
    blur = (0, *[0.4 * spacing / factor] * 3)
    return Template(ndimage.gaussian_filter(maps.astype(np.float32), blur), grid)


def simulate(
    template: Template,
    channels: Sequence[str],
    spacing: float,
    lesions: float,
    generator: np.random.Generator,
) -> Scan:
    """One patient.

    Args:
        template: from `load_template`, with the same spacing.
        channels: keys of CONTRASTS.
        spacing: of the scan, mm, on all axes.
        lesions: mean number of lesions in white matter.
        generator: decides everything that differs between patients.
    """
    geometry = _grid(template.geometry, spacing)
    places = _deformed(geometry, template.geometry, generator)
    shares = [ndimage.map_coordinates(part, places, order=1) for part in template.maps]
    shares.append(_lesions(shares[1], spacing, lesions, generator))
    shares = [share * (1 - shares[-1]) for share in shares[:-1]] + shares[-1:]
    outside = np.clip(1 - sum(shares), 0, 1)
    winner = np.argmax([outside, *shares], axis=0)
    mask = np.choose(winner, [0, 1, 2, 3, 0, LESION]).astype(np.uint8)
    images = {name: _image(shares, name, spacing, generator) for name in channels}
    return Scan(images, mask, geometry)


def _grid(template: Geometry, spacing: float) -> Geometry:
    """Voxels of exactly `spacing` mm about the template's centre, as many as cover it."""
    x, y, z = (
        round(n * s / spacing) for n, s in zip(template.shape, template.spacing, strict=True)
    )
    affine = template.affine.copy()
    affine[:3, :3] = spacing * template.directions
    middle = template.corners().mean(0)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    return Geometry((x, y, z), affine)


def _map(kind: str) -> tuple[np.ndarray, Geometry]:
    found = importlib.util.find_spec("nilearn")
    name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    home = Path(found.origin).parent if found and found.origin else Path("nilearn")
    path = home / "datasets" / "data" / name
    if not path.is_file():
        raise DataError(
            f"the brain template {path} does not exist",
            "it comes with nilearn",
            "install nilearn again",
        )
    volume = read_volume(path)
    return volume.array[0] / np.float32(255), volume.geometry


def _central(grid: Geometry) -> np.ndarray:
    """1 within the region of thalamus, caudate, putamen and pallidum, else 0; an ellipsoid."""
    centre, radii = np.array([0.0, -5.0, 4.0]), np.array([33.0, 31.0, 19.0])
    axes = [
        (grid.affine[a, a] * np.arange(grid.shape[a]) + grid.affine[a, 3] - centre[a]) / radii[a]
        for a in range(3)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(x**2 + y**2 + z**2 < 1, np.float32)


def _blocks(maps: np.ndarray, grid: Geometry, factor: int) -> tuple[np.ndarray, Geometry]:
    """Means over blocks of `factor` voxels, what does not fill a block cut off."""
    x, y, z = (length // factor for length in grid.shape)
    whole = maps[:, : x * factor, : y * factor, : z * factor]
    means = whole.reshape(len(maps), x, factor, y, factor, z, factor).mean((2, 4, 6))
    cut = grid.cropped((0, 0, 0), (x * factor, y * factor, z * factor))
    return means, cut.reshaped((x, y, z))


def _smooth(
    shape: tuple[int, ...], scale: float, spacing: float, generator: np.random.Generator
) -> np.ndarray:
    """Smooth random field of unit standard deviation; `scale` mm is its Gaussian's."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape), scale / spacing, mode="wrap")
    return np.asarray(field / max(float(field.std()), 1e-9))


def _deformed(scan: Geometry, template: Geometry, generator: np.random.Generator) -> np.ndarray:
    """[3, X, Y, Z]: template voxel coordinates of every voxel of the scan."""
    coarse = scan.resampled((_COARSE, _COARSE, _COARSE))
    velocity = np.stack(
        [
            4.0 * _smooth(coarse.shape, 28, _COARSE, generator)
            + 2.0 * _smooth(coarse.shape, 14, _COARSE, generator)
            for _ in range(3)
        ]
    )
    shift = _integrated(velocity) + _affine_shift(coarse, generator)
    index = np.indices(scan.shape).reshape(3, -1)
    to_coarse = np.linalg.inv(coarse.affine) @ scan.affine
    at = to_coarse[:3, :3] @ index + to_coarse[:3, 3:]
    world = scan.affine[:3, :3] @ index + scan.affine[:3, 3:]
    world += np.stack([ndimage.map_coordinates(s, at, order=1, mode="nearest") for s in shift])
    to_template = np.linalg.inv(template.affine)
    places = to_template[:3, :3] @ world + to_template[:3, 3:]
    return np.asarray(places.reshape(3, *scan.shape))


def _integrated(velocity: np.ndarray, squarings: int = 4) -> np.ndarray:
    """Displacement, mm, of flowing along `velocity` [3, *] for a unit of time: it never folds."""
    index = np.indices(velocity.shape[1:])
    shift = velocity / 2**squarings
    for _ in range(squarings):
        at = index + shift / _COARSE
        shift = shift + np.stack(
            [ndimage.map_coordinates(s, at, order=1, mode="nearest") for s in shift]
        )
    return np.asarray(shift)


def _affine_shift(grid: Geometry, generator: np.random.Generator) -> np.ndarray:
    """Displacement, mm, [3, *grid] of a small random rotation, scaling and translation."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", generator.uniform(-6, 6, 3), degrees=True).as_matrix()
    matrix = turn @ np.diag(generator.uniform(0.92, 1.08, 3)) - np.eye(3)
    index = np.indices(grid.shape).reshape(3, -1)
    world = grid.affine[:3, :3] @ index + grid.affine[:3, 3:]
    shift = matrix @ world + generator.uniform(-4, 4, (3, 1))
    return np.asarray(shift.reshape(3, *grid.shape))


def _lesions(
    white: np.ndarray, spacing: float, mean: float, generator: np.random.Generator
) -> np.ndarray:
    """Share of lesion in every voxel: balls of 4 to 9 mm radius in white matter."""
    share = np.zeros_like(white)
    inside = np.argwhere(white > 0.7)
    count = int(generator.poisson(mean)) if mean > 0 and len(inside) else 0
    grid = np.indices(white.shape)
    for centre in generator.permutation(inside)[:count]:
        away = spacing * np.sqrt(((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(0))
        radius = generator.uniform(4, 9)
        share = np.maximum(share, np.clip((radius - away) / spacing + 0.5, 0, 1) * (white > 0.3))
    return share


def _image(
    shares: Sequence[np.ndarray], contrast: str, spacing: float, generator: np.random.Generator
) -> np.ndarray:
    """Intensities of one sequence; scale, tissue contrast and noise differ between patients."""
    levels = np.array(CONTRASTS[contrast]) * generator.normal(1, 0.05, len(shares))
    clean = sum(level * share for level, share in zip(levels, shares, strict=True))
    bias = np.exp(0.15 * _smooth(shares[0].shape, 40, spacing, generator))
    noise = generator.uniform(0.03, 0.06) * generator.standard_normal((2, *shares[0].shape))
    # Magnitude of a complex signal, so that the background is not of zero mean: Rician.
    signal = np.hypot(clean * bias + noise[0], noise[1])
    return np.asarray(signal * np.exp(generator.normal(6, 0.5)), np.float32)
