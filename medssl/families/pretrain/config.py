"""The sections of a pipeline that pre-trains, of volumes or of tiles, and what one run does."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from annotated_types import MinLen
from pydantic import Field, TypeAdapter, field_validator, model_validator

from medssl.data.layouts import layout_of
from medssl.data.mixed.settings import MixedSampling
from medssl.data.scan.contrasts import Contrasts
from medssl.data.slide.settings import TileSettings
from medssl.encoder_source import EncoderSource, PretrainChoice
from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.methods.settings import PretrainMethodSettings
from medssl.networks.encoder_fit import holding, must_hold
from medssl.networks.image_fpn_settings import NAME as IMAGE_FPN
from medssl.networks.monai_settings import AnyNetwork
from medssl.networks.monai_tile_settings import AnyTileEncoder, MonaiTileSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.tile_settings import (
    TileEncoderSettings,
    encoder_hash,
    must_be_tile_encoder,
)
from medssl.pipeline.config import Config
from medssl.pipeline.family import InitialEncoder
from medssl.section import (
    Batch,
    Count,
    Items,
    OneAlone,
    Patch,
    Section,
    Seed,
    Steps,
    check_patch,
    digest,
)
from medssl.settings import LoopSettings, MethodChoice, OptimiserSettings, PipelineFile
from medssl.train.description import weights_hash
from medssl.transforms.chain import PREPROCESS, Preprocess
from medssl.transforms.tile_chain import AS_SCANNED, PREPROCESS_TILES, TilePreprocess, check_tiles


class PretrainTrainSettings(LoopSettings):
    """The loop over windows of scans."""

    patch: Patch = Field(
        default=(32, 32, 32), description="voxels of the windows that the encoder learns from"
    )
    batch_pairs: Batch = Field(default=8, ge=2, description="pairs of scans per step")
    batch_scans: Batch = Field(default=8, ge=1, description="single scans per step")
    joint: MixedSampling = Field(
        default=MixedSampling(), description="joint2d3d: its batches, in place of the above"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adamw", learning_rate=1e-3, weight_decay=0.01, schedule="cosine", minimum=1e-5
    )
    clip_norm: float | None = Field(
        default=10.0, gt=0, description="largest norm of a gradient; null: any"
    )
    validate_every: Steps = Field(default=500, ge=1, description="steps between probes")


class ProbeSettings(Section):
    """What is asked of the encoder while it learns, on patients that it does not learn from."""

    patients: Items = Field(
        default=2, ge=0, description="of each data set, kept from training; 0 probes nothing"
    )
    windows: Items = Field(default=16, ge=1, description="places per session")
    seed: Seed = Field(default=0, ge=0, description="of the draw of patients, places and affines")
    neighbours: Items = Field(default=5, ge=1, description="of the k-nearest-neighbour probe")
    shots: Items = Field(default=5, ge=1, description="windows per class that it may compare with")
    pictures: Count = Field(default=4, ge=0, description="reconstructions drawn")


class PretrainPipeline(PipelineFile):
    """One pipeline file that pre-trains an encoder of volumes, complete."""

    data: Annotated[tuple[str, ...], MinLen(1), OneAlone()] = Field(
        description="data specs; one or several"
    )
    exclude: Annotated[tuple[str, ...], OneAlone()] = Field(
        default=(), description="segmentation pipelines whose test patients are kept out"
    )
    selected: str | None = Field(
        default=None,
        description="a file of `medssl select`: the scans that are learnt from; null: all",
    )
    preprocess: Preprocess = Field(
        default=Preprocess.of({"mr": {"crop_foreground": True}}), description=PREPROCESS
    )
    network: AnyNetwork = NetworkSettings()
    method: MethodChoice = MethodChoice(name="masked_image_modelling")
    pretrain: PretrainChoice | None = Field(
        default=None, description="an encoder to go on with, in place of a random start"
    )
    train: PretrainTrainSettings = PretrainTrainSettings()
    probe: ProbeSettings = ProbeSettings()

    @field_validator("network")
    @classmethod
    def _learns(cls, network: AnyNetwork) -> AnyNetwork:
        if network.frozen:
            raise ValueError("network.frozen leaves nothing to pre-train: leave it out")
        return network

    @model_validator(mode="after")
    def _sized(self) -> Self:
        return self.model_copy(update={"network": self.network.sized(self.train.patch)})


class TilePretrainSettings(LoopSettings):
    """The loop over tiles without labels."""

    steps: Steps = Field(default=1000, ge=1, description="training steps")
    batch: Batch = Field(default=16, ge=2, description="tiles")
    per_slide: Items = Field(
        default=50, ge=1, description="at most so many random tiles of a slide"
    )
    optimiser: OptimiserSettings = OptimiserSettings(
        name="adamw",
        learning_rate=5e-4 * 16 / 256,  # the paper's, by the size of the batch
        weight_decay=0.04,
        weight_decay_end=0.4,
        decay_vectors=False,
        schedule="cosine",
        minimum=1e-6,
    )
    clip_norm: float | None = Field(
        default=3.0, gt=0, description="largest norm of a gradient; null: any"
    )


class TilePretrainPipeline(PipelineFile):
    """One pipeline file that pre-trains an encoder of tiles, complete."""

    data: str = Field(description="name or path of a data spec of slides")
    tiles: TileSettings = TileSettings()
    preprocess: TilePreprocess = Field(default=AS_SCANNED, description=PREPROCESS_TILES)
    encoder: AnyTileEncoder = TileEncoderSettings()
    pretrain: EncoderSource | None = Field(
        default=None, description="an encoder to go on with; in place of encoder.weights"
    )
    method: MethodChoice = MethodChoice(name="dino")
    train: TilePretrainSettings = TilePretrainSettings()


class PretrainConfig(Config[PretrainPipeline]):
    """What one pre-training on volumes does, complete and checked.

    Attributes:
        slices: whether its network is one of slices.
    """

    file = PretrainPipeline
    about = "pre-train an encoder of volumes"
    kind = "volumes"
    slices: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset({"volumes"})

    method: PretrainMethodSettings

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the known contrasts over all data sets, in order of appearance."""
        return Contrasts(self.specs).names

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "modality_invariant on ms_lesions, seed 0"."""
        pipeline = self.pipeline
        return f"{pipeline.method.name} on {' + '.join(pipeline.data)}, seed {pipeline.seed}"

    def declared(self) -> Any:
        """Channels and their other names."""
        return [[spec.channels, spec.aliases] for spec in self.specs]

    def shaping(self) -> list[Any]:
        """What decides the encoder beside the cases, as plain values for the key of its folder."""
        named = ("seed", "preprocess", "network", "method", "train", "probe")
        sections = {name: self.section(name) for name in named}
        started = [] if self.pipeline.pretrain is None else [self.section("pretrain")]
        return [digest([sections | {"data": list(self.pipeline.data)}, self.declared(), *started])]

    def section(self, name: str) -> Any:
        """As `Config.section`; an encoder to go on with enters by the hash of its weights."""
        choice = self.pipeline.pretrain
        if name != "pretrain" or choice is None:
            return super().section(name)
        return [weights_hash(choice.folder), choice.matched, choice.channels]

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse an encoder of another network."""
        must_hold(self.pipeline.network, trained, what)

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """The network with the encoder that `pretrain` names."""
        network = TypeAdapter(AnyNetwork).validate_python(trained["network"])
        return {"network": holding(given.get("network"), network)}

    def must_learn_flat(self, why: str) -> None:
        """Refuse a method that cannot learn from windows one voxel thick.

        Raises:
            UsageError: names those that can.
        """
        name = self.pipeline.method.name
        if not self.method.in_2d:
            kinds = {one: settings_class(one) for one in method_names()}
            able = [one for one, kind in kinds.items() if getattr(kind, "in_2d", False)]
            raise UsageError(
                f"method={name} does not learn from 2-D images",
                why,
                f"choose one of: {', '.join(able)}",
            )
        if self.method.pairs_of_patients() is not None:
            raise UsageError(
                f"method={name} looks for the same anatomy of another patient in volumes alone",
                why,
                "set method.corruption.alien_source=batch",
            )

    def check(self) -> None:
        """Refuse settings that do not fit the method."""
        pipeline, method = self.pipeline, self.method
        if pipeline.pretrain is not None and method.own_network:
            raise UsageError(
                f"method={pipeline.method.name} has a network of its own",
                "no encoder can be put into it",
                "leave pretrain out",
            )
        pipeline.preprocess.fingerprint()  # refuses what cannot be cached
        if self.slices:
            pipeline.preprocess.must_not_draw("slices are cut from whole volumes and kept")
        elif method.pairs_of_patients() is not None:
            pipeline.preprocess.must_not_draw("partners are looked for in images that are kept")
        name = pipeline.network.name
        if (name == "slice_unet") != self.slices:
            raise UsageError(
                f"{pipeline.method.name} cannot pre-train network.name={name}",
                "it learns a network of slices"
                if self.slices
                else "only a method that learns from images trains a network of slices",
                "set network.name=slice_unet"
                if self.slices
                else "name another network, or set method=joint2d3d",
            )
        if method.own_network:
            check_patch(pipeline.train.patch, (1, 1, 1))
        else:
            if name == IMAGE_FPN:
                raise UsageError(
                    f"network.name={IMAGE_FPN} takes an encoder that learnt from tiles",
                    "its images are in 0..1, and those of a pre-training are not",
                    "choose another network, or pre-train on tiles of slides",
                )
            pipeline.network.must_have_encoder()
            pipeline.network.must_take(pipeline.train.patch)
        if pipeline.network.is_flat:
            self.must_learn_flat(f"train.patch={list(pipeline.train.patch)} is one voxel thick")
        volumes = {spec.name for spec in self.specs if layout_of(spec).content == "volumes"}
        if unknown := set(pipeline.train.joint.loose) - volumes:
            raise UsageError(
                f"train.joint.loose names {' and '.join(sorted(unknown))}",
                "only slices of the pipeline's own data sets of volumes can be images too",
                "name data sets of volumes that stand under data",
            )


class MixedConfig(PretrainConfig):
    """What one pre-training on radiographs and volumes together does."""

    kind = "mixed"
    slices = True
    reads: ClassVar[frozenset[str]] = frozenset({"volumes", "radiographs"})


class TileConfig(Config[TilePretrainPipeline]):
    """What one pre-training on tiles of slides does, complete and checked."""

    file = TilePretrainPipeline
    about = "pre-train an encoder of tiles"
    kind = "tiles"
    method: PretrainMethodSettings
    reads: ClassVar[frozenset[str]] = frozenset({"slides"})

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "dino on slides, seed 0"."""
        return f"{self.pipeline.method.name} on {self.pipeline.data}, seed {self.pipeline.seed}"

    @property
    def initial(self) -> InitialEncoder:
        """The encoder of tiles that `pretrain` names."""
        return InitialEncoder("encoder", "medssl.train.tile_checkpoint:read_tile_encoder")

    @classmethod
    def brings(cls, given: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
        """The encoder that `pretrain` names."""
        return {"encoder": trained["encoder"]} if "encoder" in trained else {}

    def must_fit(self, trained: Any, what: str) -> None:
        """Refuse another encoder than the pipeline's."""
        must_be_tile_encoder(self.pipeline.encoder, trained, what)

    def declared(self) -> Any:
        """Nothing beyond the slides themselves."""
        return []

    def check(self) -> None:
        """Refuse a chain that makes no tiles."""
        check_tiles(self.pipeline.preprocess, self.pipeline.tiles)

    def try_encoder(self) -> None:
        """Refuse a network of MONAI that makes no features of all that the method shows it.

        Raises:
            UsageError: as `medssl.networks.trial.must_encode`.
        """
        encoder = self.pipeline.encoder
        if isinstance(encoder, MonaiTileSettings):
            from medssl.networks.trial import must_encode

            must_encode(encoder, self.method.tile_sides(encoder.side))

    def shaping(self) -> list[Any]:
        """All that shapes the encoder but the slides, as plain values."""
        done = ("preprocess",) if self.pipeline.preprocess.steps else ()
        named = ("seed", "tiles", *done, "encoder", "method", "train")
        sections = {name: self.section(name) for name in named} | {"data": self.pipeline.data}
        return [sections, encoder_hash(self.pipeline.encoder, self.pipeline.seed)]
