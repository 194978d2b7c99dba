"""DINO: a student learns to answer from one crop of a tile as its average answers from another.

Source: Caron et al., ICCV 2021, and its released code. With an encoder that has adapters it is
Snuffy's continual pre-training: adapters and a new head learn, all else stays (sheet of Snuffy,
section 7).

Legend: B tiles, V crops of a tile, E features, K prototypes.
"""

from collections.abc import Iterable
from copy import deepcopy
from math import cos, pi
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Stream
from medssl.data.slide.tile_augment import View, draw_view
from medssl.data.slide.tile_batch import TileBatch
from medssl.errors import MedsslError
from medssl.methods.ema import update_ema
from medssl.methods.encoder_method import EncoderMethod
from medssl.methods.method import Progress
from medssl.methods.pretrain.collapse import (
    effective_rank,
    feature_deviation,
    spread,
    too_many,
)
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.dino import Settings, Teacher
from medssl.networks.dino_head import DinoHead
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.tile_encoder import TileEncoder, build_tile_encoder

GLOBAL = 2
"""Crops that the teacher sees."""


def dino_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over all pairs of a teacher's crop with another crop of the student.

    Args:
        student: [V, B, K], log-probabilities; crops 0 and 1 are those that the teacher saw.
        target: [2, B, K], the teacher's probabilities.
    """
    items = student.shape[1]
    with torch.autocast(student.device.type, enabled=False):
        pairs = -torch.einsum("tbk,vbk->tv", target, student) / items
    same = torch.eye(GLOBAL, len(student), device=student.device, dtype=torch.bool)
    return pairs.masked_fill(same, 0).sum() / (pairs.numel() - GLOBAL)


def teacher_momentum(start: float, progress: Progress) -> float:
    """Momentum of the average: `start` at the first step, along a cosine to 1."""
    return 1 - (1 - start) * 0.5 * (1 + cos(pi * (progress.step - 1) / progress.steps))


def teacher_temperature(settings: Teacher, step: int) -> float:
    """Linear from the warm-up temperature at step 1 to the final one after the warm-up."""
    if step > settings.warmup_steps:
        return settings.temperature
    done = (step - 1) / settings.warmup_steps
    return settings.warmup_temperature + done * (settings.temperature - settings.warmup_temperature)


class TileNetwork(nn.Module):
    """An encoder with its head."""

    def __init__(self, encoder: TileEncoder, head: DinoHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


class Answers(NamedTuple):
    """The teacher's answers to the two global crops of every tile.

    Attributes:
        features: [2 * B, E].
        scores: [2 * B, K], as the head gives them.
        target: [2 * B, K], probabilities, centred and sharpened.
    """

    features: Tensor
    scores: Tensor
    target: Tensor


class Dino(EncoderMethod[TileBatch]):
    """Student and teacher; what the encoder settings freeze stays frozen in both.

    Both begin with the same weights. The teacher is always in evaluation mode: it answers without
    dropout and stochastic depth.
    """

    streams: tuple[Stream, ...] = ("tiles",)
    centre: Tensor
    collapsed: Tensor

    def __init__(self, settings: Settings, encoder_settings: AnyTileEncoder, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.views = draw_plan(settings)
        encoder = build_tile_encoder(encoder_settings, 1000 * seed)
        self.student = TileNetwork(encoder, _build_head(settings, encoder.width, 1000 * seed + 1))
        self.teacher = deepcopy(self.student).requires_grad_(False).eval()
        encoder.set_drop_path(settings.drop_path)
        self.register_buffer("centre", torch.zeros(settings.head.outputs))
        self.register_buffer("collapsed", torch.zeros((), dtype=torch.int64))
        self._answers: Answers | None = None

    def train(self, mode: bool = True) -> Self:
        """Training mode of the student alone."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self,
        batches: dict[str, TileBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Cross-entropy between the teacher's and the student's answers."""
        image = batches["tiles"].image
        crops = self._draw(image, generator)
        large, small = torch.cat(crops[:GLOBAL]), crops[GLOBAL:]
        self._answers = answers = self._teach(large, progress)
        features = [self.student.encoder.embed(large)]
        if small:
            features.append(self.student.encoder.embed(torch.cat(small)))
        frozen = progress.step <= self.settings.head.freeze_steps
        scores = at_least_float32(self.student.head(torch.cat(features), frozen))
        logs = (scores / self.settings.student_temperature).log_softmax(1)
        student = logs.view(len(crops), len(image), -1)
        return {"dino": dino_loss(student, answers.target.view(GLOBAL, len(image), -1))}

    @torch.no_grad()
    def _draw(self, image: Tensor, generator: Generator) -> list[Tensor]:
        """Crops [B, 3, s, s] of tiles [B, 3, S, S] uint8, as planned; never in half precision."""
        with torch.autocast(image.device.type, enabled=False):
            plain = image.float() / 255
            return [draw_view(plain, view, generator) for view in self.views]

    @torch.no_grad()
    def _teach(self, large: Tensor, progress: Progress) -> Answers:
        features = at_least_float32(self.teacher.encoder.embed(large))
        scores = at_least_float32(self.teacher.head(features))
        temperature = teacher_temperature(self.settings.teacher, progress.step)
        return Answers(features, scores, ((scores - self.centre) / temperature).softmax(1))

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move the centre and the teacher.

        Raises:
            MedsslError: the teacher has given every tile the same answer for too many steps.
        """
        momentum = teacher_momentum(self.settings.teacher.momentum, progress)
        update_ema(self.teacher, self.student, momentum)
        if self._answers is not None:
            rate = 1 - self.settings.teacher.centre_momentum
            self.centre.lerp_(self._answers.scores.mean(0), rate)
            self._watch(self._answers.target, progress)

    def _watch(self, target: Tensor, progress: Progress) -> None:
        """Count collapsed steps in a row; a batch of one tile has nothing to compare."""
        if len(target) == GLOBAL:
            return
        limit = self.settings.collapse
        information = spread(target).information
        self.collapsed.copy_(torch.where(information < limit.information, self.collapsed + 1, 0))
        if too_many(self.collapsed, limit.patience, progress.step):
            raise MedsslError(
                f"the output has collapsed at step {progress.step}: for {limit.patience} steps "
                f"the teacher's answer has told less than {limit.information} nats of the tile",
                "every tile gets the same answer, so nothing more can be learnt",
                "lower train.optimiser.learning_rate or method.teacher.temperature, or give "
                "larger batches",
            )

    def monitor(self) -> dict[str, float]:
        """Signs of collapse in the last batch; none before the first.

        Entropy and information of the teacher's answers in nats, deviation (1: spread over the
        sphere, 0: all equal) and effective rank of its features.
        """
        if self._answers is None:
            return {}
        found = spread(self._answers.target)
        return {
            "teacher_entropy": float(found.entropy),
            "teacher_information": float(found.information),
            "feature_deviation": float(feature_deviation(self._answers.features)),
            "feature_rank": float(effective_rank(self._answers.features)),
        }

    def networks(self) -> Iterable[nn.Module]:
        """The student; the teacher has no gradient."""
        yield self.student

    def encoder(self) -> TileEncoder:
        """The teacher's encoder, which pre-training hands on."""
        return self.teacher.encoder

    def predictor(self) -> TileEncoder:
        """The teacher's encoder: tiles [B, 3, S, S] in [0, 1] to features [B, E]."""
        return self.teacher.encoder


def draw_plan(settings: Settings) -> list[View]:
    """Every crop of a tile: the two global ones, then the local ones."""
    colour, large, small = settings.colour, settings.global_crops, settings.local_crops
    strengths = (colour.brightness, colour.contrast, colour.saturation, colour.hue)

    def view(side: int, scale: tuple[float, float], blur: float, solarise: float) -> View:
        return View(
            side,
            scale,
            colour.flip,
            colour.jitter,
            strengths,
            colour.grey,
            blur,
            colour.sigma,
            solarise,
        )

    pairs = zip(large.blur, large.solarise, strict=True)
    plan = [view(large.side, large.scale, blur, solarise) for blur, solarise in pairs]
    return plan + [view(small.side, small.scale, small.blur, 0.0)] * small.count


def _build_head(settings: Settings, width: int, seed: int) -> DinoHead:
    chosen = settings.head
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DinoHead(width, chosen.hidden, chosen.bottleneck, chosen.outputs, chosen.fixed_gain)
