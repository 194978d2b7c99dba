"""Probes of joint 2D-3D pre-training: what volumes of other patients get, and pictures of clusters.

Legend: n volumes, N slices, S pixels of a side, E features, K prototypes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medssl.data.mixed.augment import random_view
from medssl.data.mixed.batch import MixedBatch, Volumes
from medssl.data.mixed.settings import SliceAugment
from medssl.data.mixed.stream import MixedSource, MixedStream
from medssl.evaluate.clusters import draw_clusters
from medssl.families.pretrain.pretrain import Probing
from medssl.methods.encoder_method import MixedMethod
from medssl.methods.pretrain.collapse import effective_rank, feature_deviation
from medssl.pipeline.plan import Job
from medssl.train.track import Tracker

VOLUMES = 16
"""Windows of held-out volumes that are probed."""


CLUSTERS = "images_source_nmi", "volumes_source_nmi"
"""What a method says of its clusters, where it has any."""


class MixedProbes(Probing):
    """What volumes of patients that are not learnt from get; clusters are drawn.

    Args:
        held_out: data sets of these patients.
        pictured: items of the training data, of which the nearest to each prototype are drawn.
        names: of the data sets of `pictured`.
    """

    def __init__(
        self,
        job: Job,
        method: MixedMethod,
        tracker: Tracker,
        held_out: Sequence[MixedSource],
        pictured: MixedBatch,
        names: tuple[str, ...],
    ) -> None:
        super().__init__(job, method, tracker)
        self._pictured, self._names = pictured, names
        sampling, seed = job.plan.config.pipeline.train.joint, self._settings.seed
        asked = sampling.model_copy(update={"images": 0, "volumes": VOLUMES})
        self._volumes = MixedStream(held_out, asked, seed).batch(0).to(self._device).volumes

    def ask(self, step: int) -> dict[str, dict[str, float]]:
        """What the vectors [n, E] of held-out volumes tell.

        `retrieval`: how often a view finds the other view of its volume first; `order`: mean cosine
        of a volume and its reverse, near 1 where the order of slices is not seen. Of what was
        learnt from last: how far clusters tell data sets apart.
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
        if step:
            self._draw(step)
        answers = {
            "retrieval": float((nearest == given.number).float().mean()),
            "order": float((found * reverse).sum(1).mean()),
            "rank": float(effective_rank(found)),
            "deviation": float(feature_deviation(found)),
        }
        told = self._method.monitor()
        return {"": answers | {name: told[name] for name in CLUSTERS if name in told}}

    def _vectors(self, given: Volumes) -> Tensor:
        encoder = self._method.encoder()
        vectors: Tensor = encoder.represent(given.slices, given.valid, given.spacing).float()
        return vectors

    def _draw(self, step: int) -> None:
        """The nearest items to each prototype."""
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
                self.picture(f"{level}_step_{step:06d}.png", drawn)


def _reversed(given: Volumes) -> Volumes:
    """The valid slices of each volume in reverse."""
    length = given.valid.sum(1, keepdim=True)
    place = torch.arange(given.valid.shape[1], device=length.device)
    order = torch.where(given.valid, length - 1 - place, place)
    index = order.view(*order.shape, 1, 1).expand(given.slices.shape)
    return replace(given, slices=given.slices.gather(1, index))
