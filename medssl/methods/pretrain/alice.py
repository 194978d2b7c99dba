"""Alice: masked reconstruction, and self-distillation between patients and within a volume.

Source: Jiang et al., ICCV 2023, and its released code, as the sheet of Alice reads them. The
windows Q and K of an item show the same anatomy in two patients; how they are mined is the stream's
part (`medssl.data.scan.matched_stream`).

Legend: B items, R = 2 B crops (all Q, then all K), E features, O outputs, Lq tokens, X Y Z voxels.
"""

from collections.abc import Iterable
from copy import deepcopy
from math import log
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from medssl.data.batch import Stream
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.matched_stream import affine_of
from medssl.data.scan.settings import AffineSettings
from medssl.errors import MedsslError
from medssl.methods.ema import follow_statistics, update_ema
from medssl.methods.encoder_method import PretrainMethod, PretrainTask, Reconstruction
from medssl.methods.method import Progress
from medssl.methods.pretrain.collapse import Alarm, effective_rank, feature_deviation, spread
from medssl.methods.pretrain.contrast import KeyQueue
from medssl.methods.pretrain.crop_masking import draw_mask, reconstruction_loss
from medssl.methods.pretrain.dino import teacher_momentum
from medssl.methods.pretrain.distillation import (
    balanced,
    between_volumes,
    contrast,
    cross_entropy,
    sharpened,
)
from medssl.methods.ramps import linear_ramp
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.alice import Collapse, Settings, TeacherTemperature
from medssl.networks.alice import AliceNetwork, Answers
from medssl.networks.build import build_encoder
from medssl.networks.casa import Casa, build_casa
from medssl.networks.dino_head import Prototypes
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.pooled import Pooled


def temperature(settings: TeacherTemperature, progress: Progress) -> float:
    """Linear from the first to the last in the warm-up's share of training."""
    done = (progress.step - 1) / progress.steps
    share = 1.0 if done >= settings.warmup else done / settings.warmup
    return settings.first + share * (settings.last - settings.first)


class _Step(NamedTuple):
    """What `forward` leaves to `after_step`.

    Attributes:
        pooled: [R, E], the student's pooled features of crops.
        own: [R, b], the output of the student's head for `pooled`, of unit length.
        unit, scores: [R, b] and [R, O], the same output and the prototype scores of the teacher.
        patient: [R] number of each crop's patient.
        anatomy: [R, f], what the embedding says of each; None where it is not asked.
        target: [R, O], the teacher's probabilities of crops; None in contrast.
        aligned: [R, Lq, O], output of the target branch; None without the term within a volume.
        within: [R, Lq, O], the probabilities that follow from `aligned`.
        losses: unweighted values of the terms.
        factor: of the ramp at this step, in [0, 1].
    """

    pooled: Tensor
    own: Tensor
    unit: Tensor
    scores: Tensor
    patient: Tensor
    anatomy: Tensor | None
    target: Tensor | None
    aligned: Tensor | None
    within: Tensor | None
    losses: dict[str, Tensor]
    factor: float


class Alice(PretrainMethod):
    """Student, teacher and alignment module; what an ablation leaves out is not built.

    The student sees masked crops, the teacher whole ones.
    """

    streams: tuple[Stream, ...] = ("pairs",)
    crop_centre: Tensor
    patch_centre: Tensor

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__()
        self.settings, self.task = settings, task
        head, within = settings.head, settings.within
        encoder = build_encoder(task.network, 1, 1000 * seed, task.start)
        sizes = (head.hidden, head.bottleneck, head.outputs)
        self.student = AliceNetwork(encoder, *sizes, 1000 * seed + 1, head.project_crops)
        self.teacher = deepcopy(self.student).requires_grad_(False).eval()
        self.distils = settings.between.weight > 0 or within.weight > 0
        self.casa: Casa | None = None
        self.target_casa: Casa | None = None
        self.zeta: Prototypes | None = None
        self.target_zeta: Prototypes | None = None
        if within.weight > 0 and within.align:
            args = (head.outputs, within.heads, within.hidden, within.dropout)
            self.casa = build_casa(*args, 1000 * seed + 2)
            self.target_casa = self.casa.averaged() if within.average else None
        if within.weight > 0 and within.align and within.prototypes:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1000 * seed + 3)
                self.zeta = Prototypes(head.outputs, head.outputs, fixed_gain=True)
            self.target_zeta = deepcopy(self.zeta).requires_grad_(False) if within.average else None
        self._freeze_what_has_no_use()
        self.mask_value = nn.Parameter(
            torch.zeros(()), requires_grad=settings.masking.fill == "learned"
        )
        self.register_buffer("crop_centre", torch.zeros(head.outputs))
        self.register_buffer("patch_centre", torch.zeros(head.outputs))
        contrasts = settings.between.kind != "distillation"
        rows = settings.between.queue if contrasts else 0
        self.queue = KeyQueue(rows, head.bottleneck)
        # What the embedding says of the places of `queue`.
        self.anatomies = KeyQueue(rows if task.anatomy else 0, task.anatomy)
        self.uniform, self.easy, self.narrow = _alarms(settings.collapse)
        self._step: _Step | None = None
        self._barred: Tensor | None = None

    def _freeze_what_has_no_use(self) -> None:
        """Weights that no term of these settings reaches take no gradient."""
        between, within = self.settings.between, self.settings.within
        head = self.student.head
        if not self.distils:
            head.requires_grad_(False)
        if between.weight == 0 or between.kind != "distillation":
            head.crops.requires_grad_(False)
        if within.weight == 0:
            head.patches.requires_grad_(False)
            head.project.requires_grad_(head.project_crops and self.distils)
        if within.weight == 0 or not within.align:
            head.project_upper.requires_grad_(False)
        if self.settings.reconstruction.weight == 0:
            self.student.decoder.requires_grad_(False)
            if self.casa is not None:
                self.student.decoder.ups[-1].requires_grad_(True)
                self.student.decoder.blocks[-1].requires_grad_(True)

    def train(self, mode: bool = True) -> Self:
        """Training mode of the student and of its alignment module alone."""
        super().train(mode)
        self.teacher.eval()
        if self.target_casa is not None:
            self.target_casa.eval()
        return self

    def affine(self) -> AffineSettings:
        """The small one that the settings ask for."""
        return affine_of(self.settings.views)

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The three weighted terms, those whose weight is 0 left out."""
        settings = self.settings
        crops = batches["pairs"].windows().transpose(0, 1).flatten(0, 1)
        mask = draw_mask(crops, settings.masking, generator)
        student = self._student(torch.where(mask, self.mask_value.to(crops.dtype), crops), progress)
        terms = {}
        if student.values is not None:
            where = settings.reconstruction.where
            loss = reconstruction_loss(crops, student.values, mask, where)
            terms["reconstruction"] = settings.reconstruction.weight * loss
        if not self.distils:
            return terms
        with torch.no_grad():
            teacher = self.teacher(crops, context=self._asks_teacher_decoder(), values=False)
        return terms | self._distil(student, teacher, batches["pairs"], progress)

    def _student(self, masked: Tensor, progress: Progress) -> Answers:
        answers: Answers = self.student(
            masked,
            context=self.casa is not None,
            values=self.settings.reconstruction.weight > 0,
            frozen=progress.step <= self.settings.head.freeze_steps,
        )
        return answers

    def _asks_teacher_decoder(self) -> bool:
        return self.casa is not None and self.settings.within.target_context == "decoder"

    def _distil(
        self, student: Answers, teacher: Answers, pairs: ScanBatch, progress: Progress
    ) -> dict[str, Tensor]:
        between, within = self.settings.between, self.settings.within
        factor = linear_ramp(progress, self.settings.ramp.length, self.settings.ramp.start)
        losses: dict[str, Tensor] = {}
        target = aligned = probabilities = None
        if between.weight > 0 and between.kind == "distillation":
            target = self._between_target(teacher, progress)
            scores = at_least_float32(student.scores)
            losses["between"] = between_volumes(target, scores, between.student_temperature)
        elif between.weight > 0:
            losses["between"] = self._contrast(student, teacher, pairs)
        if within.weight > 0:
            own, aligned = self._align(student, teacher)
            probabilities = self._within_target(aligned, progress)
            losses["within"] = cross_entropy(probabilities, own, within.student_temperature)
        self._step = _Step(
            at_least_float32(student.pooled.detach()),
            at_least_float32(student.unit.detach()),
            at_least_float32(teacher.unit),
            at_least_float32(teacher.scores),
            pairs.patient.repeat(2),
            _stacked(pairs.anatomy),
            target,
            aligned,
            probabilities,
            {name: loss.detach() for name, loss in losses.items()},
            factor,
        )
        weights = {"between": between.weight, "within": within.weight}
        return {name: factor * weights[name] * loss for name, loss in losses.items()}

    @torch.no_grad()
    def _between_target(self, teacher: Answers, progress: Progress) -> Tensor:
        chosen = self.settings.between
        scores, sharp = at_least_float32(teacher.scores), chosen.teacher_temperature
        if chosen.balance == "sinkhorn":
            return balanced(scores, temperature(sharp, progress))
        return sharpened(scores, self.crop_centre, temperature(sharp, progress))

    @torch.no_grad()
    def _within_target(self, aligned: Tensor, progress: Progress) -> Tensor:
        chosen = self.settings.within
        if chosen.balance == "sinkhorn":
            return balanced(aligned, temperature(chosen.teacher_temperature, progress))
        now = temperature(chosen.teacher_temperature, progress)
        return sharpened(aligned, self.patch_centre, now)

    def _contrast(self, student: Answers, teacher: Answers, pairs: ScanBatch) -> Tensor:
        """With the negatives barred that show the same anatomy, where the batch tells."""
        chosen = self.settings.between
        own, near = _stacked(pairs.anatomy), _stacked(pairs.near)
        alike, filled = None, self.queue.patients > 0
        if own is not None and near is not None:
            alike = own @ own.T >= near[:, None]
            others = torch.eye(len(own), device=own.device, dtype=torch.bool).logical_not()
            self._barred = alike[others].double().mean()
            filled = filled & (own @ self.anatomies.keys.T < near[:, None])
        return contrast(
            at_least_float32(student.unit),
            at_least_float32(teacher.unit),
            self.queue.keys.clone(),
            filled,
            (chosen.student_temperature, chosen.kind == "dcl"),
            alike,
        )

    def _align(self, student: Answers, teacher: Answers) -> tuple[Tensor, Tensor]:
        """S and T [R, Lq, O]: the student's tokens, and the detached target of the same places."""
        if self.casa is None or student.context is None:
            return at_least_float32(student.tokens), at_least_float32(teacher.tokens)
        own = _answer(self.casa(student.tokens, student.context), self.zeta)
        with torch.no_grad():
            asked = teacher.tokens if teacher.context is None else teacher.context
            by_teacher = self.settings.within.target_query == "teacher"
            asking = teacher.tokens if by_teacher else student.tokens
            # The student's own module has its dropout on here too, as in the released code.
            casa = self.casa if self.target_casa is None else self.target_casa
            zeta = self.zeta if self.target_zeta is None else self.target_zeta
            target = _answer(casa(asking, asked), zeta)
        return at_least_float32(own), at_least_float32(target)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Move teacher, centres and queue.

        Raises:
            MedsslError: one of the signs of collapse has lasted too long.
        """
        if self._step is None:
            return
        momentum = teacher_momentum(self.settings.teacher.momentum, progress)
        for teacher, student in self._averaged():
            update_ema(teacher, student, momentum)
            follow_statistics(teacher, student, momentum)
        rate = 1 - self.settings.teacher.centre_momentum
        self.crop_centre.lerp_(self._step.scores.mean(0), rate)
        if self._step.aligned is not None:
            self.patch_centre.lerp_(self._step.aligned.mean((0, 1)), rate)
        if len(self.queue.keys):
            self.queue.push(self._step.unit, self._step.patient)
            if self._step.anatomy is not None:
                self.anatomies.push(self._step.anatomy, self._step.patient)
        self._watch(self._step, progress)

    def _averaged(self) -> Iterable[tuple[nn.Module, nn.Module]]:
        """Each moving average with the module that it follows."""
        yield self.teacher, self.student
        if self.casa is not None and self.target_casa is not None:
            yield self.target_casa, self.casa
        if self.zeta is not None and self.target_zeta is not None:
            yield self.target_zeta, self.zeta

    def _watch(self, step: _Step, progress: Progress) -> None:
        """Look for signs of collapse once the terms have their full weight."""
        limit = self.settings.collapse
        if step.factor < 1:
            return
        between, within = step.losses.get("between"), step.losses.get("within")
        signs: dict[Alarm, Tensor] = {}
        if between is not None:
            # On the head's output, as features before it are never negative and so look alike.
            signs[self.narrow] = feature_deviation(step.own) < limit.deviation
        if between is not None and step.target is not None:
            distance = (between - log(self.settings.head.outputs)).abs()
            signs[self.uniform] = distance < limit.uniform
        if within is not None and progress.step <= limit.early * progress.steps:
            signs[self.easy] = within < limit.within
        for alarm, sign in signs.items():
            if alarm.rings(sign, progress.step):
                raise MedsslError(
                    f"the self-distillation has collapsed at step {progress.step}: "
                    f"for {alarm.patience} steps {alarm.what}",
                    "the teacher says the same of every crop, so nothing can be learnt from it",
                    "set method.between.kind=nt_xent or method.between.balance=sinkhorn, raise "
                    "method.ramp.start, or lower train.optimiser.learning_rate",
                )

    def monitor(self) -> dict[str, float]:
        """Signs of collapse in the last batch; none before the first.

        Entropies and information in nats; deviations are 1 for directions spread over the sphere
        and 0 where all are equal; centre_norm is the length of the crops' centre.
        """
        step = self._step
        if step is None:
            return {}
        found = {
            "feature_deviation": float(feature_deviation(step.pooled)),
            "feature_rank": float(effective_rank(step.pooled)),
            "head_deviation": float(feature_deviation(step.own)),
            "centre_norm": float(self.crop_centre.norm()),
            "ramp": step.factor,
        }
        if self._barred is not None:
            found["barred"] = float(self._barred)
        found |= {f"plain_{name}": float(loss) for name, loss in step.losses.items()}
        if step.target is not None:
            crops = spread(step.target)
            found["teacher_entropy"] = float(crops.entropy)
            found["teacher_information"] = float(crops.information)
        if step.within is not None and step.aligned is not None:
            tokens = spread(step.within.flatten(0, 1))
            found["patch_entropy"] = float(tokens.entropy)
            found["patch_information"] = float(tokens.information)
            found["patch_deviation"] = float(feature_deviation(step.aligned.flatten(0, 1)))
        return found

    def networks(self) -> Iterable[nn.Module]:
        """The student, its alignment module with prototypes, and the value of masked voxels."""
        yield self.student
        if self.casa is not None:
            yield self.casa
        if self.zeta is not None:
            yield self.zeta
        yield nn.ParameterList([self.mask_value])

    def encoder(self) -> VolumeEncoder:
        """The encoder of the student or of the teacher, as `method.hand_on` says."""
        return self._handed_on().encoder

    def decoder_too(self) -> nn.Module | None:
        """The decoder of the same network; none where it has not learnt to fill in."""
        return self._handed_on().decoder if self.settings.reconstruction.weight else None

    def _handed_on(self) -> AliceNetwork:
        return self.teacher if self.settings.hand_on == "teacher" else self.student

    def predictor(self) -> nn.Module:
        """Scans [B, 1, X, Y, Z] to the mean [B, E] of the deepest level."""
        return Pooled(self.encoder())

    @torch.no_grad()
    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """The teacher's head output [B, b] of unit length, by which crops are compared."""
        if not self.distils:
            return {}
        answers: Answers = self.teacher(image, context=False, values=False)
        return {"head": answers.unit}

    @torch.no_grad()
    def reconstruct(self, image: Tensor, generator: Generator) -> Reconstruction | None:
        """Masked scans as the student fills them in."""
        if self.settings.reconstruction.weight == 0:
            return None
        mask = draw_mask(image, self.settings.masking, generator)
        masked = torch.where(mask, self.mask_value.to(image.dtype), image)
        return Reconstruction(self.student.filled(masked), mask)


def _stacked(paired: Tensor | None) -> Tensor | None:
    """Values [B, 2, ...] of pairs as those of all Q, then of all K."""
    return None if paired is None else paired.transpose(0, 1).flatten(0, 1)


def _answer(aligned: Tensor, prototypes: Prototypes | None) -> Tensor:
    """The alignment module's output, as cosines with the prototypes where there are any."""
    if prototypes is None:
        return aligned
    scores: Tensor = prototypes(normalize(aligned, dim=-1), False)
    return scores


def _alarms(settings: Collapse) -> tuple[Alarm, Alarm, Alarm]:
    """Alarms: a constant teacher, too easy an alignment, features that are all alike."""
    return (
        Alarm("the term between volumes was ln(method.head.outputs)", settings.patience),
        Alarm(f"the term within a volume was below {settings.within}", settings.patience),
        Alarm(f"features of crops differed by less than {settings.deviation}", settings.patience),
    )
