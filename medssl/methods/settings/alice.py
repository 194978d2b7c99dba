"""Settings of `alice`.

Defaults are those of the sheet of Alice, section 13 ("ours"), with the remedies against collapse of
section 14.1. The preset `paper` follows the paper's figures, `released` its code as it was meant;
`small` is for a CPU. The loop's part: AdamW, weight decay 0.04 to 0.4 (weight_decay_end), biases
and norms without (decay_vectors false), clip_norm 3 (clip_by tensor as published), a warm-up and a
cosine to 1e-6. The published learning rate rises to 1e-4 by a slip; use 1e-4 to 5e-4. The published
encoder has network.drop_path 0.2.
"""

from collections.abc import Sequence
from math import gcd, prod
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from medssl.data.scan.matching_settings import MatchedViews
from medssl.errors import UsageError
from medssl.methods.settings import EmbeddingFirst, PretrainMethodSettings
from medssl.methods.settings.anatomical_embedding import Settings as EmbeddingSettings
from medssl.networks.pooling import must_keep_means
from medssl.networks.primus_settings import NAME as PRIMUS
from medssl.section import Batch, Count, Extent, Items, Patch, Section, Steps, Width

Share = float


class Embedding(Section):
    """The anatomical embedding that mines; trained on the same volumes first, as its own stage."""

    checkpoint: str | None = Field(
        default=None, description="folder of a trained one; null trains it, or takes what is there"
    )
    steps: Steps = Field(default=500, ge=1, description="training steps of the embedding")
    batch: Batch = Field(default=2, ge=1, description="volumes per step")
    learning_rate: float = Field(default=1e-3, gt=0, description="AdamW; a cosine takes it to 0")
    patch: Patch | None = Field(
        default=None, description="window in voxels; null: one and a half times Alice's, or less"
    )
    method: EmbeddingSettings = EmbeddingSettings()

    @property
    def first(self) -> EmbeddingFirst:
        """What has to be trained before."""
        return EmbeddingFirst(
            self.checkpoint,
            "anatomical_embedding",
            self.method.model_dump(mode="json"),
            self.steps,
            self.batch,
            self.learning_rate,
            self.patch,
        )

    def must_fit(self, patch: tuple[int, int, int]) -> None:
        """Refuse an embedding that does not suit the window of the method that mines with it.

        Raises:
            UsageError: names what fits.
        """
        if self.checkpoint is None:
            keys = "method.embedding.patch", "method.embedding.method.views.size"
            self.method.must_fit_in(self.first.window(patch), *keys)


class Masking(Section):
    """What of a crop the student does not see."""

    shape: Literal["cubes", "columns"] = Field(
        default="cubes", description="columns run along the whole last axis, as released"
    )
    side: Extent | None = Field(
        default=None,
        ge=1,
        description="voxels; null: a quarter of the window's longest side, or the next less that "
        "divides all (16 for the paper's 64, 8 for 32)",
    )
    ratio: float = Field(default=0.75, gt=0, lt=1, description="share of the cells, exactly")
    fill: Literal["zeros", "learned"] = Field(
        default="zeros", description="what stands in hidden cells"
    )

    def side_in(self, window: Sequence[int]) -> int:
        """Side of a cell in voxels: `side`, else the largest that suits the window.

        Such a side divides all sides of the window and is at most a quarter of the longest.
        """
        most = max(1, max(window) // 4)
        common = gcd(*window)
        return self.side or max(side for side in range(1, most + 1) if common % side == 0)

    def must_fit(self, window: tuple[int, int, int]) -> None:
        """Refuse cells that do not suit the window.

        Raises:
            UsageError: the window's sides are no multiples of a cell's, or the ratio hides all
                cells of a window or none; names the sides that fit.
        """
        fitting = [side for side in range(1, max(window) + 1) if self._hides_some(side, window)]
        side = self.side_in(window)
        if side not in fitting:
            raise UsageError(
                f"method.masking.side={side} does not fit train.patch={list(window)}",
                f"its sides must be multiples of it, and a share of {self.ratio:g} of its cells "
                "neither none nor all",
                f"choose one of {', '.join(map(str, fitting))}"
                if fitting
                else "give a larger train.patch",
            )

    def _hides_some(self, side: int, window: tuple[int, int, int]) -> bool:
        cells = prod(length // side for length in window[: 2 if self.shape == "columns" else 3])
        return not any(length % side for length in window) and 0 < round(self.ratio * cells) < cells


class Reconstruction(Section):
    """Masked image modelling."""

    weight: float = Field(default=5.0, ge=0, description="published: 10 / 2")
    where: Literal["masked", "all"] = Field(
        default="masked", description="all: visible voxels count too, as released"
    )


class TeacherTemperature(Section):
    """Linear from the first to the last in a share of training."""

    first: float = Field(default=0.04, gt=0, description="at the first step")
    last: float = Field(default=0.07, gt=0, description="after the warm-up")
    warmup: Share = Field(default=0.03, ge=0, le=1, description="30 of 1000 epochs")


class Between(Section):
    """Between volumes: a crop as a whole."""

    weight: float = Field(default=1.0, ge=0, description="of this loss; 0 leaves it out")
    kind: Literal["distillation", "nt_xent", "dcl"] = Field(
        default="nt_xent",
        description="distillation: the paper's, which ends in one answer for all where batches "
        "are small; or contrast with other places (dcl: decoupled)",
    )
    balance: Literal["centre", "sinkhorn"] = Field(
        default="centre", description="of the teacher's answers; the paper's: centre"
    )
    student_temperature: float = Field(
        default=0.2, gt=0, description="of nt_xent and dcl; distillation, as published: 0.1"
    )
    teacher_temperature: TeacherTemperature = TeacherTemperature()
    queue: Items = Field(
        default=1024, ge=0, description="earlier crops as negatives, for nt_xent and dcl"
    )


class Within(Section):
    """Within a volume: the tokens of a crop, aligned by CASA."""

    weight: float = Field(default=1.0, ge=0, description="of this loss; 0 leaves it out")
    align: bool = Field(default=True, description="false leaves the alignment module out")
    target_context: Literal["encoder", "decoder"] = Field(
        default="encoder",
        description="the teacher's tokens that the target branch asks: the figure's, the code's",
    )
    target_query: Literal["student", "teacher"] = Field(
        default="student",
        exclude_if=lambda given: given == "student",
        description="whose tokens the target branch asks with: the student's, as published, which "
        "know nothing of a hidden place; or the teacher's of the same places, so that each target "
        "is of what lies at its own",
    )
    average: bool = Field(
        default=True, description="false: both branches share one module, as in the code"
    )
    prototypes: bool = Field(
        default=True,
        description="cosines with prototypes after the module, rather than its LayerNorm's output",
    )
    balance: Literal["centre", "sinkhorn"] = Field(
        default="sinkhorn", description="of the teacher's answers; the paper's: centre"
    )
    student_temperature: float = Field(default=0.1, gt=0, description="of the student's answers")
    teacher_temperature: TeacherTemperature = TeacherTemperature()
    heads: Count = Field(
        default=8, ge=1, description="of the module's attention; must divide head.outputs"
    )
    hidden: Width = Field(
        default=2048, ge=1, description="width inside the module's feed-forward layers"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="in the module")


class Head(Section):
    """From tokens to prototypes."""

    hidden: Width = Field(default=2048, ge=1, description="width of the hidden layers")
    bottleneck: Width = Field(
        default=256, ge=1, description="width of the vectors that meet the prototypes"
    )
    outputs: Width = Field(default=512, ge=2, description="prototypes; also the width of CASA")
    project_crops: bool = Field(
        default=True,
        exclude_if=lambda given: given,
        description="a crop's pooled features pass the projection that its tokens pass; false, as "
        "released: they go into the hidden layers as they are",
    )
    freeze_steps: Steps = Field(
        default=0, ge=0, description="prototypes rest at first; paper: 1 epoch"
    )


class Teacher(Section):
    """The average that gives the targets."""

    momentum: float = Field(
        default=0.996, ge=0, le=1, description="at the first step; a cosine takes it to 1"
    )
    centre_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="of the mean answer that is taken off the teacher's"
    )


class Ramp(Section):
    """Reconstruction alone at first, then the other terms come in."""

    start: Share = Field(default=0.1, ge=0, lt=1, description="share of training before they begin")
    length: Share = Field(default=0.1, ge=0, le=1, description="share in which they reach weight 1")


class Collapse(Section):
    """When training is given up (sheet, section 14.1)."""

    uniform: float = Field(
        default=0.01,
        ge=0,
        description="the global term this near to ln(prototypes) is a constant teacher's",
    )
    within: float = Field(default=0.05, ge=0, description="a term below this is too easy ...")
    early: Share = Field(default=0.2, ge=0, le=1, description="... in the first share of training")
    deviation: float = Field(
        default=0.02,
        ge=0,
        description="of the head's vectors over a batch; 1: spread over the sphere, 0: all equal",
    )
    patience: Steps = Field(default=50, ge=1, description="so many such steps in a row")


_PUBLISHED: dict[str, Any] = {
    "masking": {"side": 16},
    "within": {
        "prototypes": False,
        "balance": "centre",
        "teacher_temperature": {"first": 0.008, "last": 0.01},
    },
    "between": {
        "kind": "distillation",
        "balance": "centre",
        "student_temperature": 0.1,
        "teacher_temperature": {"first": 0.008, "last": 0.01},
    },
    "ramp": {"start": 0, "length": 0},
    "views": {"candidates": 101, "matching": {"similarity": 0.7}},
}


class Settings(PretrainMethodSettings):
    """Masked reconstruction with self-distillation between patients and within a volume."""

    implementation: ClassVar[str] = "medssl.methods.pretrain.alice:Alice"
    paper: ClassVar[str] = "Jiang et al., Alice, ICCV 2023"
    summary: ClassVar[str] = "the same anatomy in different patients is seen as the same thing"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": _PUBLISHED,
        "released": _PUBLISHED
        | {
            "masking": {"shape": "columns", "side": 16},
            "reconstruction": {"where": "all"},
            "head": {"project_crops": False},
            "within": _PUBLISHED["within"] | {"target_context": "decoder", "average": False},
        },
        "small": {
            "masking": {"side": 8},
            "head": {"hidden": 128, "bottleneck": 64, "outputs": 64},
            "within": {"hidden": 128},
            "teacher": {"momentum": 0.99},
        },
    }

    embedding: Embedding = Embedding()
    views: MatchedViews = MatchedViews()
    masking: Masking = Masking()
    reconstruction: Reconstruction = Reconstruction()
    between: Between = Between()
    within: Within = Within()
    head: Head = Head()
    teacher: Teacher = Teacher()
    ramp: Ramp = Ramp()
    hand_on: Literal["student", "teacher"] = Field(
        default="student", description="whose encoder and decoder are kept"
    )
    collapse: Collapse = Collapse()

    def must_fit(self, config: Any) -> None:
        """Refuse masks, an encoder and an embedding that do not suit the window.

        Raises:
            UsageError: names what fits.
        """
        patch, network = config.pipeline.train.patch, config.pipeline.network
        self.masking.must_fit(patch)
        must_keep_means(network, "alice", "a crop")
        if network.name == PRIMUS:
            raise UsageError(
                f"alice cannot pre-train network.name={PRIMUS}",
                "it aligns tokens of two levels, and this encoder has one",
                "name another network, or set method=masked_image_modelling",
            )
        if self.views.partner == "matched":
            self.embedding.must_fit(patch)
        if self.views.overlap and (
            self.views.partner != "matched" or self.between.kind == "distillation"
        ):
            raise UsageError(
                f"method.views.overlap={self.views.overlap:g} bars negatives by the embedding",
                f"partners are {self.views.partner}, and method.between.kind is "
                f"{self.between.kind}",
                "set method.views.partner=matched and method.between.kind=nt_xent, or "
                "method.views.overlap=0",
            )

    def pairs_of_patients(self) -> MatchedViews:
        """How pairs of windows of two patients are drawn: at matched places, or at random."""
        return self.views

    def needs(self) -> EmbeddingFirst | None:
        """The embedding that finds the same place in another patient."""
        return self.embedding.first if self.views.partner == "matched" else None

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not (self.reconstruction.weight or self.between.weight or self.within.weight):
            raise ValueError(
                "nothing to learn from: raise one of reconstruction.weight, between.weight and "
                "within.weight"
            )
        if self.within.align and self.head.outputs % self.within.heads:
            raise ValueError(
                f"{self.head.outputs} outputs cannot be divided among {self.within.heads} heads: "
                "change head.outputs or within.heads"
            )
        return self
