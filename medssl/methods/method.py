"""The contract every learning algorithm fulfils; the training loop knows nothing else of it.

Legend: B items, V views, C channels, X Y Z voxels, K classes, N instances, E features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.data.batch import Batch, Stream, TrainBatch
from medssl.data.mixed.batch import MixedBatch
from medssl.data.patches import PatchSampler
from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.choice import NetworkChoice
from medssl.networks.ensemble import Ensemble
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.mixed_encoder import MixedEncoder
from medssl.networks.on_host import OnHost
from medssl.networks.transfer import PretrainedEncoder
from medssl.transforms.radiograph_chain import RadiographAugment


class LabelledCase(NamedTuple):
    """A case whose labels are learnt.

    Attributes:
        id: as in `Batch.ids`.
        patient: whose it is.
        classes: indices of those that its mask marks, background included.
    """

    id: str
    patient: str
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Task:
    """What the network maps from and to.

    Attributes:
        channels: names of the input channels, in order.
        classes: names of the output classes, background first.
        patch: training patch in voxels.
        encoder: what the encoder of every network starts from; None: from its seed.
        labelled: the cases whose labels are learnt; empty where no training is meant.
        loss: what labels cost, in place of the method's own loss; None: that.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    patch: tuple[int, int, int]
    network: NetworkChoice
    encoder: PretrainedEncoder | None = None
    labelled: tuple[LabelledCase, ...] = ()
    loss: LossChoice | None = None


AnyBatch = TypeVar("AnyBatch", bound=TrainBatch)


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` counts from 1 to `steps`."""

    step: int
    steps: int

    def within(self, rounds: int) -> tuple[int, "Progress"]:
        """Which of `rounds` of equal length a step is of, from 0, and where in it training stands.

        The last round is shorter where the steps cannot be shared out.
        """
        length = -(-self.steps // rounds)
        number, step = divmod(self.step - 1, length)
        return number, Progress(step + 1, min(length, self.steps - number * length))


class Method(OnHost, ABC, Generic[AnyBatch]):
    """A learning algorithm; `forward` is one training step.

    No device calls, optimisers, logging or paths inside.
    """

    streams: tuple[Stream, ...]

    parts: int = 1
    """Number of losses whose gradients do not meet; the loop runs them one by one, so that only
    one part's activations are held at a time."""

    rounds: int = 1
    """Number of trainings in a row that share the steps; in each the learning rate begins anew, and
    the optimiser has forgotten the one before."""

    @abstractmethod
    def forward(
        self,
        batches: dict[str, AnyBatch],
        progress: Progress,
        generator: torch.Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """Weighted, named loss terms of one part; the loop minimises their sum and logs each."""

    def after_step(self, progress: Progress) -> None:
        """Update what is not trained by gradient: teachers, queues, prototypes."""

    def monitor(self) -> dict[str, float]:
        """Numbers by which to see whether learning is healthy; logged, but no part of the loss."""
        return {}

    def networks(self) -> Iterable[nn.Module]:
        """The separately optimised networks; gradients are clipped per network."""
        yield self

    def rate_factors(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Trainable parameters in groups, each with its factor on the learning rate."""
        yield 1.0, [p for p in self.parameters() if p.requires_grad]

    @abstractmethod
    def predictor(self) -> nn.Module:
        """The module that predicts after training; the family says what it maps from and to."""


class SegmentMethod(Method[Batch]):
    """Learns from patches of volumes.

    Its predictor maps images [B, C, X, Y, Z] to logits [B, K, X, Y, Z].
    """

    @abstractmethod
    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """How patches are drawn from a volume for this method."""

    @abstractmethod
    def predictor(self) -> Ensemble:
        """The mean of one or more networks built from `task.network`.

        Checkpoints hold the weights of these networks and nothing else.
        """


@dataclass(frozen=True)
class BagTask:
    """What a slide classifier maps from and to.

    Attributes:
        width: features of an instance.
        classes: names, the negative class first.
        counts: training bags of each class, for methods that weigh classes.
    """

    width: int
    classes: tuple[str, ...]
    counts: tuple[int, ...]


class BagPrediction(NamedTuple):
    """What a slide classifier says of one bag.

    Attributes:
        probability: [K], of the bag's classes; sums to 1.
        instances: [N, K] of each instance, or None where the method gives none.
        attention: [N], sums to 1, or None where the method has none.
    """

    probability: Tensor
    instances: Tensor | None
    attention: Tensor | None


class BagMethod(Method[BagBatch]):
    """Learns from bags with one label each; one bag, in `batches["bags"]`, is a step.

    Built as `(settings, task: BagTask, seed)`. Its predictor maps features [N, E] to a
    `BagPrediction`.
    """

    streams: tuple[Stream, ...] = ("bags",)


@dataclass(frozen=True)
class PretrainTask:
    """What an encoder of volumes is pre-trained for.

    Attributes:
        network: its encoder is trained; the decoder of the same settings is not needed.
        patch: window in voxels.
        contrasts: names of the known contrasts, in the order of `ScanBatch.contrast`.
        patients: how many there are; a queue of negatives needs more than one.
        start: weights that the encoder starts from; None: from the seed.
    """

    network: NetworkChoice
    patch: tuple[int, int, int]
    contrasts: tuple[str, ...]
    patients: int
    start: PretrainedEncoder | None = None


class Reconstruction(NamedTuple):
    """Masked scans and what was filled in.

    Attributes:
        prediction: [B, 1, X, Y, Z].
        mask: [B, 1, X, Y, Z] bool, true where the encoder saw nothing.
    """

    prediction: Tensor
    mask: Tensor


class EncoderMethod(Method[AnyBatch]):
    """Learns an encoder for others to start from."""

    @abstractmethod
    def encoder(self) -> nn.Module:
        """What pre-training hands on."""

    def described(
        self, network: NetworkChoice, contrasts: tuple[str, ...], told: dict[str, Any]
    ) -> BaseModel:
        """What a checkpoint of `encoder()` says of itself.

        Args:
            network: of the pipeline.
            contrasts: names of the known contrasts.
            told: what every pre-trained network says, see `PretrainedCheckpoint`.
        """
        from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint

        return VolumeEncoderCheckpoint(network=network, contrasts=contrasts, **told)


class PretrainMethod(EncoderMethod[ScanBatch]):
    """Learns an encoder from single-channel scans without labels.

    Built as `(settings, task: PretrainTask, seed)`. `streams` are those that its settings ask for:
    "pairs" (two scans of a session), "scans" (single ones). Its predictor maps scans
    [B, 1, X, Y, Z] to features [B, E], by which probes compare scans.
    """

    @abstractmethod
    def encoder(self) -> nn.Module:
        """What pre-training hands on: the encoder of `build_encoder(task.network, 1, seed)`."""

    def pairs(self) -> PairSettings | None:
        """How the stream "pairs" is drawn; None where the method has no such stream."""
        return None

    @abstractmethod
    def affine(self) -> AffineSettings:
        """The affine that every scan draws for itself."""

    def parts_of(self, image: Tensor) -> dict[str, Tensor]:
        """Further features [B, E] of scans by name, for probes: of projectors, of halves."""
        return {}

    def reconstruct(self, image: Tensor, generator: torch.Generator) -> Reconstruction | None:
        """Masked scans [B, 1, X, Y, Z] as filled in; None where the method does not learn that."""
        return None


@dataclass(frozen=True)
class MixedTask:
    """What an encoder of images and volumes together is pre-trained from.

    Attributes:
        network: of name slice_unet; its encoder is trained.
        sources: names of the data sets, in the order of the batches' `source`.
        images: how many native images and loose slices there are.
        numbered: how many images and slices of volumes, which share one numbering.
        volumes: how many volumes.
        start: weights that the encoder starts from; None: from the seed.
    """

    network: NetworkChoice
    sources: tuple[str, ...]
    images: int
    numbered: int
    volumes: int
    start: PretrainedEncoder | None = None


class MixedScores(NamedTuple):
    """How near prototypes are to what they stand for, as cosines.

    Attributes:
        images: [B2, K] of images.
        volumes: [B3, K] of volumes.
    """

    images: Tensor
    volumes: Tensor


class MixedMethod(EncoderMethod[MixedBatch]):
    """Learns an encoder from images and volumes together, without labels, in batches "joint".

    Built as `(settings, task: MixedTask, seed)`. Its predictor is its encoder.
    """

    streams: tuple[Stream, ...] = ("joint",)

    @abstractmethod
    def encoder(self) -> MixedEncoder:
        """What pre-training hands on: the encoder of `build_encoder(task.network, 1, seed)`."""

    @abstractmethod
    def scores(self, batch: MixedBatch) -> MixedScores:
        """Cosines of a batch with the prototypes, without augmentation."""


@dataclass(frozen=True)
class GradeTask:
    """What a grader of radiographs maps from and to.

    Attributes:
        views: names of the crops of an image, e.g. lateral and medial; one for a whole image.
        grades: names, in order.
        side: of a crop, in pixels.
        network: which network, and how large.
        augment: the random changes of crops; methods draw as many views with it as they need.
    """

    views: tuple[str, ...]
    grades: tuple[str, ...]
    side: int
    network: GraderSettings
    augment: RadiographAugment


class GradeMethod(Method[RadiographBatch]):
    """Learns grades of radiographs from streams "labelled" and "unlabelled".

    Built as `(settings, task: GradeTask, seed)`. Its predictor maps images [B, V, S, S] float32 in
    [-1, 1] to logits [B, K], whose softmax are the probabilities of the grades.
    """

    unlabelled_pool: ClassVar[Literal["all", "unlabelled"]] = "all"
    """What "unlabelled" draws from: labelled images too, their labels ignored, or the rest alone
    (which falls back to the labelled ones where there is no rest)."""
