"""Settings of `tracoco`.

Defaults are the paper's for the left atrium with 8 labels, with the method as described where the
release slips (sheet sections 2, 7 and 11).
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from medssl.methods.segment.strong_settings import Strong
from medssl.methods.settings import Family, MethodSettings, SupervisedDice
from medssl.section import Interval, Section, Steps


class Translation(Section):
    """Two overlapping views must agree on what both show (sheet 5.2)."""

    enabled: bool = Field(default=True, description="false leaves this loss out")
    weight: float = Field(default=0.3, ge=0, description="of this loss")
    axis: Literal["class", "x"] = Field(
        default="class", description="of the softmax; x is what the release computes"
    )
    logit_clamp: Interval | None = Field(
        default=None, description="released: 1e-6 to 1; confident voxels then get no gradient"
    )
    rows: Literal["all", "unlabelled"] = Field(
        default="all", description="which patches it compares"
    )
    stop_gradient: bool = Field(default=False, description="no gradient into the shifted view")
    min_overlap: float = Field(default=0.0, ge=0, lt=1, description="share of the patch volume")
    sampler: Literal["released", "first_release"] = Field(
        default="released",
        description="how the second view is drawn: from a lower index, as the released code "
        "does, or on either side, as its first release did",
    )
    repair: Literal["left_atrium", "pancreas", "none"] = Field(
        default="left_atrium",
        description="what happens to views too far apart: the rule of one of the released "
        "data sets, or nothing",
    )


class Entropy(Section):
    """Keeps the overlap's predictions from collapsing; minimising it raises entropy."""

    weight: float = Field(default=0.1, ge=0, description="0 switches it off")


class Pseudo(Section):
    """What the other network's pseudo-labels teach (CBC, later called CRC; sheet 5.3)."""

    kind: Literal["cbc", "cross_entropy", "mse", "none"] = Field(
        default="cbc",
        description="confident voxels alone (CBC), hard pseudo-labels, squared differences, "
        "or nothing",
    )
    positive_threshold: float = Field(
        default=0.65, ge=0, le=1, description="least probability of a class that is taught"
    )
    negative_threshold: float = Field(
        default=0.1, ge=0, le=1, description="the least likely class below it is taught as absent"
    )
    confidence_weight: bool = Field(
        default=True, description="weighs voxels by the teacher's probability"
    )
    dice: bool = Field(default=False, description="ACDC: half CBC, half Dice on hard labels")
    train_mode: bool = Field(
        default=True, description="pseudo-labels with dropout and batch statistics, as released"
    )


class CutMix(Section):
    """Boxes of another item, in the image and in the pseudo-labels (sheet section 6)."""

    networks: tuple[Literal[1, 2], ...] = Field(
        default=(2,), description="which of the two learn from mixed patches"
    )
    axes: Literal["xy", "xyz"] = Field(
        default="xy", description="along which a box is cut; xy: through the whole patch in z"
    )
    alpha: float = Field(default=4.0, gt=0, description="of the symmetric Beta distribution")
    truth: bool = Field(
        default=False,
        exclude_if=lambda given: not given,
        description="what is pasted from a labelled patch brings its labels; released: not",
    )


class Average(Section):
    """A moving average of each of the two networks."""

    decay: float | None = Field(
        default=None, ge=0, lt=1, description="of the averages; null: there are none"
    )
    teaches: bool = Field(default=True, description="pseudo-labels are those of the averages")
    predicts: bool = Field(default=True, description="the averages predict after training")


class Noise(Section):
    """Uniform noise, drawn anew for every pass that trains."""

    amplitude: float = Field(
        default=0.2, ge=0, description="noise in +/- this, in units of the treated intensities"
    )
    clip: Interval | None = Field(
        default=None, description="intensities stay in this interval after it; null: any"
    )


class Unsupervised(Section):
    """Weight of everything that needs no label: Gaussian ramp-up to `weight`."""

    weight: float = Field(default=0.3, ge=0, description="0.3 at 8 labels, 1 at 16 and more")
    rampup_steps: Steps = Field(default=160, ge=1, description="40 passes over the labelled pairs")


class Settings(MethodSettings):
    """Translation-consistent co-training of two networks."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.tracoco:TraCoCo"
    paper: ClassVar[str] = "Liu et al., TraCoCo, IEEE TMI 2024 (arXiv 2203.14523)"
    summary: ClassVar[str] = "two networks teach each other and agree under translation"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "supervised": {
            "unsupervised": {"weight": 0.0},
            "translation": {"enabled": False},
            "entropy": {"weight": 0.0},
            "pseudo": {"kind": "none"},
            "cutmix": {"networks": []},
        },
        "cps": {
            "translation": {"enabled": False},
            "entropy": {"weight": 0.0},
            "pseudo": {"kind": "cross_entropy"},
            "cutmix": {"networks": []},
        },
        "tracoco_released": {"translation": {"axis": "x", "logit_clamp": [1e-6, 1.0]}},
        "tracoco": {},
    }

    dice: SupervisedDice = "squares"
    cotraining: bool = Field(default=True, description="false: each network teaches itself")
    seeds: tuple[int, int] | None = Field(
        default=None, description="of the two initialisations; null: from the pipeline's seed"
    )
    translation: Translation = Translation()
    entropy: Entropy = Entropy()
    pseudo: Pseudo = Pseudo()
    cutmix: CutMix = CutMix()
    average: Average = Field(default=Average(), exclude_if=lambda given: given == Average())
    strong: Strong = Field(
        default=Strong(),
        exclude_if=lambda given: given == Strong(),
        description="what learns from pseudo-labels sees such a view of them, they come from the "
        "image as it is; all chances 0: no such view",
    )
    noise: Noise = Noise()
    unsupervised: Unsupervised = Unsupervised()

    @field_validator("seeds")
    @classmethod
    def _two_networks(cls, seeds: tuple[int, int] | None) -> tuple[int, int] | None:
        if seeds is not None and seeds[0] == seeds[1]:
            raise ValueError("the two networks need different seeds; equal ones teach nothing new")
        return seeds
