"""MultiAugs: several hard views of an unlabelled patch, each to be answered like the easy one.

Source: Zhou et al., arXiv 2402.11566, and facts of its released code (sheet sections 2 and 5),
carried over from poses to segmentation: heatmaps are probabilities, joints are anchors. Of two
networks each draws hard views of its own.

Legend: B items, C channels, K classes or regions, X Y Z voxels.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Batch, Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.ema import follow_statistics, teacher_decay, update_ema
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.ramps import linear_ramp
from medssl.methods.segment.affine_view import draw_matrices, warped
from medssl.methods.segment.anchors import anchors
from medssl.methods.segment.cutmix import numpy_generator
from medssl.methods.segment.hard_views import Views, hard_view
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.losses import at_least_float32, supervised_loss
from medssl.methods.segment.partial import streams, teachable
from medssl.methods.settings.multi_augs import Settings
from medssl.networks.ensemble import Ensemble
from medssl.networks.heads import heads_of

WHOLE = 0.999
"""Share of a voxel that has to come from inside a patch for it to be taught."""


def half_squares(found: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Half of the squared differences, summed over channels; the mean over voxels that count.

    Args:
        found, target: probabilities [B, K, X, Y, Z].
        counts: [B, 1, X, Y, Z], 1 or 0.
    """
    squares = 0.5 * ((found - target) ** 2).sum(1, keepdim=True)
    return (squares * counts).sum() / counts.sum().clamp_min(1)


def soft_dice(found: Tensor, target: Tensor, counts: Tensor, smooth: float = 1e-5) -> Tensor:
    """1 - Dice of probabilities with squared denominators, pooled, the mean over channels."""
    dims = (0, 2, 3, 4)
    joint = (found * target * counts).sum(dims)
    total = ((found**2 + target**2) * counts).sum(dims)
    return 1 - ((2 * joint + smooth) / (total + smooth)).mean()


class MultiAugs(SegmentMethod):
    """One network and its moving average, or two networks that teach each other."""

    streams: tuple[Stream, ...] = ("labelled", "unlabelled")

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings, self.outputs = settings, task.outputs
        self.classes = len(task.classes)
        self.parts = 2 if settings.teacher == "dual" else 1
        self.members = nn.ModuleList(
            task.new_network(1000 * seed + index) for index in range(self.parts)
        )
        if settings.teacher == "ema":
            self.average = deepcopy(self.members[0]).requires_grad_(False)
        self.on_labels = OnLabels(partial(supervised_loss, dice="squares"), task)

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Labels, and the easy answer on every hard view."""
        chosen, (labelled, unlabelled) = self.settings, streams(batches)
        network, rows = self.members[part], len(labelled.ids)
        views = self._views(unlabelled, part, generator)
        images = [labelled.image[:, 0], *(view.image for view in views)]
        heads = heads_of(network, torch.cat(images))
        known = [head[:rows] for head in heads]
        answers = self.outputs.probabilities(at_least_float32(heads[0][rows:])).chunk(len(views))
        loss = half_squares if chosen.loss == "mse" else soft_dice
        each = [
            loss(found, view.target, view.counts)
            for found, view in zip(answers, views, strict=True)
        ]
        weight = chosen.weight * (linear_ramp(progress, chosen.rampup) if chosen.rampup else 1.0)
        if chosen.reduce == "mean":
            weight /= len(each)
        terms = {
            "supervised": self.on_labels(known, labelled, progress) / self.parts,
            "consistency": weight * torch.stack(each).sum(),
        }
        return terms if self.parts == 1 else {f"{k}_{part + 1}": v for k, v in terms.items()}

    @torch.no_grad()
    def _views(self, unlabelled: Batch, part: int, generator: Generator) -> list[Views]:
        """All hard views, turned alike, with what the easy one was answered with."""
        chosen, image = self.settings, unlabelled.image[:, 0]
        logits = self._easy(part, image)
        target = self.outputs.probabilities(logits)
        likeliest = self.outputs.as_classes(logits).softmax(1).max(1)
        counts = (teachable(unlabelled) & (likeliest.values >= chosen.gate))[:, None]
        easy = Views(image, target, counts.to(target.dtype))
        rng = numpy_generator(generator)
        places = [
            anchors(label, self.classes, chosen.boxes.boundary_points, rng)
            for label in likeliest.indices.cpu().numpy()
        ]
        matrices = draw_matrices(len(image), image.shape[4] == 1, chosen.affine, rng)
        found = []
        for path in chosen.paths:
            hard = hard_view(path, easy, places, chosen, generator)
            turned, said, taught = (warped(one, matrices) for one in hard.maps)
            found.append(Views(turned, said, (taught > WHOLE).to(said.dtype)))
        return found

    def _easy(self, part: int, image: Tensor) -> Tensor:
        """Logits of the easy view, of which no gradient is kept."""
        chosen = self.settings
        teacher = self.average if chosen.teacher == "ema" else self.members[part - self.parts + 1]
        before = teacher.training
        teacher.train(chosen.train_mode and before)
        logits = at_least_float32(teacher(image))
        teacher.train(before)
        return logits

    def after_step(self, progress: Progress) -> None:
        """The average follows its network, statistics included."""
        if self.settings.teacher == "ema":
            decay = teacher_decay(progress.step, self.settings.decay)
            update_ema(self.average, self.members[0], decay)
            follow_statistics(self.average, self.members[0], decay)

    def networks(self) -> Iterable[nn.Module]:
        """Those that learn."""
        return self.members

    def predictor(self) -> Ensemble:
        """Both of two networks; else who is chosen by `method.predictor`."""
        members = list(self.members)
        if self.settings.teacher == "ema":
            answering = {"student": members, "teacher": [self.average]}
            members = answering.get(self.settings.predictor, [*members, self.average])
        return Ensemble(members, self.outputs)
