"""The sections of a pipeline that segments volumes, and what one run of it does."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, TypeAdapter, model_validator

from medssl.data.plan.request import PlanSettings
from medssl.data.split_settings import SplitSettings
from medssl.encoder_source import PretrainChoice
from medssl.errors import UsageError
from medssl.evaluate.settings import EvaluateSettings
from medssl.families.segment.plannable import plannable, without_levels
from medssl.infer.cleaning import Cleaning
from medssl.methods.segment.loss_settings import LossChoice
from medssl.networks.encoder_fit import holding, holding_images, must_hold
from medssl.networks.monai_settings import AnyNetwork
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.config import Config
from medssl.section import check_stride
from medssl.settings import (
    MOST_WORKERS,
    VOLUME_FORMATS,
    MethodChoice,
    PipelineFile,
    PredictSettings,
    TrainSettings,
)
from medssl.train.description import weights_hash
from medssl.train.fine_tune_settings import FineTuneSettings
from medssl.transforms.augment_words import MIRRORING
from medssl.transforms.chain import AUGMENT, PREPROCESS, Augment, Preprocess


class SegmentPipeline(PipelineFile):
    """One pipeline file that segments volumes, complete."""

    data: str = Field(description="name or path of the data spec")
    plan: PlanSettings | None = Field(
        default=None,
        description="auto: sizes of voxels, patches, batches, network and training that are not "
        "given are planned from the training scans before the first run, see `medssl plan`",
    )
    split: SplitSettings = SplitSettings()
    preprocess: Preprocess = Field(default=Preprocess.of("mr"), description=PREPROCESS)
    network: AnyNetwork = NetworkSettings()
    method: MethodChoice = MethodChoice(name="supervised")
    loss: LossChoice | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="what labels cost; null: what the method says, usually half cross-entropy, "
        "half Dice",
    )
    pretrain: PretrainChoice | None = None
    augment: Augment = Field(default=Augment.of("standard"), description=AUGMENT)
    train: TrainSettings = TrainSettings()
    fine_tune: FineTuneSettings = FineTuneSettings()
    predict: PredictSettings = PredictSettings()
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="before")
    @classmethod
    def _waits_for_levels(cls, given: Any) -> Any:
        waits = isinstance(given, Mapping) and given.get("plan") is not None
        return without_levels(given) if waits else given

    @model_validator(mode="after")
    def _mirrors_what_it_learned(self) -> Self:
        waits = self.plan is not None and "augment" not in self.model_fields_set
        if not waits and self.predict.flips and not self.mirrored:
            raise ValueError(
                "predict.flips=true asks about mirrored copies, and augment shows the network "
                f"none; set {MIRRORING}, or leave predict.flips out"
            )
        return self

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Axes of the network grid along which training sees mirrored copies."""
        patch = self.train.patch
        return tuple(axis for axis in self.augment.mirrored if patch[axis] > 1)

    @property
    def split_used(self) -> SplitSettings:
        """The split, where nothing is kept for a validation that chooses nothing."""
        if self.split.validation is not None:
            return self.split
        share = 0.25 if self.predict.checkpoint == "best" else 0.0
        return self.split.model_copy(update={"validation": share})

    @model_validator(mode="after")
    def _sized(self) -> Self:
        return self.model_copy(update={"network": self.network.sized(self.train.patch)})


def _without_effect(train: TrainSettings) -> set[str]:
    """Keys of foreground that a training does not look at."""
    off = set[str]()
    if not train.foreground_unlabelled:
        off |= {"foreground_unlabelled", "foreground_refresh"}
    if not train.foreground:
        off |= {"foreground", *([] if train.foreground_unlabelled else ["foreground_by"])}
    return off


class SegmentConfig(Config[SegmentPipeline]):
    """What one run of segmentation does, complete and checked.

    In `hash`, the section "pretrain" is the encoder that training starts from, and how it is
    fine-tuned; UsageError or DataError where its checkpoint cannot be read.
    """

    file = SegmentPipeline
    about = "segment volumes"
    reads = frozenset({"volumes"})
    without_effect: ClassVar = {
        **Config.without_effect,
        "network": {"checkpointing"},
        "predict": {
            "window_batch",
            "format",
            "unlabelled",
            "series",
            "guard",
            "report",
            "resample_channels",  # what lies on one grid is the same, and other cases are refused
        },
    }

    @property
    def is_planned(self) -> bool:
        """Whether no key waits for a plan."""
        waits = self.pipeline.plan is not None and not self.settled
        return not (waits and plannable(self.given, self.spec.modality))

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "tracoco, 8 labels, seed 0"."""
        pipeline = self.pipeline
        labels = pipeline.split.labels or "all"
        return f"{pipeline.method.name}, {labels} labels, seed {pipeline.seed}"

    def declared(self) -> Any:
        """Images and labels."""
        spec = self.spec
        regions = [spec.regions, spec.regions_class_order] if spec.regions else None
        further = [one for one in (spec.label_colours, spec.ignore, spec.outlined, regions) if one]
        return [spec.modality, spec.channels, spec.classes, spec.label_values, *further]

    def resolved(self) -> dict[str, Any]:
        """Everything as plain values; without `plan` where nothing is planned."""
        plain = super().resolved()
        return plain if plain["plan"] else {k: v for k, v in plain.items() if k != "plan"}

    def check(self) -> None:
        """Refuse patches that the network cannot take, strides that leave gaps, unknown classes.

        Also forms of masks that are for other programs alone.
        """
        self.pipeline.preprocess.fingerprint()  # refuses what cannot be cached
        self.pipeline.network.must_take(self.pipeline.train.patch)
        if self.pipeline.loss is not None:
            of = tuple(self.spec.regions) or self.spec.classes
            partial, regions = self.spec.ignore is not None, bool(self.spec.regions)
            self.pipeline.loss.must_fit(of, partial, regions)
        check_stride(self.pipeline.predict.stride, self.pipeline.train.patch)
        self._must_look_in_time()
        Cleaning.of(self.pipeline.predict, self.spec.classes)
        written = self.pipeline.predict.format
        if written is not None and written not in VOLUME_FORMATS:
            raise UsageError(
                f"predict.format={written} cannot be the form of a run's masks",
                "they are read again, to be scored and shown",
                f"choose one of {', '.join(VOLUME_FORMATS)}, or give --format to `medssl predict`",
            )

    def _must_look_in_time(self) -> None:
        """Refuse a search for foreground in unlabelled cases that comes too late."""
        train = self.pipeline.train
        if not train.foreground_unlabelled or not self.is_planned:
            return
        if train.foreground_refresh >= train.steps:
            raise UsageError(
                f"train.foreground_refresh={train.foreground_refresh} is never reached",
                f"training has {train.steps} steps, so train.foreground_unlabelled has no effect",
                f"set train.foreground_refresh={max(20, train.steps // 5)}, or more train.steps",
            )
        if (train.workers or 0) > MOST_WORKERS:
            raise UsageError(
                f"train.workers={train.workers} draws more batches ahead than "
                "train.foreground_unlabelled allows",
                do=f"set it to at most {MOST_WORKERS}",
            )

    def try_network(self) -> None:
        """Whether the network of another package maps the run's patches to logits of their size.

        Networks of medssl are known; nothing is read from the data.

        Raises:
            UsageError: it does not, or cannot be built; names the nearest patch that would do.
        """
        network, train = self.pipeline.network, self.pipeline.train
        if network.packages:
            from medssl.networks.trial import must_answer

            spec = self.spec
            channels, classes = len(spec.channels), len(spec.regions) or len(spec.classes)
            must_answer(network, channels, classes, train.patch, train.batch_labelled)

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse an encoder of another network."""
        must_hold(self.pipeline.network, trained, what)

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """The network with the encoder that `pretrain` names."""
        if "encoder" in trained:
            return {"network": holding_images(given.get("network"), trained["encoder"])}
        network = TypeAdapter(AnyNetwork).validate_python(trained["network"])
        return {"network": holding(given.get("network"), network)}

    def section(self, name: str) -> Any:
        """As of every family; the encoder to start from counts by its weights.

        Without foreground that patches are centred on, runs have the hash of before there was any.
        """
        if name == "train":
            plain: dict[str, Any] = super().section(name)
            off = _without_effect(self.pipeline.train)
            return {key: plain[key] for key in plain if key not in off}
        if name != "pretrain":
            return super().section(name)
        choice = self.pipeline.pretrain
        if choice is None:
            return None
        used = [choice.matched, choice.channels, self.pipeline.fine_tune.model_dump(mode="json")]
        return [weights_hash(choice.folder), *used]
