"""The sections of a pipeline of radiographs, and what one run of it does."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.classes import declared_classes
from medssl.data.radiograph.settings import GradeSplitSettings
from medssl.encoder_source import EncoderSource
from medssl.errors import UsageError
from medssl.evaluate.settings import ClassMetrics, MeasuredSection, must_fit_classes
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.monai_grader_settings import AnyGrader, MonaiGraderSettings
from medssl.networks.tile_settings import AnyEncoder, must_be_tile_encoder
from medssl.pipeline.config import Config
from medssl.section import Batch, Count, Items, Section
from medssl.settings import LoopSettings, MethodChoice, OptimiserSettings, PipelineFile
from medssl.transforms.chain import PREPROCESS
from medssl.transforms.radiograph_chain import (
    AUGMENT_CROPS,
    GAMMA,
    MIX,
    TURN,
    Picture,
    RadiographAugment,
    RadiographPreprocess,
)


class GradeTrainSettings(LoopSettings):
    """The loop over batches of radiographs; the optimiser is Semixup's."""

    batch_labelled: Batch = Field(default=20, ge=1, description="images")
    batch_unlabelled: Batch = Field(default=20, ge=1, description="images")
    watched: Items = Field(
        default=200, ge=0, description="unlabelled images on which collapse is watched"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adam", learning_rate=1e-4, weight_decay=0.0, schedule="constant"
    )


class GradePredictSettings(Section):
    """Which weights grade, and how many images at once."""

    checkpoint: Literal["last", "best"] = Field(
        default="best",
        description="best: by the mean of quadratic kappa and balanced accuracy on validation",
    )
    batch: Batch = Field(default=64, ge=1, description="images")


class GradeEvaluateSettings(MeasuredSection):
    """Scores of the test images."""

    disease_from: Count = Field(
        default=2, ge=1, description="index of the least grade with the disease; knees: KL 2"
    )
    bootstrap: Items = Field(
        default=1000, ge=100, description="draws of images for the 95 % intervals"
    )
    overlays: Count = Field(
        default=3,
        ge=0,
        description="wrong calls drawn, farthest off first; 0 draws none, not the surest right one "
        "of each grade either",
    )
    metrics: ClassMetrics = Field(
        default=(),
        description="measured beside those of medssl: of other packages, or `torchmetrics:NAME` of "
        "its metrics of classification, with arguments as `{torchmetrics:NAME: {argument: value}}`",
    )


class GradePipeline(PipelineFile):
    """One pipeline file of radiographs, complete."""

    earlier: ClassVar = frozenset({"crop"})

    data: str = Field(description="name or path of the data spec")
    split: GradeSplitSettings = GradeSplitSettings()
    preprocess: RadiographPreprocess = Field(
        default=RadiographPreprocess.of("joint"), description=PREPROCESS
    )
    network: AnyGrader = GraderSettings()
    pretrain: EncoderSource | None = None
    method: MethodChoice = MethodChoice(name="semixup")
    augment: RadiographAugment = Field(
        default=RadiographAugment.of("semixup"), description=AUGMENT_CROPS
    )
    train: GradeTrainSettings = GradeTrainSettings()
    predict: GradePredictSettings = GradePredictSettings()
    evaluate: GradeEvaluateSettings = GradeEvaluateSettings()

    @model_validator(mode="before")
    @classmethod
    def _crops_belong_to_words(cls, given: Any) -> Any:
        if isinstance(given, dict) and "crop" in given:
            raise ValueError(
                "the keys of `crop` belong to words of `preprocess` now; write "
                "`preprocess: {joint: {...}}`, or `{radiograph: {...}}` for mode: whole"
            )
        return given

    @model_validator(mode="after")
    def _sized(self) -> Self:
        network = self.network
        if not isinstance(network, MonaiGraderSettings) or network.monai.sides is None:
            return self
        side = picture_of(self.preprocess).side
        return self.model_copy(update={"network": network.sized(side)})


def picture_of(chain: RadiographPreprocess) -> Picture:
    """What the network sees of an image.

    Raises:
        UsageError: the chain makes no square crops.
    """
    if chain.picture is not None:
        return chain.picture
    from medssl.transforms.crops import picture_after  # imports MONAI

    return picture_after(chain)


_KEPT = ("head", "nearest", "dropout", "frozen")
"""Keys of a network that an encoder of images leaves as they are."""


class FileSettings(Section):
    """What `medssl predict --set` can say of files that do not say it themselves."""

    side: Literal["L", "R"] | None = Field(default=None, description="of the body, of all files")
    spacing: float | None = Field(default=None, gt=0, description="mm per pixel, of all files")


class GradeConfig(Config[GradePipeline]):
    """What one run on radiographs does, complete and checked."""

    file = GradePipeline
    about = "grade radiographs"
    reads = frozenset({"radiographs"})
    without_effect: ClassVar = {**Config.without_effect, "predict": {"batch"}}

    @property
    def grades(self) -> tuple[str, ...]:
        """Names of the grades, in order."""
        return declared_classes(self.spec)

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "semixup, 5 labels per grade, seed 0"."""
        pipeline = self.pipeline
        labels = pipeline.split.labels or "all"
        return f"{pipeline.method.name}, {labels} labels per grade, seed {pipeline.seed}"

    @property
    def picture(self) -> Picture:
        """What the network sees of an image.

        Raises:
            UsageError: `preprocess` makes no square crops.
        """
        return picture_of(self.pipeline.preprocess)

    def declared(self) -> Any:
        """The grades; who is who and what is where is hashed with the images themselves."""
        return list(self.grades)

    def check(self) -> None:
        """Refuse what the data spec does not offer for the settings."""
        pipeline, spec = self.pipeline, self.spec
        grades = declared_classes(spec)
        if pipeline.evaluate.disease_from >= len(grades):
            raise UsageError(
                f"evaluate.disease_from={pipeline.evaluate.disease_from} is no grade of "
                f"{spec.name}",
                f"its grades are {', '.join(grades)}, counted from 0",
                f"choose 1 to {len(grades) - 1}",
            )
        must_fit_classes(pipeline.evaluate.metrics, len(grades))
        pipeline.preprocess.fingerprint()  # refuses what cannot be cached
        spacing = (spec.layout.model_extra or {}).get("spacing")
        if spacing is None and (asking := pipeline.preprocess.in_mm):
            key, equals, _ = asking.partition("=")
            raise UsageError(
                f"{asking} asks for mm",
                f"the data spec {spec.name} declares no spacing",
                f"{f'set {key}=null' if equals else 'leave it out'}, or write `spacing: header` or "
                "mm per pixel under its layout",
            )
        network, side = pipeline.network, self.picture.side
        if side < network.smallest_side:
            word = pipeline.preprocess.word
            key = f"preprocess.{word}.side={side}" if word else f"preprocess: a side of {side} px"
            raise UsageError(
                f"{key} is too small for the network {network.name}",
                do=f"set it to at least {network.smallest_side}",
            )
        if any(step.name not in (MIX, TURN, GAMMA) for step in pipeline.augment.steps):
            from medssl.transforms.radiograph_views import must_keep_crops  # imports MONAI

            must_keep_crops(pipeline.augment, side)

    def try_network(self) -> None:
        """Whether a network of MONAI maps the run's crops to answers; nothing is read of the data.

        Raises:
            UsageError: it does not, or cannot be built.
        """
        network = self.pipeline.network
        if network.packages:
            from medssl.networks.grader import build_grader
            from medssl.networks.trial import must_pass

            fresh, picture = network.model_copy(update={"weights": None}), self.picture
            built = build_grader(fresh, len(picture.views), len(self.grades), seed=0)
            side = picture.side
            must_pass(
                built,
                (len(picture.views), side, side),
                f"network.name={network.name} cannot be trained on crops of {side} x {side} pixels",
                "change its arguments or the side under preprocess, or name another network",
            )

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder that `pretrain` names, where it is one of images."""
        if "encoder" not in trained:
            return {}
        own = given.get("network")
        kept = {key: own[key] for key in _KEPT if key in own} if isinstance(own, Mapping) else {}
        return {"network": {**kept, "name": "images", "image_encoder": trained["encoder"]}}

    def _must_be_of_images(self, trained: AnyEncoder, what: str) -> None:
        network = self.pipeline.network
        if isinstance(network, MonaiGraderSettings) or network.name != "images":
            raise UsageError(
                f"{what} does not fit the pipeline's network",
                f"it encodes images, and the pipeline has network.name={network.name}",
                "set network.name=images",
            )
        must_be_tile_encoder(network.image_encoder, trained, what, "network.image_encoder")

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse any but the encoder of a network of slices, or of images."""
        network = self.pipeline.network
        if isinstance(trained, AnyEncoder):
            self._must_be_of_images(trained, what)
            return
        if trained.name != "slice_unet":
            raise UsageError(
                f"{what} is of the network {trained.name}, which cannot grade images",
                do="pre-train with network.name=slice_unet, as `medssl pretrain joint2d3d` does",
            )
        slices = None
        if isinstance(network, GraderSettings) and network.name == "slices":
            slices = network.slice_encoder
        if slices != trained.slice_encoder:
            wanted = trained.slice_encoder.model_dump(exclude_defaults=True)
            keys = " ".join(f"network.slice_encoder.{key}={value}" for key, value in wanted.items())
            raise UsageError(
                f"{what} does not fit the pipeline's network",
                f"it is for network.name=slices {keys}".rstrip(),
                "set these",
            )
