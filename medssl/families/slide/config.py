"""The sections of a pipeline of slides or bags, and what one run of it does."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.data.classes import declared_classes
from medssl.data.layouts import layout_of
from medssl.data.slide.settings import TileSettings
from medssl.data.split_settings import FinalModel, FoldCount
from medssl.encoder_source import EncoderSource
from medssl.errors import UsageError
from medssl.evaluate.settings import ClassMetrics, MeasuredSection, must_fit_classes
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.tile_settings import TileEncoderSettings, must_be_tile_encoder
from medssl.pipeline.config import Config
from medssl.section import Batch, Count, Items, Passes, Section
from medssl.settings import (
    DeviceName,
    LoopSettings,
    MethodChoice,
    OptimiserSettings,
    PipelineFile,
    Precision,
)
from medssl.transforms.tile_chain import AS_SCANNED, PREPROCESS_TILES, TilePreprocess, check_tiles


class FoldSettings(Section):
    """Who trains, validates and tests; patients are never divided."""

    folds: FoldCount = Field(
        default=10,
        description="of a stratified cross-validation, where the data set declares no test cases; "
        "0 holds nothing out",
    )
    final: FinalModel = "ensemble"
    validation: float = Field(
        default=0.2, ge=0, le=0.5, description="share of a training's patients, of each fold anew"
    )


class SlideTrainSettings(Section):
    """The loop over bags."""

    epochs: Passes = Field(default=40, ge=1, description="passes over the training bags")
    batch_bags: Batch = Field(
        default=1,
        ge=1,
        description="bags per step, whose losses are averaged; several processes share them out",
    )
    watch_test: bool = Field(
        default=False,
        description="also keep what every epoch says of the test bags, for the published "
        "protocol that is too optimistic; nothing is chosen by it",
    )
    standardise: bool = Field(
        default=False, description="features to mean 0, deviation 1 of the training bags"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adam",
        learning_rate=2e-4,
        betas=(0.5, 0.9),
        weight_decay=5e-3,
        schedule="cosine",
        minimum=5e-6,
    )
    checkpoint_epochs: Passes = Field(
        default=1, ge=1, description="between saved states; more for bags that take no time"
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="largest norm of the gradient; null: any"
    )
    precision: Precision = Field(
        default="float32", description="of the passes through the head; the weights stay float32"
    )
    device: DeviceName = Field(default="auto", description="auto, cpu, cuda, cuda:1 ...")
    threads: Count | None = Field(
        default=None, ge=1, description="CPU threads of torch; null: torch's"
    )
    deterministic: bool = Field(
        default=True, description="false: faster kernels of a GPU, whose results vary by rounding"
    )

    def loop(self, bags: int) -> LoopSettings:
        """Settings of the loop over `bags` training bags; the rate changes once an epoch."""
        bags = -(-bags // self.batch_bags)
        steps = self.epochs * bags
        return LoopSettings(
            steps=steps,
            optimiser=self.optimiser,
            clip_norm=self.clip_norm,
            precision=self.precision,
            device=self.device,
            threads=self.threads,
            deterministic=self.deterministic,
            rate_every=bags,
            validate_every=bags,
            log_every=bags,
            checkpoint_every=self.checkpoint_epochs * bags,
        )


class SlidePredictSettings(Section):
    """What is drawn of slides that were not trained on."""

    heat_maps: bool = Field(default=True, description="GeoJSON and PNG per slide")
    batch: Batch = Field(default=64, ge=1, description="tiles per call of the encoder")


class SlideEvaluateSettings(MeasuredSection):
    """Scores of the test bags."""

    threshold: Literal["validation", "half"] = Field(
        default="validation", description="where a bag is called positive; two classes only"
    )
    bootstrap: Items = Field(
        default=2000, ge=100, description="draws of bags for the 95 % intervals"
    )
    top: Items = Field(
        default=200, ge=1, description="instances of a bag that count as selected, for keys_found"
    )
    pictures: Count = Field(default=3, ge=0, description="heat maps shown in the report")
    metrics: ClassMetrics = Field(
        default=(),
        description="measured beside those of medssl: of other packages, or `torchmetrics:NAME` of "
        "its metrics of classification, with arguments as `{torchmetrics:NAME: {argument: value}}`",
    )


class SlidePipeline(PipelineFile):
    """One pipeline file of slides, complete."""

    data: str = Field(description="name or path of the data spec")
    tiles: TileSettings = TileSettings()
    preprocess: TilePreprocess = Field(default=AS_SCANNED, description=PREPROCESS_TILES)
    encoder: AnyTileEncoder = TileEncoderSettings()
    pretrain: EncoderSource | None = Field(
        default=None, description="what pre-trains the encoder; in place of encoder.weights"
    )
    split: FoldSettings = FoldSettings()
    method: MethodChoice = MethodChoice(name="snuffy")
    train: SlideTrainSettings = SlideTrainSettings()
    predict: SlidePredictSettings = SlidePredictSettings()
    evaluate: SlideEvaluateSettings = SlideEvaluateSettings()


class SlideConfig(Config[SlidePipeline]):
    """What one run on slides does, complete and checked."""

    file = SlidePipeline
    about = "call slides or bags of features"
    reads = frozenset({"slides", "bags"})
    without_effect: ClassVar = {**Config.without_effect, "predict": {"batch"}}
    without_mark: ClassVar = {"train": {"batch_bags": 1}}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities, the negative class first."""
        return declared_classes(self.spec)

    @property
    def tiled(self) -> bool:
        """Whether the cases are slides, which have to be cut and encoded first."""
        return layout_of(self.spec).content == "slides"

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "snuffy, seed 0"."""
        return f"{self.pipeline.method.name}, seed {self.pipeline.seed}"

    def declared(self) -> Any:
        """The layout."""
        # The key that layouts once had keeps the keys of earlier runs.
        return [
            self.spec.modality,
            {**self.spec.layout.model_dump(mode="json"), "unlabelled": False},
        ]

    def check(self) -> None:
        """Refuse data sets without classes, and metrics that are not of so many."""
        if not self.classes:
            raise UsageError(
                f"the data set {self.spec.name} has no slides or bags with classes",
                f"its layout is '{self.spec.layout.kind}'",
                "declare them in its data spec, e.g. layout: {kind: slides, table: labels.csv, "
                "classes: [normal, tumour]}",
            )
        must_fit_classes(self.pipeline.evaluate.metrics, len(self.classes))
        if self.tiled:
            self.pipeline.preprocess.must_not_draw(
                "tiles are encoded once, and what an encoder says of them is kept"
            )
            check_tiles(self.pipeline.preprocess, self.pipeline.tiles)

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder that `pretrain` names."""
        return {"encoder": trained["encoder"]} if "encoder" in trained else {}

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse a pre-trained encoder of tiles that is another one than the pipeline's."""
        must_be_tile_encoder(self.pipeline.encoder, trained, what)
