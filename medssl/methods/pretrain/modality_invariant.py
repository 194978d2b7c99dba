"""Modality-invariant learning: contrasts of a session meet in one embedding, and are filled in.

MCL is the contrastive part, CL the same with one scan twice, MIM masked image modelling.

Source: Koutsouvelis et al., arXiv 2511.11311, and its released code UMBRA (its sheet, section 5).

Legend: B pairs, E features, X Y Z voxels, x y z cubes; a and b are the two scans of a pair, rows of
a stack are all a, then all b.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss, normalize

from medssl.data.batch import Stream
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.errors import MedsslError
from medssl.methods.ema import update_ema
from medssl.methods.encoder_method import PretrainMethod, PretrainTask, Reconstruction
from medssl.methods.method import Progress
from medssl.methods.pretrain.collapse import effective_rank, feature_deviation
from medssl.methods.pretrain.contrast import KeyQueue, contrastive_loss, of_others
from medssl.methods.pretrain.masked_image_modelling import (
    build_filler,
    masked_loss,
    share_of_mean,
)
from medssl.methods.pretrain.masking import draw_cells, enlarge
from medssl.methods.pretrain.modality_split import SplitHeads, covariance_penalty, dense_loss
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.modality_invariant import Projector, Ramp, Settings
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.pooled import Pooled, pool

LOOK_EVERY = 10
"""Steps between two looks for collapse: a singular value decomposition takes longer than a step
of a small network."""


def ramp(settings: Ramp, progress: Progress) -> float:
    """Value at a step: linear between the two shares of training."""
    share = progress.step / progress.steps
    if share <= settings.begin:
        return settings.start
    if share >= settings.stop:
        return settings.end
    done = (share - settings.begin) / (settings.stop - settings.begin)
    return settings.start + done * (settings.end - settings.start)


class Embedder(nn.Module):
    """An encoder and its projector."""

    def __init__(self, encoder: VolumeEncoder, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector

    def project(self, features: list[Tensor]) -> Tensor:
        """The coarsest features [B, C, x, y, z], pooled, on the unit sphere [B, E]."""
        return normalize(at_least_float32(self.projector(pool(features))), dim=1)


@dataclass(frozen=True)
class Seen:
    """What both embedders make of a stack of pairs [2B, ...].

    Attributes:
        features: of every level, with gradient.
        query: [2B, E], with gradient; key: [2B, E], from the momentum copy.
        key_features: as `features`, from the momentum copy.
    """

    features: list[Tensor]
    query: Tensor
    key: Tensor
    key_features: list[Tensor]


class ModalityInvariant(PretrainMethod):
    """Arms CL, MCL, MIM, CL + MIM and MCL + MIM; beyond the paper, the split of section 12."""

    collapsed: Tensor

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.streams: tuple[Stream, ...] = _streams(settings)
        self.filler = build_filler(task, settings.decoder_width, seed)
        encoder, width = self.filler.encoder, settings.projector.outputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 2)
            projector = build_projector(encoder.widths[-1], settings.projector)
            self.heads = (
                SplitHeads(settings.split, encoder.widths, len(task.contrasts))
                if settings.split.enabled
                else None
            )
        self.embedder = Embedder(encoder, projector)
        self.momentum = (
            deepcopy(self.embedder).requires_grad_(False) if settings.contrastive else None
        )
        for unused in _unused(self, settings):
            unused.requires_grad_(False)
        queued = settings.negatives.source == "queue" or (
            settings.negatives.source == "auto" and task.patients >= settings.negatives.few
        )
        self.queue = KeyQueue(settings.negatives.queue, width) if queued else None
        self.latest = KeyQueue(settings.collapse.keys, width)
        self.register_buffer("collapsed", torch.zeros((), dtype=torch.int64))
        self._share: Tensor | None = None

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """L = alpha L_mcl + L_mim of pairs + L_mim of single scans, as far as the arm has them."""
        terms: dict[str, Tensor] = {}
        if "pairs" in batches:
            pairs = batches["pairs"]
            clean = pairs.windows().transpose(0, 1).flatten(0, 1)
            changed = change_intensity(clean, self.settings.intensity, generator)
            if self.settings.fills_in:
                terms["masked_pairs"] = self._fill_pairs(clean, changed, generator)
            terms |= self._compare(pairs, clean, changed, progress, generator)
        if "scans" in batches:
            clean = batches["scans"].windows()[:, 0]
            changed = change_intensity(clean, self.settings.intensity, generator)
            cells = draw_cells(clean, self.settings.masking, generator)
            terms["masked_scans"] = masked_loss(self.filler(changed, cells), clean, cells)
            self._share = share_of_mean(terms["masked_scans"], clean, cells)
        return terms

    def _fill_pairs(self, clean: Tensor, changed: Tensor, generator: Generator) -> Tensor:
        """Half the error of all a and half that of all b; each scan has a mask of its own."""
        cells = draw_cells(clean, self.settings.masking, generator)
        filled = self.filler(changed, cells)
        halves = (stack.chunk(2) for stack in (filled, clean, cells))
        losses = [masked_loss(*half) for half in zip(*halves, strict=True)]
        loss = 0.5 * torch.stack(losses).sum()
        self._share = share_of_mean(loss, clean, cells)
        return loss

    def _compare(
        self,
        pairs: ScanBatch,
        clean: Tensor,
        changed: Tensor,
        progress: Progress,
        generator: Generator,
    ) -> dict[str, Tensor]:
        """The contrastive term and those of the split; keys are stored after they were used."""
        if self.momentum is None:
            return {}
        seen = self._see(changed, self.momentum, progress)
        owner = pairs.patient.repeat(2)
        alpha = ramp(self.settings.alpha, progress)
        terms = {"contrast": alpha * self._contrast(seen, pairs.patient, owner)}
        if self.heads is not None:
            terms |= self._split(seen, pairs, clean, alpha, generator)
        for queue in filter(None, (self.queue, self.latest)):
            queue.push(seen.key, owner)
        return terms

    def _see(self, changed: Tensor, momentum: Embedder, progress: Progress) -> Seen:
        """Both passes over unmasked scans; the momentum copy moves first."""
        with torch.no_grad():
            update_ema(momentum, self.embedder, ramp(self.settings.momentum, progress))
            key_features = momentum.encoder(changed)
            key = momentum.project(key_features)
        features = self.embedder.encoder(changed)
        return Seen(features, self.embedder.project(features), key, key_features)

    def _contrast(self, seen: Seen, patient: Tensor, owner: Tensor) -> Tensor:
        """1/2 [L(q_a, k_b) + L(q_b, k_a)], both against the same entries."""
        if self.queue is None:
            others, stored = seen.key, owner
        else:
            # Copies: the queue changes before the gradient is taken.
            others, stored = self.queue.keys.clone(), self.queue.patients
        allowed = of_others(patient, stored)
        key_a, key_b = seen.key.chunk(2)
        settings = self.settings
        losses = [
            contrastive_loss(
                query, key, others, allowed, settings.temperature, settings.negatives.phantoms
            )
            for query, key in zip(seen.query.chunk(2), (key_b, key_a), strict=True)
        ]
        return 0.5 * torch.stack(losses).sum()

    def _split(
        self,
        seen: Seen,
        pairs: ScanBatch,
        clean: Tensor,
        alpha: float,
        generator: Generator,
    ) -> dict[str, Tensor]:
        """The terms of section 12 whose weight is not 0."""
        heads, split = self.heads, self.settings.split
        if heads is None:
            return {}
        specific = at_least_float32(heads.specific(pool(seen.features)))
        contrast = pairs.contrast.T.flatten()
        terms: dict[str, Tensor] = {}
        if split.modality:
            terms["modality"] = split.modality * heads.told(specific, contrast)
        if split.covariance:
            terms["covariance"] = split.covariance * covariance_penalty(seen.query, specific)
        if split.reversal:
            terms["reversal"] = split.reversal * heads.hidden(seen.features, contrast)
        if split.dense:
            terms["dense"] = alpha * split.dense * self._dense(seen, pairs.patient, generator)
        if split.cross:
            other = [torch.cat(level.chunk(2)[::-1]) for level in seen.features]
            crossed = self.filler.decoder(heads.inject(other, specific))
            terms["cross"] = split.cross * mse_loss(at_least_float32(crossed), clean)
        return terms

    def _dense(self, seen: Seen, patient: Tensor, generator: Generator) -> Tensor:
        """Half the loss per location of a against b and half that of b against a."""
        query, key = (
            [[level.chunk(2)[half] for level in stack] for half in (0, 1)]
            for stack in (seen.features, seen.key_features)
        )
        settings = self.settings
        losses = [
            dense_loss(
                query[half], key[1 - half], patient, settings.split.locations,
                settings.temperature, generator,
            )
            for half in (0, 1)
        ]  # fmt: skip
        return 0.5 * torch.stack(losses).sum()

    def after_step(self, progress: Progress) -> None:
        """Look whether the latest keys still differ.

        The effective rank knows of directions alone, so that keys which differ by rounding errors
        have a high one; their deviation tells that they are alike.

        Raises:
            MedsslError: they have been alike for too many steps.
        """
        if progress.step % LOOK_EVERY or not self.latest.full:
            return
        limit = self.settings.collapse
        rank, deviation = effective_rank(self.latest.keys), feature_deviation(self.latest.keys)
        alike = (rank < limit.rank) | (deviation < limit.deviation)
        self.collapsed.copy_(torch.where(alike, self.collapsed + LOOK_EVERY, 0))
        if int(self.collapsed) >= limit.patience:
            raise MedsslError(
                f"the embedding has collapsed at step {progress.step}: for {limit.patience} steps "
                f"the effective rank of the last {limit.keys} keys has been below {limit.rank:g} "
                f"or their deviation below {limit.deviation:g}",
                "all scans look alike to the encoder, so nothing more can be learnt",
                "lower train.optimiser.learning_rate, give larger train.batch_pairs, or choose "
                "method.arm=mim",
            )

    def monitor(self) -> dict[str, float]:
        """Effective rank and deviation (1: spread over the sphere) of the latest keys.

        And the last masked error as a share of what the mean leaves, where the arm fills in.
        """
        found = {} if self._share is None else {"masked_error": float(self._share)}
        if self.latest.full:
            found["key_rank"] = float(effective_rank(self.latest.keys))
            found["key_deviation"] = float(feature_deviation(self.latest.keys))
        return found

    def pairs(self) -> PairSettings | None:
        """Two contrasts of a session, or one scan twice; none where only single scans are seen."""
        chosen = self.settings
        if not chosen.contrastive:
            return None
        kind = "same_scan" if chosen.arm.startswith("cl") else "modalities"
        return PairSettings.model_validate(
            {"kind": kind, "sampler": chosen.sampler, "contrasts_differ": chosen.contrasts_differ}
        )

    def affine(self) -> AffineSettings:
        """The range of the random affine of each scan, `method.affine`."""
        return self.settings.affine

    def encoder(self) -> VolumeEncoder:
        """The encoder that learns by gradient."""
        return self.filler.encoder

    def predictor(self) -> Pooled:
        """Scans to the pooled features, before any projector."""
        return Pooled(self.filler.encoder)

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """The projected embedding "z"; with the split "z_inv", which it is then, and "z_spec"."""
        if not self.settings.contrastive:
            return {}
        features = self.embedder.encoder(image)
        z = self.embedder.project(features)
        if self.heads is None:
            return {"z": z}
        return {"z_inv": z, "z_spec": at_least_float32(self.heads.specific(pool(features)))}

    def reconstruct(self, image: Tensor, generator: Generator) -> Reconstruction | None:
        """Scans as they are, masked and filled in; None in arms that do not learn it."""
        if not self.settings.fills_in:
            return None
        cells = draw_cells(image, self.settings.masking, generator)
        return Reconstruction(self.filler(image, cells), enlarge(cells, image.shape[2:]))


def build_projector(width: int, settings: Projector) -> nn.Module:
    """Linear, ReLU, linear: [B, width] to [B, outputs]."""
    return nn.Sequential(
        nn.Linear(width, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.outputs)
    )


def _streams(settings: Settings) -> tuple[Stream, ...]:
    if not settings.contrastive:
        return ("scans",)
    return ("pairs", "scans") if settings.fills_in else ("pairs",)


def _unused(method: ModalityInvariant, settings: Settings) -> Iterable[nn.Module | nn.Parameter]:
    """Modules that the chosen arm does not train."""
    if not settings.contrastive:
        yield method.embedder.projector
    if not settings.fills_in:
        yield method.filler.decoder
        yield method.filler.token
