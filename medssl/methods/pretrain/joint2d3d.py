"""Joint 2D-3D: images and slices fall into clusters, and so do the volumes that slices make.

Source: Nguyen et al., AAAI 2023 (sheet of joint 2D-3D pre-training; its section 4 is one step).
Three losses: clusters of images and single slices agree between two views (intra), hidden slices
are told from the others (mask), clusters of volumes agree (inter).

Legend: V views, B2 images, B3 volumes, N slices, m picked slices of a volume, S pixels of a side, E
features.
"""

from collections.abc import Iterable, Sequence
from math import log
from typing import NamedTuple, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from medssl.data.mixed.augment import random_view, reverse_some
from medssl.data.mixed.batch import MixedBatch, Volumes
from medssl.errors import MedsslError, UsageError
from medssl.methods.encoder_method import MixedMethod, MixedScores, MixedTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.cluster_use import ClusterUse
from medssl.methods.pretrain.clustering import (
    Clusters,
    DeepClusters,
    Found,
    Items,
    SwavClusters,
)
from medssl.methods.pretrain.collapse import feature_deviation, too_many
from medssl.methods.pretrain.joint_phases import Phase, phase_of
from medssl.methods.pretrain.slice_masking import draw_mask, hide, mask_loss
from medssl.methods.settings.joint2d3d import Level, Settings
from medssl.networks.build import build_encoder
from medssl.networks.mixed_encoder import MixedEncoder
from medssl.networks.slice_transformer import holistic

VIEWS = 2
LITTLE_FOREGROUND = 0.02
"""Slices of which less is not air are not picked, unless a volume has no others."""

IDLE_MASK, AT_CHANCE = 0.05, 0.95
"""Hidden slices are easy below this loss; volumes are not clustered above this share of ln K."""

REMEMBERED = 0.01
"""Share of the newest step in the running means of both losses."""


class Step(NamedTuple):
    """What a step leaves to `after_step`, of images or of volumes.

    Attributes:
        crops: unit embeddings of each crop of the items.
    """

    crops: Sequence[Tensor]
    items: Items
    found: Found


class Embedded(NamedTuple):
    """Embeddings of a batch's views.

    Attributes:
        images: [B2, E] of each view.
        volumes: [B3, N, E] of each view, or None where a step has no need of whole volumes.
        picked: [B3 * m, E] of each view.
    """

    images: list[Tensor]
    volumes: list[Tensor] | None
    picked: list[Tensor]


class Joint2d3d(MixedMethod):
    """One network of slices, one of volumes, prototypes for each."""

    collapsed: Tensor
    mask_share: Tensor
    means: Tensor

    def __init__(self, settings: Settings, task: MixedTask, seed: int) -> None:
        super().__init__()
        _refuse_nothing_to_learn(settings, task)
        self.settings, self.task = settings, task
        self.trained = cast("MixedEncoder", build_encoder(task.network, 1, 1000 * seed, task.start))
        width, head = self.trained.width, settings.head
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 1)
            self.head = nn.Sequential(
                nn.Linear(width, head.hidden), nn.ReLU(), nn.Linear(head.hidden, head.outputs)
            )
            self.mask_token = nn.Parameter(torch.randn(width))
            self.decoder = nn.Linear(width, width)
            # Tokens are far longer than the unit vectors that are to come out.
            nn.init.normal_(self.decoder.weight, std=1 / (8 * width))
            count, drift = len(task.sources), settings.deepcluster.drift
            self.image_clusters = _clusters(
                settings, settings.images, head.outputs, (task.numbered, count)
            )
            self.volume_clusters = _clusters(
                settings, settings.volumes, width, (task.volumes, count), drift
            )
        self.image_use = ClusterUse(settings.images.prototypes, task.numbered)
        self.volume_use = ClusterUse(settings.volumes.prototypes, task.volumes)
        self.register_buffer("collapsed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask_share", torch.ones(()))
        self.register_buffer("means", torch.zeros(2))
        self._steps: dict[str, Step] = {}
        self._losses: dict[str, Tensor] = {}

    def forward(
        self,
        batches: dict[str, MixedBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The losses that this part of training has: intra, mask, inter."""
        batch, chosen = batches["joint"], self.settings
        phase = phase_of(chosen, progress)
        picks = self._pick(batch.volumes, generator)
        embedded = self._embed(batch, picks, phase, generator)
        self._steps, losses = {}, {}
        if phase.intra:
            losses["intra"] = self._intra(batch, picks, embedded, phase, generator)
        if embedded.volumes is not None:
            losses |= self._of_volumes(batch.volumes, embedded.volumes, phase, generator)
        self._losses = {name: loss.detach() for name, loss in losses.items()}
        weights = {name: getattr(chosen.weights, name) for name in losses}
        if "mask" in losses:
            weights["mask"] = weights["mask"] * self.mask_share
        return {name: weights[name] * loss for name, loss in losses.items()}

    @torch.no_grad()
    def _pick(self, volumes: Volumes, generator: Generator) -> Tensor:
        """[B3, m] slices, no two alike where a volume has enough, by their share of foreground."""
        share = volumes.foreground
        weight = torch.where(share > LITTLE_FOREGROUND, share, 1e-6) * volumes.valid
        uniform = torch.rand(share.shape, generator=generator, device=share.device)
        # The largest of u^(1 / w) are a draw without replacement (Efraimidis & Spirakis 2006).
        order = (uniform.clamp(1e-6, 1 - 1e-6).log() / weight.clamp_min(1e-12)).argsort(
            dim=1, descending=True
        )
        picks = order[:, : self.settings.slices]
        return torch.where(volumes.valid.gather(1, picks), picks, picks[:, :1])

    def _embed(
        self, batch: MixedBatch, picks: Tensor, phase: Phase, generator: Generator
    ) -> Embedded:
        """Two views of all that a step needs, through the network of slices at once."""
        whole = phase.mask or phase.inter
        augment, area = self.settings.augment, self.settings.crops.area
        images, slices = batch.images.pixels.unsqueeze(1), batch.volumes.slices
        if not phase.intra:
            images = images[:0]
        if not whole:
            slices = _chosen(slices, picks)
        side, stacks = slices.shape[-1], []
        for _ in range(VIEWS):
            crops = random_view(images, augment, side, generator, area)
            views = random_view(slices, augment, side, generator)
            stacks.append(torch.cat([crops.flatten(0, 1), views.flatten(0, 1)]))
        found = self._slices(torch.cat(stacks), phase).chunk(VIEWS)
        of_images, width = [part[: len(images)] for part in found], self.trained.width
        of_volumes = [part[len(images) :].view(*slices.shape[:2], width) for part in found]
        if not whole:
            return Embedded(of_images, None, [part.flatten(0, 1) for part in of_volumes])
        picked = [_chosen(part, picks).flatten(0, 1) for part in of_volumes]
        return Embedded(of_images, of_volumes, picked)

    def _slices(self, stack: Tensor, phase: Phase) -> Tensor:
        """Embeddings [B, E] of images [B, S, S]; in the phase where they rest, without learning."""
        image = stack.unsqueeze(1)
        if not phase.resting:
            return self.trained.embed_slices(image)
        slices = self.trained.slices
        mode = slices.training
        with torch.no_grad():
            embedded = self.trained.eval().embed_slices(image)
        self.trained.train(mode)
        return embedded

    def _intra(
        self,
        batch: MixedBatch,
        picks: Tensor,
        embedded: Embedded,
        phase: Phase,
        generator: Generator,
    ) -> Tensor:
        """Clusters of images and of picked slices, large crops and small ones."""
        pairs = zip(embedded.images, embedded.picked, strict=True)
        crops = [torch.cat(pair) for pair in pairs]
        local = self.settings.crops.local
        volumes = batch.volumes
        if local.count:
            raw = _chosen(volumes.slices, picks).flatten(0, 1)
            raw = torch.cat([batch.images.pixels, raw]).unsqueeze(1)
            small = [
                random_view(raw, self.settings.augment, local.side, generator, local.area)
                for _ in range(local.count)
            ]
            crops += list(self.trained.embed_slices(torch.cat(small)).chunk(local.count))
        sizes = [len(crop) for crop in crops]
        unit = torch.split(normalize(self.head(torch.cat(crops)).float(), dim=1), sizes)
        number = torch.cat([batch.images.number, volumes.slice_number.gather(1, picks).flatten()])
        repeated = volumes.source.repeat_interleave(picks.shape[1])
        source = torch.cat([batch.images.source, repeated])
        items = Items(number, source, phase.intra_step)
        return self._cluster("images", unit, items, generator)

    def _of_volumes(
        self, volumes: Volumes, embedded: list[Tensor], phase: Phase, generator: Generator
    ) -> dict[str, Tensor]:
        """Hidden slices and clusters of volumes, through the transformer at once."""
        chosen, losses = self.settings, {}
        valid = volumes.valid
        views = [
            reverse_some(view, valid, chosen.augment.flip_through, generator) for view in embedded
        ]
        given = []
        if phase.inter:
            given += views
        if phase.mask:
            masks = [draw_mask(valid, chosen.masking.share, generator) for _ in views]
            if chosen.masking.views == "shared":
                masks = masks[:1] * VIEWS
            pairs = zip(views, masks, strict=True)
            given += [hide(view, mask, self.mask_token) for view, mask in pairs]
        times = len(given)
        tokens = self.trained.tokens(
            torch.cat(given), valid.repeat(times, 1), volumes.spacing.repeat(times)
        ).chunk(times)
        if phase.mask:
            predicted = [self.decoder(part) for part in tokens[-VIEWS:]]
            losses["mask"] = mask_loss(predicted, views, masks, valid, chosen.masking)
        if phase.inter:
            whole = [holistic(part, valid) for part in tokens[:VIEWS]]
            items = Items(volumes.number, volumes.source, phase.inter_step)
            losses["inter"] = self._cluster("volumes", whole, items, generator)
        return losses

    def _cluster(
        self, level: str, crops: Sequence[Tensor], items: Items, generator: Generator
    ) -> Tensor:
        clusters = self.image_clusters if level == "images" else self.volume_clusters
        with torch.autocast(items.number.device.type, enabled=False):
            found: Found = clusters(crops, items, generator)
        self._steps[level] = Step(crops, items, found)
        return found.loss

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Prototypes to length 1; embeddings to the queue or the memory; look for collapse.

        Raises:
            MedsslError: all volumes have got the same answer for too many steps.
        """
        levels = {
            "images": (self.image_clusters, self.image_use),
            "volumes": (self.volume_clusters, self.volume_use),
        }
        for name, step in self._steps.items():
            clusters, use = levels[name]
            clusters.remember(step.crops, step.items)
            use.add(step.found.cluster, step.items.source)
        self._weigh_mask(phase_of(self.settings, progress))
        self._watch(progress)

    def _weigh_mask(self, phase: Phase) -> None:
        """Halve the share of hidden slices if they are easy and volumes do not cluster yet."""
        if not self.settings.weights.halve_mask or not {"mask", "inter"} <= set(self._losses):
            return
        fresh = torch.stack([self._losses["mask"], self._losses["inter"]]).float()
        self.means.lerp_(fresh, max(REMEMBERED, 1 / phase.inter_step))
        chance = log(self.settings.volumes.prototypes)
        idle = (self.means[0] < IDLE_MASK) & (self.means[1] > AT_CHANCE * chance)
        self.mask_share.copy_(torch.where(idle, 0.5, self.mask_share))

    def _watch(self, progress: Progress) -> None:
        """Count collapsed steps in a row."""
        limit, step = self.settings.collapse, self._steps.get("volumes")
        if step is None or len(step.items.number) < 2 or limit.patience is None:
            return
        low = feature_deviation(step.crops[0]) < limit.deviation
        uses = (self.image_use, self.volume_use)
        few = [use.full() & (use.used() < limit.used) for use in uses]
        self.collapsed.copy_(torch.where(low | few[0] | few[1], self.collapsed + 1, 0))
        if too_many(self.collapsed, limit.patience, progress.step):
            raise MedsslError(
                f"the embeddings have collapsed at step {progress.step}: for {limit.patience} "
                f"steps volumes differed by less than {limit.deviation:g} of what they could, or "
                f"less than {limit.used:.0%} of the prototypes were used",
                "almost all volumes or slices get the same answer, so nothing more can be learnt",
                "lower train.optimiser.learning_rate or the number of prototypes, give larger "
                "batches or a longer queue, or set method.collapse.patience",
            )

    def monitor(self) -> dict[str, float]:
        """For each level: share of used prototypes and agreement of clusters with data sets (NMI).

        Also the deviation of volume vectors (1: spread over the sphere, 0: all equal). None before
        the first step.
        """
        found = {}
        for name, use in (("images", self.image_use), ("volumes", self.volume_use)):
            if int(use.seen):
                found[f"{name}_used"] = float(use.used())
                found[f"{name}_source_nmi"] = use.agreement_with_source()
        if "volumes" in self._steps:
            crop = self._steps["volumes"].crops[0].detach()
            found["volumes_deviation"] = float(feature_deviation(crop))
            found["mask_share"] = float(self.mask_share)
        return found

    def networks(self) -> Iterable[nn.Module]:
        """The method as a whole: gradients of all its parts are clipped together."""
        yield self

    def encoder(self) -> MixedEncoder:
        """The network of slices together with the transformer of volumes."""
        return self.trained

    @torch.no_grad()
    def scores(self, batch: MixedBatch) -> MixedScores:
        """Cosines to the prototypes of images, and to those of volumes (of the first head)."""
        volumes = batch.volumes
        embedded = self.trained.embed_slices(batch.images.pixels.unsqueeze(1))
        images = normalize(self.head(embedded).float(), dim=1)
        whole = self.trained.represent(volumes.slices, volumes.valid, volumes.spacing)
        near = (clusters.prototypes[0] for clusters in (self.image_clusters, self.volume_clusters))
        by_image, by_volume = (normalize(weight, dim=1) for weight in near)
        return MixedScores(images @ by_image.T, whole @ by_volume.T)

    def predictor(self) -> MixedEncoder:
        """The encoder; its `represent` takes volumes, its `embed_slices` images."""
        return self.trained


def _chosen(stack: Tensor, picks: Tensor) -> Tensor:
    """The picked slices [B, m, ...] of volumes [B, N, ...]."""
    index = picks.view(*picks.shape, *[1] * (stack.ndim - 2))
    return stack.gather(1, index.expand(*picks.shape, *stack.shape[2:]))


def _clusters(
    settings: Settings, level: Level, width: int, counts: tuple[int, int], drift: bool = False
) -> Clusters:
    """Of a level with so many items of so many data sets."""
    items, sources = counts
    if settings.clustering == "swav":
        return SwavClusters(level, settings.swav, settings.temperature, width, sources)
    return DeepClusters(level, settings.deepcluster, settings.temperature, width, items, drift)


def _refuse_nothing_to_learn(settings: Settings, task: MixedTask) -> None:
    weights = settings.weights
    if not task.volumes and (weights.mask or weights.inter):
        raise UsageError(
            "joint2d3d has no volumes to learn from",
            f"{', '.join(task.sources)} hold images alone",
            "add a data set of volumes, or set method.weights.mask=0 method.weights.inter=0",
        )
    if weights.intra and not task.images and not (task.volumes and settings.slices):
        raise UsageError(
            "joint2d3d has no images or slices to cluster",
            "there are no native images, and method.slices is 0",
            "set method.slices, or method.weights.intra=0 method.warm_up=0",
        )
