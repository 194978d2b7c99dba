"""Pairs of windows that show the same anatomy in two patients: batch k is a function of (seed, k).

Source: sheet of Alice, section 3 (steps 1 to 4) and section 8.2. Places are voxels of a scan, or mm
RAS+ between scans; both scans of a pair have one contrast.

Legend: X Y Z voxels of a scan, x y z voxels of a source box, N candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, radians, sin

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from medssl.data.cache import CachedCase
from medssl.data.geometry import Geometry
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.matching import EmbeddedVolume, match
from medssl.data.scan.matching_settings import MatchedViews
from medssl.data.scan.sessions import Sessions
from medssl.data.scan.settings import AffineSettings
from medssl.data.scan.window import NUMBERS, matrices
from medssl.data.stream import SEED_WORDS
from medssl.errors import DataError

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Scan:
    """One single-channel volume.

    Attributes:
        id: of its session, "data set/case".
        key: names its voxels: equal keys, equal voxels.
        patient: from 1, equal exactly for one patient.
        contrast: index of its contrast, -1 where unknown.
        place: prepared case and channel.
    """

    id: str
    key: str
    patient: int
    contrast: int
    place: tuple[CachedCase, int]

    @property
    def volume(self) -> np.ndarray:
        """[X, Y, Z], memory-mapped."""
        case, channel = self.place
        volume: np.ndarray = case.image[channel]
        return volume

    @property
    def geometry(self) -> Geometry:
        """The grid of its voxels, RAS+ mm."""
        return self.place[0].record.network


def scans_of(sessions: Sessions) -> list[Scan]:
    """Every scan of every session, in order."""
    return [
        Scan(group.id, f"{case.folder.name}-{channel}", group.patient, contrast, (case, channel))
        for group in sessions.groups
        for contrast, (case, channel) in zip(group.contrasts, group.places, strict=True)
    ]


@dataclass(frozen=True)
class MatchedStream:
    """Batches of pairs Q, K.

    Attributes:
        embedded: gives the vectors of a scan; needed only where partners are found by matching.
        size: pairs per batch.
        patch: sides of the windows in voxels.

    Raises:
        DataError: no scan has a partner: there is one patient only, or each has its own contrast.
    """

    scans: Sequence[Scan]
    views: MatchedViews
    size: int
    patch: Triple
    seed: int
    embedded: Callable[[Scan], EmbeddedVolume] | None = None

    def __post_init__(self) -> None:
        if not self._first():
            raise DataError(
                "no scan has a partner of another patient",
                "a pair shows one contrast in two patients",
                "add patients, or set method.views.partner=same_volume",
            )

    def batch(self, number: int) -> ScanBatch:
        """Batch `number`, counted from 0."""
        pairs = [self._pair(item) for item in range(number * self.size, (number + 1) * self.size)]
        sources = [[window.source for window in pair.windows] for pair in pairs]
        affines = np.array([[window.affine for window in pair.windows] for pair in pairs])
        return ScanBatch(
            torch.from_numpy(np.array(sources, dtype=np.float32)),
            torch.from_numpy(affines) if self.views.rotation or self.views.scale else None,
            self.patch,
            torch.tensor([pair.scans[0].patient for pair in pairs]),
            torch.tensor([[scan.contrast for scan in pair.scans] for pair in pairs]),
            tuple(" and ".join(scan.id for scan in pair.scans) for pair in pairs),
            *self._anatomies(pairs),
        )

    def _anatomies(self, pairs: "Sequence[_Pair]") -> tuple[Tensor | None, Tensor | None]:
        """What the embedding says of the windows, where `views.overlap` asks for it."""
        if not self.views.overlap or self.embedded is None:
            return None, None
        apart = np.rint((1 - self.views.overlap) * np.array(self.patch)).astype(int)
        found = [
            anatomy_at(self.embedded(scan), scan, place, apart)
            for pair in pairs
            for scan, place in zip(pair.scans, pair.places, strict=True)
        ]
        vectors, near = (torch.stack(part) for part in zip(*found, strict=True))
        return vectors.view(len(pairs), 2, -1), near.view(-1, 2)

    def places(self, item: int) -> tuple[tuple[Scan, np.ndarray], tuple[Scan, np.ndarray]]:
        """The scans of an item and the voxels [3] about which their windows are cut."""
        rng = np.random.default_rng([self.seed, SEED_WORDS["pairs"], 1, item])
        first = self._first()
        epoch, within = divmod(item, len(first))
        order = np.random.default_rng([self.seed, SEED_WORDS["pairs"], 0, epoch])
        query = first[order.permutation(len(first))[within]]
        if self.views.partner == "same_volume":
            place = draw_places(query, 1, self.views.margin, rng)[0]
            moved = place + rng.integers(-self.views.shift, self.views.shift + 1, 3)
            inside = np.clip(moved, 0, np.array(query.geometry.shape) - 1)
            return (query, place), (query, inside)
        partners = _partners(query, self.scans)
        key = partners[rng.integers(len(partners))]
        places = draw_places(query, self._tried(), self.views.margin, rng)
        place, found = self._find(query, key, places, rng)
        return (query, place), (key, found)

    def _first(self) -> list[Scan]:
        """Scans that can be the first of a pair."""
        if self.views.partner == "same_volume":
            return list(self.scans)
        return [scan for scan in self.scans if _partners(scan, self.scans)]

    def _tried(self) -> int:
        return self.views.candidates if self.views.partner == "matched" else 1

    def _find(
        self, query: Scan, key: Scan, places: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first place with a believed match, and the match; without one the nearest miss."""
        if self.views.partner == "random":
            return places[0], draw_places(key, 1, self.views.margin, rng)[0]
        if self.views.partner == "bounding_box":
            return places[0], relative_place(places[0], body_box(query), key)
        if self.embedded is None:
            raise ValueError("matched windows need the vectors of the scans")
        points = torch.from_numpy(to_points(places, query.geometry))
        answer = match(points, self.embedded(query), self.embedded(key), self.views.matching)
        best = int(answer.believed.to(torch.uint8).argmax())
        if not bool(answer.believed[best]):
            best = int(answer.missed.argmin())
        return places[best], to_voxels(answer.points[best].numpy(), key.geometry)

    def _pair(self, item: int) -> "_Pair":
        rng = np.random.default_rng([self.seed, SEED_WORDS["pairs"], 2, item])
        one, other = self.places(item)
        windows = tuple(
            cut_window(scan.volume, place, self.patch, self.views, rng)
            for scan, place in (one, other)
        )
        return _Pair((one[0], other[0]), windows, (one[1], other[1]))


@dataclass(frozen=True)
class Window:
    """A window as `ScanBatch` wants it.

    Attributes:
        source: [1, x, y, z] float32.
        affine: [3, 4] float32.
    """

    source: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class _Pair:
    scans: tuple[Scan, Scan]
    windows: tuple[Window, ...]
    places: tuple[np.ndarray, np.ndarray]


def anatomy_at(
    embedded: EmbeddedVolume, scan: Scan, place: np.ndarray, apart: np.ndarray
) -> tuple[Tensor, Tensor]:
    """The vector [f] of a place, and its mean product with those of places so far apart.

    Args:
        place: [3] voxels.
        apart: [3] voxels along each axis, in both directions; what lies outside does not count, and
            where nothing lies inside the product is 1, that of the place itself.
    """
    moved = place + np.concatenate([np.diag(apart), -np.diag(apart)])
    inside = ((moved >= 0) & (moved < scan.geometry.shape)).all(1)
    voxels = np.concatenate([place[None], moved[inside]])
    cells = embedded.cells(torch.from_numpy(to_points(voxels, scan.geometry)))
    _, y, z = embedded.shape
    index = (cells[:, 0] * y + cells[:, 1]) * z + cells[:, 2]
    vectors = embedded.vectors[index.to(embedded.vectors.device)].cpu()
    vectors = normalize(vectors, dim=1)
    near = vectors[1:] @ vectors[0] if len(vectors) > 1 else vectors.new_ones(1)
    return vectors[0], near.mean()


def _partners(query: Scan, scans: Sequence[Scan]) -> list[Scan]:
    return [s for s in scans if s.patient != query.patient and s.contrast == query.contrast]


def draw_places(scan: Scan, count: int, margin: int, rng: np.random.Generator) -> np.ndarray:
    """Voxels [count, 3] int64 of the body, that is above the smallest intensity, off the border.

    Of at least four times as many drawn ones the first in the body are taken, and others where
    these are too few.
    """
    shape = np.array(scan.geometry.shape)
    edge = np.minimum(margin, shape // 4)
    drawn = rng.integers(edge, shape - edge, (max(4 * count, 64), 3))
    body = scan.volume[tuple(drawn.T)] > scan.place[0].floor
    return np.concatenate([drawn[body], drawn[~body]])[:count]


def to_points(voxels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Voxels [N, 3] as mm RAS+ [N, 3] float64."""
    return np.asarray(voxels @ geometry.affine[:3, :3].T + geometry.affine[:3, 3])


def to_voxels(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Points [..., 3], mm RAS+, as the nearest voxels, int64, of the grid."""
    inverse = np.linalg.inv(geometry.affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return np.asarray(np.clip(index, 0, np.array(geometry.shape) - 1))


def relative_place(voxel: np.ndarray, box: np.ndarray, key: Scan) -> np.ndarray:
    """The voxel of `key` at the relative position in its body that `voxel` has in `box` [2, 3]."""
    other = body_box(key)
    share = (voxel - box[0]) / np.maximum(box[1] - box[0], 1)
    moved = np.rint(other[0] + share * (other[1] - other[0])).astype(np.int64)
    return np.asarray(np.clip(moved, 0, np.array(key.geometry.shape) - 1))


def body_box(scan: Scan) -> np.ndarray:
    """[2, 3]: first and last voxel above the smallest intensity, per axis."""
    return _body_box(scan.place)


@lru_cache(maxsize=4096)
def _body_box(place: tuple[CachedCase, int]) -> np.ndarray:
    case, channel = place
    inside = np.argwhere(case.image[channel] > case.floor)
    if not len(inside):
        return np.array([[0, 0, 0], case.record.network.shape])
    return np.stack([inside.min(0), inside.max(0)])


def cut_window(
    volume: np.ndarray,
    place: np.ndarray,
    patch: Triple,
    views: MatchedViews,
    rng: np.random.Generator,
) -> Window:
    """The window about a voxel of a volume, with a small affine of its own.

    Without an affine it holds the volume's own voxels, `place` right of its middle; the border is
    repeated outside.
    """
    sides = np.array(patch)
    sizes = np.array([ceil(side * reach(views)) for side in patch])
    start = place - sizes // 2
    source = _box(volume, start, sizes)
    linear = matrices(rng.uniform(-1, 1, (1, NUMBERS)), affine_of(views))[0]
    # Both in normalised coordinates, last axis first. The window's middle is the corner before
    # `place`, or its centre where the window's side is odd.
    scaled = linear * sides[None] / sizes[:, None]
    shift = 2 * (place - start + sides % 2 / 2) / sizes - 1
    affine = np.concatenate([scaled[::-1, ::-1], shift[::-1, None]], axis=1)
    return Window(source[None].astype(np.float32), affine.astype(np.float32))


def affine_of(views: MatchedViews) -> AffineSettings:
    """The range of each window's own affine. It never mirrors: left stays left."""
    return AffineSettings(
        rotation=radians(views.rotation),
        scale=views.scale,
        shear=0,
        flip_pairs=(),
        flip_scans=(),
    )


def reach(views: MatchedViews) -> float:
    """Side of the largest region that a window may show, as a multiple of the window's side."""
    return (1 + views.scale) * min(3**0.5, 1 + 2 * sin(radians(views.rotation)))


def _box(volume: np.ndarray, start: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Box of a volume, its border repeated outside; reads no more than it needs."""
    ranges = [
        np.clip(np.arange(low, low + size), 0, length - 1)
        for low, size, length in zip(start, sizes, volume.shape, strict=True)
    ]
    inner = volume[tuple(slice(one[0], one[-1] + 1) for one in ranges)]
    return inner[np.ix_(*(one - one[0] for one in ranges))]
