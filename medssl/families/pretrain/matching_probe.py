"""Probes of an anatomical embedding: how far off it finds a place again, in mm."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from medssl.data.scan.matched_stream import Scan, draw_places, scans_of, to_points, to_voxels
from medssl.data.scan.matching import EmbeddedVolume, match
from medssl.data.scan.matching_settings import MatchingSettings
from medssl.data.scan.sessions import Sessions
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_mask
from medssl.evaluate.matching import (
    Warp,
    centroid_errors,
    centroids,
    draw_box,
    draw_warp,
    moved,
    moved_errors,
)
from medssl.evaluate.matching_picture import draw_matches
from medssl.families.pretrain.pretrain import Probing
from medssl.infer.embed import embed
from medssl.methods.encoder_method import PretrainMethod
from medssl.networks.anatomical_embedding import AnatomicalEmbedder
from medssl.pipeline.plan import Job
from medssl.train.distributed import TEAM
from medssl.train.track import Tracker

Numbers = dict[str, float]

KEPT = 0.7
"""Of each side of a scan, where its field of view is cut."""


class MatchingProbes(Probing):
    """Finds places of held-out volumes again: in the volume moved, and in another patient.

    Errors are medians in mm: `moved` and `centroid` of the embedder, and `centroid_cut` where the
    field of view of the patient that asks is cut at random; beside them those of matchers that
    learn nothing.
    """

    def __init__(
        self,
        job: Job,
        method: PretrainMethod,
        tracker: Tracker,
        sessions: Sessions,
        sources: Sequence[tuple[DataSpec, Sequence[Case]]],
    ) -> None:
        super().__init__(job, method, tracker)
        self._scans = _one_each(scans_of(sessions))
        self._centroids = _label_centroids(self._scans, sources)

    def ask(self, step: int) -> dict[str, Numbers]:
        """Answers of the embedding; the method has no further parts."""
        shapes = [scan.geometry.shape for scan in self._scans]
        everything = [np.stack([np.zeros(3, int), np.array(shape) - 1]) for shape in shapes]
        vectors = [self._embed(scan, np.asarray(scan.volume)) for scan in self._scans]
        boxes = [
            draw_box(shape, KEPT, np.random.default_rng([self._settings.seed, 3, number]))
            for number, shape in enumerate(shapes)
        ]
        parts = [self._embed_box(*one) for one in zip(self._scans, boxes, strict=True)]
        whole = self._between("centroid", vectors, vectors, everything)
        cut = self._between("centroid_cut", parts, vectors, boxes)
        if step:
            self._draw(step)
        return {"": self._moved(vectors) | whole | cut}

    def _moved(self, vectors: list[EmbeddedVolume]) -> Numbers:
        def errors(number: int) -> list[np.ndarray]:
            scan = self._scans[number]
            rng = np.random.default_rng([self._settings.seed, number])
            where = draw_warp(scan.geometry.shape, Warp(), rng)
            seen = self._embed(scan, moved(scan.volume, where))
            places = draw_places(scan, self._settings.windows, 4, rng)
            given = seen, vectors[number], scan.geometry, where, places, MatchingSettings()
            found = moved_errors(*given)
            return [found.embedding, found.same_voxel]

        embedding, same_voxel = zip(*TEAM.spread(errors, range(len(self._scans))), strict=True)
        return {"moved_mm": _median(embedding), "moved_same_voxel_mm": _median(same_voxel)}

    def _between(
        self,
        name: str,
        vectors: list[EmbeddedVolume],
        targets: list[EmbeddedVolume],
        seen: list[np.ndarray],
    ) -> Numbers:
        """Errors at centroids of labels that both patients of a pair have; none without labels.

        Args:
            vectors: of the boxes `seen` of the scans, in which centroids are asked.
            targets: of whole scans, in which they are found.
        """
        rng = np.random.default_rng([self._settings.seed, 1])
        found = [
            centroid_errors(
                (self._scans[i], self._scans[j]),
                (vectors[i], targets[j]),
                (self._centroids[i], self._centroids[j]),
                seen[i],
                MatchingSettings(),
                rng,
            )
            for i, j in self._pairs()
            if self._centroids[i].shape == self._centroids[j].shape
        ]
        if not sum(len(one.embedding) for one in found):
            return {}
        return {
            f"{name}_mm": _median([one.embedding for one in found]),
            f"{name}_bounding_box_mm": _median([one.bounding_box for one in found]),
            f"{name}_random_mm": _median([one.random for one in found]),
        }

    def _pairs(self) -> list[tuple[int, int]]:
        """Every ordered pair of two patients' scans of one contrast."""
        return [
            (i, j)
            for i, one in enumerate(self._scans)
            for j, other in enumerate(self._scans)
            if one.patient != other.patient and one.contrast == other.contrast
        ]

    def _embedder(self) -> AnatomicalEmbedder:
        return cast("AnatomicalEmbedder", self._method.encoder())

    def _embed(self, scan: Scan, volume: np.ndarray) -> EmbeddedVolume:
        image = torch.from_numpy(np.array(volume, dtype=np.float32)).to(self._device)
        return embed(image, scan.geometry, self._embedder())

    def _embed_box(self, scan: Scan, box: np.ndarray) -> EmbeddedVolume:
        """Vectors of a box [2, 3] of a scan, which see nothing beyond it."""
        (x, y, z), (right, front, top) = box[0].tolist(), (box[1] + 1).tolist()
        image = np.array(scan.volume[x:right, y:front, z:top], dtype=np.float32)
        geometry = scan.geometry.cropped((x, y, z), (right, front, top))
        return embed(torch.from_numpy(image).to(self._device), geometry, self._embedder())

    def _draw(self, step: int) -> None:
        """Places of one patient, and where they are found in another."""
        pairs = self._pairs()
        if not pairs or self._settings.pictures == 0:
            return
        one, other = (self._scans[index] for index in pairs[0])
        rng = np.random.default_rng([self._settings.seed, 2])
        places = draw_places(one, self._settings.pictures, 4, rng)
        known, target = (self._embed(scan, np.asarray(scan.volume)) for scan in (one, other))
        points = torch.from_numpy(to_points(places, one.geometry))
        answer = match(points, known, target, MatchingSettings())
        found = to_voxels(answer.points.numpy(), other.geometry)
        png = draw_matches(one.volume, other.volume, places, found)
        self.picture(f"matches_{step:06d}.png", png)


def _one_each(scans: Sequence[Scan]) -> list[Scan]:
    """The first scan of each patient and contrast."""
    first: dict[tuple[int, int], Scan] = {}
    for scan in scans:
        first.setdefault((scan.patient, scan.contrast), scan)
    return list(first.values())


def _label_centroids(
    scans: Sequence[Scan], sources: Sequence[tuple[DataSpec, Sequence[Case]]]
) -> list[np.ndarray]:
    """[K, 3] voxels of each scan's classes; nan where it has no label on its own grid."""
    cases = {f"{spec.name}/{case.id}": (spec, case) for spec, part in sources for case in part}
    found = []
    for scan in scans:
        spec, case = cases[scan.id]
        values = [label.value for label in spec.labels]
        empty = np.full((len(values), 3), np.nan)
        record = scan.place[0].record
        mask = None if case.label is None else read_mask(case.label)
        if mask is None or not mask.geometry.matches(record.source):
            found.append(empty)
            continue
        places = centroids(mask.array[0], values)
        found.append(places @ record.matrix[:3, :3].T + record.matrix[:3, 3])
    return found


def _median(parts: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate(parts)))
