"""The contract every learning algorithm fulfils; the training loop knows nothing else of it.

Legend: B items, V views, C channels, X Y Z voxels, K classes, N instances, E features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from medssl.data.bags.bag import BagBatch
from medssl.data.batch import Batch, Stream, TrainBatch
from medssl.data.patches import PatchSampler
from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.regions import Region
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.build import build_network
from medssl.networks.choice import NetworkChoice
from medssl.networks.ensemble import Ensemble
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.on_host import OnHost
from medssl.networks.outputs import Outputs
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
        classes: names of the classes of masks, background first.
        patch: training patch in voxels.
        encoder: what the encoder of every network starts from; None: from its seed.
        labelled: the cases whose labels are learnt; empty where no training is meant.
        loss: what labels cost, in place of the method's own loss; None: that.
        regions: unions of classes that networks answer with in place of these; empty: classes.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    patch: tuple[int, int, int]
    network: NetworkChoice
    encoder: PretrainedEncoder | None = None
    labelled: tuple[LabelledCase, ...] = ()
    loss: LossChoice | None = None
    regions: tuple[Region, ...] = ()

    @property
    def outputs(self) -> Outputs:
        """What networks answer with."""
        return Outputs(self.classes, self.regions)

    def new_network(self, seed: int) -> nn.Module:
        """A network of the task, its weights from `encoder` and a seed.

        It maps images [B, C, X, Y, Z] to logits of `outputs`.
        """
        given = self.network, len(self.channels), self.outputs.count, seed, self.encoder
        return build_network(*given)


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

    Its predictor maps images [B, C, X, Y, Z] to logits [B, K, X, Y, Z], of the classes or regions
    of its task's `outputs`.
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
