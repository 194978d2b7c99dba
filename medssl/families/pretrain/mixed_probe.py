"""Probes of joint 2D-3D pre-training: what volumes of other patients get, and pictures of clusters.

Legend: n volumes, N slices, S pixels of a side, E features, K prototypes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medssl.atomic import write_bytes
from medssl.data.mixed.augment import random_view
from medssl.data.mixed.batch import MixedBatch, Volumes
from medssl.data.mixed.settings import MixedSampling, SliceAugment
from medssl.data.mixed.stream import MixedSource, MixedStream
from medssl.evaluate.clusters import draw_clusters
from medssl.families.pretrain.cohort import PROBES, keep_probes
from medssl.families.pretrain.config import ProbeSettings
from medssl.methods.method import MixedMethod
from medssl.methods.pretrain.collapse import effective_rank, feature_deviation
from medssl.train.track import Tracker

Numbers = dict[str, float]

VOLUMES = 16
"""Windows of held-out volumes that are probed."""


class MixedProbes:
    """Asks the same questions whenever it is called; answers and pictures are kept.

    Args:
        held_out: data sets of patients that are not learnt from.
        pictured: items of the training data, of which the nearest to each prototype are drawn.
        names: of the data sets of `pictured`.
        folder: of the stage; receives probes.json and pictures/.
    """

    def __init__(
        self,
        method: MixedMethod,
        held_out: Sequence[MixedSource],
        pictured: MixedBatch,
        names: tuple[str, ...],
        sampling: MixedSampling,
        settings: ProbeSettings,
        device: torch.device,
        folder: Path,
        tracker: Tracker,
    ) -> None:
        self._method, self._pictured, self._names = method, pictured, names
        self._settings, self._device = settings, device
        self._folder, self._tracker = folder, tracker
        asked = sampling.model_copy(update={"images": 0, "volumes": VOLUMES})
        self._volumes = MixedStream(held_out, asked, settings.seed).batch(0).to(device).volumes

    def begin(self) -> None:
        """Probe the network as it is now, unless that is known."""
        if not (self._folder / PROBES).is_file():
            self._method.to(self._device).eval()
            keep_probes(self._folder, {"untrained": self._ask()})

    @torch.no_grad()
    def __call__(self, step: int) -> Numbers:
        """Answers by "probe/name"; clusters are drawn."""
        found = self._ask()
        keep_probes(self._folder, {"trained": found})
        self._draw(step)
        return {f"probe/{name}": value for name, value in found.items()}

    @torch.no_grad()
    def _ask(self) -> Numbers:
        """What the vectors [n, E] of held-out volumes tell.

        `retrieval`: how often a view finds the other view of its volume first; `order`: mean cosine
        of a volume and its reverse, near 1 where the order of slices is not seen.
        """
        given = self._volumes
        found = self._vectors(given)
        reverse = self._vectors(_reversed(given))
        generator = torch.Generator(self._device).manual_seed(self._settings.seed)
        side = given.slices.shape[-1]
        views = [
            self._vectors(
                replace(given, slices=random_view(given.slices, SliceAugment(), side, generator))
            )
            for _ in range(2)
        ]
        nearest = given.number[(views[0] @ views[1].T).argmax(1)]
        return {
            "retrieval": float((nearest == given.number).float().mean()),
            "order": float((found * reverse).sum(1).mean()),
            "rank": float(effective_rank(found)),
            "deviation": float(feature_deviation(found)),
        }

    def _vectors(self, given: Volumes) -> Tensor:
        encoder = self._method.encoder()
        return encoder.represent(given.slices, given.valid, given.spacing).float()

    def _draw(self, step: int) -> None:
        if self._settings.pictures == 0:
            return
        scores = self._method.scores(self._pictured.to(self._device))
        images, volumes = self._pictured.images, self._pictured.volumes
        middle = volumes.valid.sum(1) // 2
        slices = volumes.slices[torch.arange(len(middle)), middle]
        parts = {
            "images": (images.pixels, images.source, images.number, scores.images),
            "volumes": (slices, volumes.source, volumes.number, scores.volumes),
        }
        for level, (pictures, source, number, score) in parts.items():
            if len(pictures):
                once = np.unique(number.numpy(), return_index=True)[1]
                names = [self._names[index] for index in source[once].tolist()]
                drawn = draw_clusters(pictures.numpy()[once], names, score.cpu().numpy()[once])
                path = self._folder / "pictures" / f"{level}_step_{step:06d}.png"
                write_bytes(path, drawn)
                self._tracker.artifact(path, "pictures")


def _reversed(given: Volumes) -> Volumes:
    """The valid slices of each volume in reverse."""
    length = given.valid.sum(1, keepdim=True)
    place = torch.arange(given.valid.shape[1], device=length.device)
    order = torch.where(given.valid, length - 1 - place, place)
    index = order.view(*order.shape, 1, 1).expand(given.slices.shape)
    return replace(given, slices=given.slices.gather(1, index))
