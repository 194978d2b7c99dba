"""How well an embedder finds the same place again, in mm.

Source: sheet of Alice, section 8.3: next to the embedder stand matchers that learn nothing.

Legend: N points, K classes, X Y Z voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from medssl.data.geometry import Geometry
from medssl.data.scan.matched_stream import (
    Scan,
    body_box,
    draw_places,
    relative_place,
    to_points,
)
from medssl.data.scan.matching import EmbeddedVolume, match
from medssl.data.scan.matching_settings import MatchingSettings


@dataclass(frozen=True)
class Warp:
    """A rotation, a scale and a smooth deformation.

    Attributes:
        degrees: largest angle about each axis.
        scale: factor in 1 +/- this, per axis.
        deformation: largest displacement of the smooth part, voxels.
        smoothness: standard deviation of the Gaussian that smooths it, as a share of each side.
    """

    degrees: float = 8.0
    scale: float = 0.1
    deformation: float = 3.0
    smoothness: float = 0.15


def draw_warp(shape: tuple[int, int, int], warp: Warp, rng: np.random.Generator) -> np.ndarray:
    """[3, X, Y, Z]: which voxel of the volume each voxel of the moved volume shows."""
    index = np.indices(shape, dtype=np.float64)
    middle = (np.array(shape)[:, None] - 1) / 2
    angles = rng.uniform(-warp.degrees, warp.degrees, 3)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    linear = turn * (1 + rng.uniform(-warp.scale, warp.scale, 3))
    turned = linear @ (index.reshape(3, -1) - middle) + middle
    noise = rng.normal(size=(3, *shape))
    smooth = np.stack([gaussian_filter(n, warp.smoothness * np.array(shape)) for n in noise])
    smooth *= warp.deformation / np.abs(smooth).max()
    return np.asarray(turned.reshape(3, *shape) + smooth)


def moved(volume: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The volume [X, Y, Z] at voxels `where` [3, X, Y, Z]; linear, its border repeated outside."""
    plain = np.asarray(volume, dtype=np.float32)
    return np.asarray(map_coordinates(plain, where, order=1, mode="nearest"), dtype=np.float32)


class MovedErrors(NamedTuple):
    """Errors [N] in mm at points of a moved volume, found again in the volume itself.

    Attributes:
        embedding: the embedder's.
        same_voxel: those of taking the same voxel, which needs no learning.
    """

    embedding: np.ndarray
    same_voxel: np.ndarray


def moved_errors(
    source: EmbeddedVolume,
    target: EmbeddedVolume,
    geometry: Geometry,
    where: np.ndarray,
    voxels: np.ndarray,
    settings: MatchingSettings,
) -> MovedErrors:
    """Errors at voxels [N, 3] of the moved volume whose vectors are `source`.

    Voxels whose true place lies outside of the volume are left out.
    """
    truth = where[(slice(None), *voxels.T)].T
    inside = ((truth >= 0) & (truth <= np.array(geometry.shape) - 1)).all(1)
    truth, voxels = truth[inside], voxels[inside]
    points = to_points(voxels, geometry)
    found = match(torch.from_numpy(points), source, target, settings).points.numpy()
    wanted = to_points(truth, geometry)
    return MovedErrors(
        np.linalg.norm(found - wanted, axis=1), np.linalg.norm(points - wanted, axis=1)
    )


def centroids(mask: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """[K, 3] mean voxel of each of the values of a mask [X, Y, Z]; nan where one is missing."""
    found = np.full((len(values), 3), np.nan)
    for index, value in enumerate(values):
        place = np.argwhere(mask == value)
        if len(place):
            found[index] = place.mean(0)
    return found


class CentroidErrors(NamedTuple):
    """Errors [N] in mm at classes that two patients share.

    Attributes:
        embedding: the embedder's.
        bounding_box: those of taking the same relative position in the body's bounding box.
        random: those of taking a random place in the body.
    """

    embedding: np.ndarray
    bounding_box: np.ndarray
    random: np.ndarray


def draw_box(shape: tuple[int, int, int], keep: float, rng: np.random.Generator) -> np.ndarray:
    """[2, 3] first and last voxel of a box with this share of each side, anywhere in a volume."""
    sides = np.maximum(1, np.rint(keep * np.array(shape)).astype(np.int64))
    start = rng.integers(0, np.array(shape) - sides + 1)
    return np.stack([start, start + sides - 1])


def centroid_errors(
    scans: tuple[Scan, Scan],
    vectors: tuple[EmbeddedVolume, EmbeddedVolume],
    places: tuple[np.ndarray, np.ndarray],
    seen: np.ndarray,
    settings: MatchingSettings,
    rng: np.random.Generator,
) -> CentroidErrors:
    """Errors of finding the centroids [K, 3] of one patient in another.

    Args:
        seen: [2, 3] first and last voxel of the part of the first scan that was embedded;
            centroids outside of it are left out.
    """
    own, other = places
    # Comparisons with nan, of a class that is missing, are false.
    shared = ((own >= seen[0]) & (own <= seen[1])).all(1) & np.isfinite(other).all(1)
    own, wanted = own[shared], to_points(other[shared], scans[1].geometry)
    points = torch.from_numpy(to_points(own, scans[0].geometry))
    found = match(points, *vectors, settings).points.numpy()
    whole = body_box(scans[0])
    box = np.stack([np.maximum(whole[0], seen[0]), np.minimum(whole[1], seen[1])])
    boxed = np.array([relative_place(place, box, scans[1]) for place in own]).reshape(-1, 3)
    drawn = draw_places(scans[1], len(own), 0, rng) if len(own) else boxed
    return CentroidErrors(
        np.linalg.norm(found - wanted, axis=1),
        np.linalg.norm(to_points(boxed, scans[1].geometry) - wanted, axis=1),
        np.linalg.norm(to_points(drawn, scans[1].geometry) - wanted, axis=1),
    )
