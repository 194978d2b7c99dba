"""Probes: what an encoder makes of patients that it does not learn from.

Legend: N windows, E features, X Y Z voxels.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medssl.atomic import write_bytes
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
from medssl.families.pretrain.cohort import PROBES, keep_probes
from medssl.families.pretrain.config import ProbeSettings
from medssl.families.pretrain.probe_windows import Look
from medssl.methods.method import PretrainMethod, Reconstruction
from medssl.methods.pretrain.collapse import effective_rank
from medssl.train.track import Tracker

PLAIN = {
    "raw intensity": intensity_features,
    "gradient magnitude": gradient_features,
    "outline": outline_features,
}
"""What scans tell without learning."""

BATCH = 32
"""Windows per call of the encoder."""

Numbers = dict[str, float]


class Probes:
    """Asks the same questions whenever it is called; answers, pictures and baselines are kept.

    Args:
        looks: the windows, seen twice.
        partners: windows of one place in two patients; None asks nothing of them.
        contrasts: names, by index.
        folder: of the stage; receives probes.json and pictures/.
    """

    def __init__(
        self,
        method: PretrainMethod,
        looks: tuple[Look, Look],
        partners: tuple[Tensor, Tensor] | None,
        contrasts: tuple[str, ...],
        settings: ProbeSettings,
        device: torch.device,
        folder: Path,
        tracker: Tracker,
    ) -> None:
        self._method, self._contrasts = method, contrasts
        self._looks, self._partners = looks, partners
        self._settings, self._device = settings, device
        self._folder, self._tracker = folder, tracker

    def begin(self) -> None:
        """Probe what needs no training and the network as it is now, unless that is known."""
        if (self._folder / PROBES).is_file():
            return
        images = [look.image[:, 0].numpy() for look in self._looks]
        found = {name: self._compare(*(see(one) for one in images)) for name, see in PLAIN.items()}
        self._method.to(self._device).eval()
        found |= {_named("untrained", part): kept for part, kept in self._ask(0).items()}
        keep_probes(self._folder, found)

    @torch.no_grad()
    def __call__(self, step: int) -> Numbers:
        """Answers by "probe/name"; those of the method's own parts by "probe/part/name"."""
        found = self._ask(step)
        keep_probes(self._folder, {_named("trained", part): kept for part, kept in found.items()})
        return {
            "/".join(filter(None, ("probe", part, name))): value
            for part, kept in found.items()
            for name, value in kept.items()
            if np.isfinite(value)
        }

    @torch.no_grad()
    def _ask(self, step: int) -> dict[str, Numbers]:
        """Answers of the features handed on (named "") and of every further part."""
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
            self._draw(filled, step)
        return found

    def _features(self, image: Tensor) -> dict[str, np.ndarray]:
        """Features [N, E] handed on, as "", and of the method's parts."""
        embed = self._method.predictor()
        rows: dict[str, list[Tensor]] = {}
        for batch in torch.split(image, BATCH):
            windows = batch.to(self._device)
            for part, features in {"": embed(windows), **self._method.parts_of(windows)}.items():
                rows.setdefault(part, []).append(features.float().cpu())
        return {part: torch.cat(found).numpy() for part, found in rows.items()}

    def _compare(self, first: np.ndarray, second: np.ndarray, *, learnt: bool = False) -> Numbers:
        """Answers of features [N, E] of both looks; of those that were not learnt, retrieval."""
        look = self._looks[0]
        pairs = retrieve_across(first, second, look.contrast, look.item)
        found: Numbers = {}
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

    def _draw(self, filled: Reconstruction, step: int) -> None:
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
        path = self._folder / "pictures" / f"step_{step:06d}.png"
        write_bytes(path, picture)
        self._tracker.artifact(path, "pictures")


def _partner_found(first: np.ndarray, second: np.ndarray) -> Numbers:
    """Whether a window finds the same place of another patient among all; features [N, E].

    Without what all windows have in common, which else decides over every likeness.
    """
    found = retrieve(first - first.mean(0), second - second.mean(0))
    return {"partner_top1": found.top1, "partner_top5": found.top5, "partners": found.gallery}


def _named(what: str, part: str) -> str:
    return f"{what}, {part}" if part else what
