"""Settings of `modality_invariant`.

Defaults follow the method's sheet, sections 6 and 13; the preset `paper` is the released code's
where that differs.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.scan.settings import AffineSettings, IntensitySettings, PairSettings
from medssl.errors import UsageError
from medssl.methods.settings import PretrainMethodSettings
from medssl.methods.settings.masked_image_modelling import Masking
from medssl.section import Items, Section, Steps, Width


class Ramp(Section):
    """Linear between two shares of the training, constant before and after."""

    start: float = Field(description="value before `begin`")
    end: float = Field(description="value after `stop`")
    begin: float = Field(ge=0, le=1, description="share of the steps")
    stop: float = Field(ge=0, le=1, description="share of the steps")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.stop < self.begin:
            raise ValueError("stop comes before begin")
        return self


class Projector(Section):
    """Pooled features to the sphere: linear, ReLU, linear, unit length."""

    hidden: Width = Field(default=512, ge=1, description="width of the hidden layer")
    outputs: Width = Field(default=128, ge=2, description="width of the embedding")


class Negatives(Section):
    """What a scan is told apart from."""

    source: Literal["auto", "batch", "queue"] = Field(
        default="auto",
        description="auto: the batch with fewer patients than `few`, where a queue would hold each "
        "of them many times; else the queue",
    )
    few: Items = Field(default=200, ge=1, description="patients")
    queue: Items = Field(default=16384, ge=2, description="embeddings kept")
    phantoms: bool = Field(
        default=False,
        description="released slip: invalid entries of the queue count as of cosine -1 and so add "
        "to every loss, instead of not at all",
    )


class SplitParts(Section):
    """Beyond the paper: an invariant part, and a specific one that keeps the contrast (section 12).

    Off while `enabled` is false; each weight of 0 switches its term off.
    """

    enabled: bool = Field(default=False, description="true divides the features")
    specific: Width = Field(default=64, ge=2, description="width of the specific part")
    modality: float = Field(default=0.5, ge=0, description="weight: contrast told from z_spec")
    covariance: float = Field(default=0.05, ge=0, description="weight of the independence penalty")
    cross: float = Field(
        default=0.0,
        ge=0,
        description="weight: a scan filled in from the other's features and its own z_spec; 0.5; "
        "needs an affine without rotation, scale and shear",
    )
    reversal: float = Field(
        default=0.0,
        ge=0,
        description="weight of a modality head on the invariant channels, its gradient reversed",
    )
    dense: float = Field(
        default=0.0,
        ge=0,
        description="weight of the contrastive loss per location on the invariant channels of all "
        "levels but the coarsest; needs an affine without rotation, scale and shear",
    )
    locations: Items = Field(default=64, ge=2, description="of each level and pair, for `dense`")


class Collapse(Section):
    """When training stops because all scans look alike to it."""

    rank: float = Field(default=5.0, ge=1, description="least effective rank of the embeddings")
    deviation: float = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="least standard deviation of their values, times sqrt(outputs): 1 for "
        "embeddings all over the sphere, a few hundredths to 0.2 before training",
    )
    keys: Items = Field(default=256, ge=8, description="latest embeddings that are judged")
    patience: Steps = Field(default=200, ge=1, description="steps below one of them in a row")


class Settings(PretrainMethodSettings):
    """Two contrasts of one session are one place: contrastive learning with reconstruction."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.modality_invariant:ModalityInvariant"
    paper: ClassVar[str] = "Koutsouvelis et al., arXiv 2511.11311 (2025)"
    in_2d: ClassVar[bool] = True
    summary: ClassVar[str] = "contrasts of a session meet in one embedding, and are filled in"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "masking": {"cell": 32},
            "sampler": "file_pair",
            "contrasts_differ": False,
            "negatives": {"source": "queue"},
        },
        "split": {"split": {"enabled": True}},
    }

    arm: Literal["cl", "mcl", "mim", "cl_mim", "mcl_mim"] = Field(
        default="mcl_mim",
        description="cl: one scan twice; mcl: two contrasts; mim: reconstruction; and both",
    )
    sampler: Literal["session", "file_pair"] = Field(
        default=PairSettings.model_fields["sampler"].default,
        description=PairSettings.model_fields["sampler"].description,
    )
    contrasts_differ: bool = Field(default=True, description="released: false")
    temperature: float = Field(default=0.2, gt=0, description="divides the similarities")
    projector: Projector = Projector()
    negatives: Negatives = Negatives()
    momentum: Ramp = Ramp(start=0.996, end=0.999, begin=0.05, stop=0.2)
    alpha: Ramp = Field(
        default=Ramp(start=0.1, end=1.0, begin=0.05, stop=0.1),
        description="weight of the contrastive loss",
    )
    masking: Masking = Masking()
    decoder_width: Width = Field(default=32, ge=1, description="channels of the light FPN decoder")
    affine: AffineSettings = AffineSettings()
    intensity: IntensitySettings = IntensitySettings()
    split: SplitParts = SplitParts()
    collapse: Collapse = Collapse()

    def must_fit(self, config: Any) -> None:
        """Refuse cubes that do not suit the window, and a split of what has one contrast.

        Raises:
            UsageError: names what fits.
        """
        train, network = config.pipeline.train, config.pipeline.network
        if self.split.enabled and len(config.contrasts) < 2:
            raise UsageError(
                "method.split.enabled=true needs two contrasts, and the data name "
                f"{len(config.contrasts)}",
                "the specific part learns to tell contrasts apart",
                "name the contrasts in the data spec, or set method.split.enabled=false",
            )
        if self.fills_in:
            self.masking.must_fit(train.patch, network.cell)
            network.must_take(train.patch, train.batch_scans)

    @property
    def contrastive(self) -> bool:
        """Whether the arm compares scans."""
        return self.arm != "mim"

    @property
    def fills_in(self) -> bool:
        """Whether the arm reconstructs."""
        return self.arm.endswith("mim")

    @model_validator(mode="after")
    def _split_needs(self) -> Self:
        split, affine = self.split, self.affine
        if split.enabled and self.arm not in ("mcl", "mcl_mim"):
            raise ValueError(f"split parts contrasts, which arm={self.arm} does not compare")
        if split.enabled and split.cross and not self.fills_in:
            raise ValueError("split.cross fills in scans: choose arm=mcl_mim")
        by_voxel = [name for name in ("dense", "cross") if getattr(split, name)]
        if split.enabled and by_voxel and (affine.rotation or affine.scale or affine.shear):
            raise ValueError(
                f"split.{by_voxel[0]} goes from one scan to the other voxel by voxel: "
                "set affine.rotation, scale and shear to 0"
            )
        return self

    @model_validator(mode="after")
    def _ramps_are_weights(self) -> Self:
        if not all(0 <= value <= 1 for value in (self.momentum.start, self.momentum.end)):
            raise ValueError("momentum goes from one share in [0, 1] to another")
        if min(self.alpha.start, self.alpha.end) < 0:
            raise ValueError("alpha is a weight, 0 or more")
        return self

    @model_validator(mode="after")
    def _rank_can_be_reached(self) -> Self:
        most = min(self.collapse.keys - 1, self.projector.outputs)
        if self.contrastive and self.collapse.rank >= most:
            raise ValueError(
                f"collapse.rank={self.collapse.rank:g} cannot be passed: the effective rank is at "
                f"most {most}, the smaller of collapse.keys - 1 and projector.outputs"
            )
        return self
