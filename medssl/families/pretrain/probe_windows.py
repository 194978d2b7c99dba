"""Windows on which an encoder is probed: the same places every time, each scan seen twice.

Each look goes through an affine of its own about the window's centre, so that in a retrieval no
edge lies on its like (sheet of modality-invariant learning, section 10.3).

Legend: N windows, X Y Z voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.matched_stream import MatchedStream, scans_of
from medssl.data.scan.matching_settings import MatchedViews
from medssl.data.scan.sessions import ScanGroup, Sessions
from medssl.data.scan.settings import AffineSettings
from medssl.data.scan.window import NUMBERS, Triple, matrices
from medssl.errors import DataError

AFFINE = AffineSettings(rotation=0.3, scale=0.1, shear=0, flip_pairs=(), flip_scans=())
SHIFT = 2.0
"""Voxels by which a look is moved at most; both as in section 10.3."""


@dataclass(frozen=True)
class Look:
    """Windows of all probed scans, seen once.

    Attributes:
        image: [N, 1, X, Y, Z] float32 on the CPU.
        contrast: [N], index of each window's contrast.
        patient: [N].
        item: [N], equal for the windows of one place of one session.
        eighth: [N], which eighth of its volume a window's centre lies in.
    """

    image: Tensor
    contrast: np.ndarray
    patient: np.ndarray
    item: np.ndarray
    eighth: np.ndarray


def draw_looks(
    groups: Sequence[ScanGroup], patch: Triple, windows: int, seed: int
) -> tuple[Look, Look]:
    """Two looks at the same places; of each patient the group with most known contrasts.

    Places lie in the foreground of the group's first scan, and where the volume allows it windows
    lie within the volume.
    """
    rows: list[tuple[list[Tensor], int, int, int, int]] = []
    for group in _one_each(groups):
        volumes = [torch.from_numpy(group.volume(n).astype(np.float32)) for n in _known(group)]
        for place in range(windows):
            rng = np.random.default_rng([seed, group.patient, place])
            centre = _centre(volumes[0].numpy(), patch, rng)
            eighth = int(sum(2**a * (centre[a] > volumes[0].shape[a] / 2) for a in range(3)))
            for volume, scan in zip(volumes, _known(group), strict=True):
                seen = [look_at(volume, centre, patch, rng) for _ in range(2)]
                item = group.patient * windows + place
                rows.append((seen, group.contrasts[scan], group.patient, item, eighth))
    facts = [np.array(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    first, second = (torch.stack([row[0][look] for row in rows]) for look in range(2))
    return Look(first, *facts), Look(second, *facts)


def draw_partners(
    sessions: Sessions, patch: Triple, windows: int, seed: int
) -> tuple[Tensor, Tensor] | None:
    """Windows [N, 1, X, Y, Z] and those of the same place in another patient; `windows` a scan.

    The same place is the same relative position in the body's box, which no embedding chose. None
    where no two patients have a contrast in common.
    """
    scans = scans_of(sessions)
    try:
        stream = MatchedStream(
            scans, MatchedViews(partner="bounding_box"), windows * len(scans), patch, seed
        )
    except DataError:
        return None
    pairs = stream.batch(0).windows()
    return pairs[:, 0], pairs[:, 1]


def look_at(volume: Tensor, centre: np.ndarray, patch: Triple, rng: np.random.Generator) -> Tensor:
    """Window [1, X, Y, Z] around about `centre` (voxels) of a volume [X, Y, Z]."""
    matrix = matrices(rng.uniform(-1, 1, (1, NUMBERS)), AFFINE)[0]
    centre = centre + rng.uniform(-SHIFT, SHIFT, 3)
    shape = np.array(volume.shape)
    turned = matrix * np.array(patch) / shape[:, None]
    moved = (2 * centre + 1) / shape - 1
    theta = np.concatenate([turned[::-1, ::-1], moved[::-1, None]], axis=1)
    batch = ScanBatch(
        volume[None, None, None],
        torch.from_numpy(theta.astype(np.float32))[None, None],
        patch,
        torch.ones(1, dtype=torch.int64),
        torch.zeros(1, 1, dtype=torch.int64),
        ("",),
    )
    return batch.windows()[0, 0]


def _one_each(groups: Sequence[ScanGroup]) -> list[ScanGroup]:
    """Of each patient the group with most known contrasts, the first of equals."""
    best: dict[int, ScanGroup] = {}
    for group in groups:
        if group.patient not in best or len(_known(group)) > len(_known(best[group.patient])):
            best[group.patient] = group
    return list(best.values())


def _known(group: ScanGroup) -> list[int]:
    """One scan of each known contrast; all scans where none is known."""
    first: dict[int, int] = {}
    for scan, contrast in enumerate(group.contrasts):
        if contrast >= 0:
            first.setdefault(contrast, scan)
    return list(first.values()) or list(range(len(group.contrasts)))


def _centre(
    volume: np.ndarray, patch: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    """A foreground voxel, moved so that its window lies in the volume where it is long enough."""
    inside = np.flatnonzero(volume.ravel() > volume.min())
    if not len(inside):
        inside = np.arange(volume.size)
    voxel = np.array(np.unravel_index(rng.choice(inside), volume.shape), dtype=float)
    half, shape = (np.array(patch) - 1) / 2, np.array(volume.shape)
    low, high = half, shape - 1 - half
    return np.where(low <= high, np.clip(voxel, low, np.maximum(low, high)), (shape - 1) / 2)
