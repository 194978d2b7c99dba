"""Probes: what an encoder makes of patients that it does not learn from.

Each scan is seen twice at the same places, each time through an affine of its own about the
window's centre, so that in a retrieval no edge lies on its like (sheet of modality-invariant
learning, section 10.3).

Legend: N windows, E features, X Y Z voxels.
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
from medssl.evaluate.probes import (
    few_shot_accuracy,
    gradient_features,
    intensity_features,
    linear_probe,
    masked_error,
    outline_features,
)
from medssl.evaluate.reconstruction import draw_reconstructions
from medssl.evaluate.retrieval import cross_distance, retrieve, retrieve_across
from medssl.families.pretrain.cohort import Numbers
from medssl.families.pretrain.pretrain import Probing
from medssl.methods.encoder_method import PretrainMethod, Reconstruction
from medssl.methods.pretrain.collapse import effective_rank
from medssl.pipeline.plan import Job
from medssl.train.distributed import TEAM
from medssl.train.track import Tracker

PLAIN = {
    "raw intensity": intensity_features,
    "gradient magnitude": gradient_features,
    "outline": outline_features,
}
"""What scans tell without learning."""

BATCH = 32
"""Windows per call of the encoder."""

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


class Probes(Probing):
    """Windows of places that are found again, told apart and filled in.

    Args:
        looks: the windows, seen twice.
        partners: windows of one place in two patients; None asks nothing of them.
        contrasts: names, by index.
    """

    def __init__(
        self,
        job: Job,
        method: PretrainMethod,
        tracker: Tracker,
        looks: tuple[Look, Look],
        partners: tuple[Tensor, Tensor] | None,
        contrasts: tuple[str, ...],
    ) -> None:
        super().__init__(job, method, tracker)
        self._looks, self._partners, self._contrasts = looks, partners, contrasts

    def plain(self) -> dict[str, Numbers]:
        """What scans tell without learning."""
        images = [look.image[:, 0].numpy() for look in self._looks]
        return {name: self._compare(*(see(one) for one in images)) for name, see in PLAIN.items()}

    def ask(self, step: int) -> dict[str, dict[str, float]]:
        """Answers of the features handed on and of every further part."""
        parts = [self._features(look.image) for look in self._looks]
        found = {
            part: self._compare(first, parts[1][part], learnt=True)
            for part, first in parts[0].items()
        }
        if self._partners is not None:
            first, second = (self._features(windows) for windows in self._partners)
            for part in found:
                found[part] |= _partner_found(first[part], second[part])
        filled = self._reconstruct(self._looks[0].image)
        if filled is not None:
            found[""]["masked_error"] = masked_error(
                self._looks[0].image[:, 0].numpy(),
                filled.prediction[:, 0].numpy(),
                filled.mask[:, 0].numpy(),
            )
            self._draw_filled(filled, step)
        return found

    def _features(self, image: Tensor) -> dict[str, np.ndarray]:
        """Features [N, E] handed on, as "", and of the method's parts."""
        found = TEAM.spread(self._of_windows, torch.split(image, BATCH))
        return {part: np.concatenate([one[part] for one in found]) for part in found[0]}

    def _of_windows(self, image: Tensor) -> dict[str, np.ndarray]:
        windows = image.to(self._device)
        parts = {"": self._method.predictor()(windows), **self._method.parts_of(windows)}
        return {part: features.float().cpu().numpy() for part, features in parts.items()}

    def _compare(
        self, first: np.ndarray, second: np.ndarray, *, learnt: bool = False
    ) -> dict[str, float]:
        """Answers of features [N, E] of both looks; of those that were not learnt, retrieval."""
        look = self._looks[0]
        pairs = retrieve_across(first, second, look.contrast, look.item)
        found: dict[str, float] = {}
        if pairs:
            for name in ("top1", "top5", "median_rank", "gallery"):
                found[name] = float(np.mean([getattr(one, name) for one in pairs.values()]))
            for (one, other), pair in pairs.items():
                direction = f"{self._contrasts[one]}-{self._contrasts[other]}"
                found[f"{direction}/top1"], found[f"{direction}/top5"] = pair.top1, pair.top5
            found["distance"] = cross_distance(first, look.contrast, look.item)
        if learnt:
            known = look.contrast >= 0
            rng = np.random.default_rng(self._settings.seed)
            shots, neighbours = self._settings.shots, self._settings.neighbours
            found["rank"] = float(effective_rank(torch.from_numpy(first)))
            found["modality"] = linear_probe(
                first[known], look.contrast[known], look.patient[known]
            )
            found["place"] = few_shot_accuracy(
                first, look.eighth, look.patient, shots, neighbours, rng
            )
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def _reconstruct(self, image: Tensor) -> Reconstruction | None:
        """All windows, masked alike at every call; None where the method does not fill in."""
        generator = torch.Generator(self._device).manual_seed(self._settings.seed)
        found = []
        for batch in torch.split(image, BATCH):
            filled = self._method.reconstruct(batch.to(self._device), generator)
            if filled is None:
                return None
            found.append(Reconstruction(filled.prediction.float().cpu(), filled.mask.cpu()))
        prediction, mask = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Reconstruction(prediction, mask)

    def _draw_filled(self, filled: Reconstruction, step: int) -> None:
        count = self._settings.pictures
        if count == 0:
            return
        look, contrasts = self._looks[0], (*self._contrasts, "unknown contrast")
        rows = np.linspace(0, len(look.image) - 1, count).round().astype(int)
        picture = draw_reconstructions(
            look.image[rows, 0].numpy(),
            filled.prediction[rows, 0].numpy(),
            filled.mask[rows, 0].numpy(),
            [contrasts[index] for index in look.contrast[rows]],
        )
        self.picture(f"step_{step:06d}.png", picture)


def _partner_found(first: np.ndarray, second: np.ndarray) -> Numbers:
    """Whether a window finds the same place of another patient among all; features [N, E].

    Without what all windows have in common, which else decides over every likeness.
    """
    found = retrieve(first - first.mean(0), second - second.mean(0))
    return {"partner_top1": found.top1, "partner_top5": found.top5, "partners": found.gallery}


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
    planar = volume.shape[2] == 1
    matrix = matrices(rng.uniform(-1, 1, (1, NUMBERS)), AFFINE, planar)[0]
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
