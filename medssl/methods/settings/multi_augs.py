"""Settings of `multi_augs`: its sheet's for segmentation (section 5); presets as released."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medssl.methods.segment.strong_settings import Field3d, Strong
from medssl.methods.settings import Answering, Family, MethodSettings
from medssl.section import Count, Parts, Positive, Section, Share

Path = Literal["joco", "jccm", "jc", "jo", "co", "cm", "mu", "intensity"]


class Boxes(Section):
    """Boxes that are cut out or pasted; their sizes and places are shares of each side."""

    cut_at_anchors: Count = Field(default=5, ge=1, description="of jc: around anchors, set to 0")
    pasted_at_anchors: Count = Field(
        default=2, ge=1, description="of jo: around anchors, from around those of another patch"
    )
    cut: Count = Field(default=5, ge=1, description="of co: anywhere, set to 0")
    pasted: Count = Field(default=2, ge=1, description="of cm: anywhere, from another patch")
    half: Parts = Field(default=(0.04, 0.08), description="half of a side; uniform in between")
    jitter: float = Field(
        default=0.04, ge=0, description="standard deviation of the place around an anchor"
    )
    boundary_points: Count = Field(
        default=8, ge=0, description="anchors on the boundary of each class, beside the centres"
    )


class Affine(Section):
    """One turn and scaling of each patch, the same for all of its hard views."""

    probability: float = Field(default=0.8, ge=0, le=1, description="of a patch; 0: never")
    degrees: float = Field(default=15.0, ge=0, description="standard deviation about each axis")
    most_degrees: float = Field(default=30.0, ge=0, description="larger turns are cut to this")
    scale: float = Field(default=0.15, ge=0, lt=1, description="sizes change by +/- this")


class Settings(MethodSettings):
    """Several hard views of a patch, each to be answered like the easy one."""

    family: ClassVar[Family] = "segment"
    implementation: ClassVar[str] = "medssl.methods.segment.multi_augs:MultiAugs"
    paper: ClassVar[str] = "Zhou et al., MultiAugs (arXiv 2402.11566), here for segmentation"
    summary: ClassVar[str] = "several hard views of each patch, answered as the easy one"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "multi_augs": {},
        "pose_single": {
            "teacher": "self",
            "rampup": 0.0,
            "affine": {"degrees": 30.0, "most_degrees": 60.0, "scale": 0.25},
        },
        "pose_dual": {
            "teacher": "dual",
            "rampup": 0.0,
            "affine": {"degrees": 30.0, "most_degrees": 60.0, "scale": 0.25},
        },
        "four_paths": {"paths": ["joco", "jccm", "jc", "jo"]},
    }

    paths: tuple[Path, ...] = Field(
        default=("joco", "jccm"),
        min_length=1,
        description="hard views; jc, jo: boxes at anchors, cut out or pasted; co, cm: boxes "
        "anywhere; joco: jo then co; jccm: jc then cm; mu: patches blended; intensity: `strong`",
    )
    teacher: Literal["self", "ema", "dual"] = Field(
        default="ema",
        description="who answers the easy view; self: the network itself, as released; ema: its "
        "moving average; dual: the other one of two networks",
    )
    decay: float = Field(default=0.99, ge=0, lt=1, description="of the moving average")
    train_mode: bool = Field(
        default=True, description="the easy view is answered with dropout and batch statistics"
    )
    loss: Literal["mse", "dice"] = Field(
        default="mse", description="between probabilities: half of the squares, or a soft Dice"
    )
    reduce: Literal["sum", "mean"] = Field(
        default="sum", description="over the hard views; mean: the weight counts for all together"
    )
    gate: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="least probability of an easy answer that is taught; released: 0",
    )
    weight: float = Field(default=1.0, ge=0, description="of each hard view, after ramp-up")
    rampup: float = Field(
        default=0.1, ge=0, le=1, description="share of the steps in which that weight rises"
    )
    boxes: Boxes = Boxes()
    affine: Affine = Affine()
    blend: tuple[Positive, Share] = Field(
        default=(0.2, 0.75), description="of mu: parameter of its Beta, and the least own share"
    )
    strong: Strong = Field(
        default=Strong(field=Field3d(probability=0.8)), description="of the view `intensity`"
    )
    predictor: Answering = Field(
        default="student",
        description="who predicts; both: the mean of student and average; of two networks both do",
    )
