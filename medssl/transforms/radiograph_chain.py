"""What is done to radiographs before and while graders learn from them, as chains and words.

Free of torch and MONAI. Defaults are those of Semixup (its sheet, sections 5 and 8) at the size of
the whole crop.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from medssl.section import Extent
from medssl.transforms.chain import Chain, Preprocess
from medssl.transforms.step import Step
from medssl.transforms.words import PlainStep, Word

Mirrored = Literal["left", "right", "none"]

JOINT, SQUARE = "medssl:JointCropsd", "medssl:SquareCropd"
"""Our transforms that make the crops which a network sees."""

MIX, TURN, GAMMA = "medssl:RandMixNoised", "medssl:RandTurnShiftd", "medssl:RandInverseGammad"
"""The steps of Semixup's random transform."""

IN_MM = ("Spacingd", "medssl:FieldSpacingd")
"""Transforms that mean nothing without the size of pixels."""


class Picture(NamedTuple):
    """What a network sees of an image: V square crops.

    Attributes:
        views: their names, in order.
        side: of a crop, in pixels.
    """

    views: tuple[str, ...]
    side: int


class CropWord(Word):
    """What both ways to cut a radiograph share.

    They look at a square in the middle of the image; what lies beyond the image is black.
    """

    field: float | None = Field(
        default=110.0,
        gt=0,
        description="mm, side of the square; null: the least square that holds the image",
    )
    side: Extent = Field(default=128, ge=8, description="pixels of a crop's side")
    percentiles: tuple[float, float] = Field(
        default=(5.0, 99.0), description="of the whole image; they become 0 and 255"
    )
    mirror: Mirrored

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError("percentiles rise, between 0 and 100")
        return self

    def steps(self) -> list[PlainStep]:
        """Grey values from the whole image, then the mirror, then the crops."""
        mirrored = [] if self.mirror == "none" else [("medssl:MirrorSided", {"side": self.mirror})]
        stretched = {"percentiles": list(self.percentiles)}
        return [("medssl:StretchPercentilesd", stretched), *mirrored, self._crops()]

    @abstractmethod
    def _crops(self) -> PlainStep:
        """What cuts the crops."""


class JointWord(CropWord):
    """The paper's joint crops: the outer edges of both compartments, the medial one mirrored.

    Rows and columns are counted as if the square had `grid` pixels a side.
    """

    grid: Extent = Field(default=300, ge=2, description="pixels that rows and columns count in")
    rows: tuple[int, int] = Field(default=(100, 228), description="first, and first after")
    columns: Extent = Field(
        default=128,
        ge=1,
        description="of the lateral crop from the left edge, of the medial one from the right edge",
    )
    mirror: Mirrored = Field(
        default="left", description="images of this side are mirrored, so that lateral lies left"
    )

    @model_validator(mode="after")
    def _lies_inside(self) -> Self:
        if not 0 <= self.rows[0] < self.rows[1] <= self.grid or self.columns > self.grid:
            raise ValueError(f"rows and columns lie outside a grid of {self.grid} pixels")
        return self

    def _crops(self) -> PlainStep:
        cut = {
            "field": self.field,
            "grid": self.grid,
            "rows": list(self.rows),
            "columns": self.columns,
            "side": self.side,
        }
        return (JOINT, cut)


class RadiographWord(CropWord):
    """The whole square, as one crop."""

    mirror: Mirrored = Field(default="none", description="images of this side are mirrored")

    def _crops(self) -> PlainStep:
        return (SQUARE, {"field": self.field, "side": self.side})


class SemixupWord(Word):
    """The random transform T of Semixup, drawn for every crop of an image by itself."""

    noise: float = Field(default=0.3, ge=0, le=1, description="largest share of noise in the mix")
    noise_chance: float = Field(default=0.5, ge=0, le=1, description="probability of noise")
    rotation: float = Field(default=10.0, ge=0, le=45, description="degrees, +/- this")
    pad: float = Field(default=1.05, ge=1, description="least canvas before the crop, per side")
    gamma: tuple[float, float] = Field(default=(0.5, 1.5), description="out = in^(1 / gamma)")
    gamma_chance: float = Field(default=0.5, ge=0, le=1, description="probability of a gamma")

    @model_validator(mode="after")
    def _gamma_is_positive(self) -> Self:
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError("gamma goes from a positive number to one at least as large")
        return self

    def steps(self) -> list[PlainStep]:
        """Noise, rotation with padding and crop as one sampling, gamma."""
        return [
            (MIX, {"most": self.noise, "prob": self.noise_chance}),
            (TURN, {"rotation": self.rotation, "pad": self.pad}),
            (GAMMA, {"gamma": list(self.gamma), "prob": self.gamma_chance}),
        ]


class RadiographPreprocess(Preprocess):
    """What is done to a radiograph once, from the file's pixels to the crops that are cached."""

    WORDS: ClassVar[Mapping[str, type[Word]]] = {"joint": JointWord, "radiograph": RadiographWord}
    MASKS = False

    @property
    def picture(self) -> Picture | None:
        """What the network sees, where the last step tells; None: it must be tried."""
        steps = self.certain.steps
        if not steps or steps[-1].name not in (JOINT, SQUARE):
            return None
        last = steps[-1]
        return Picture(self.names(1 + (last.name == JOINT)), last.args.get("side", 128))

    def names(self, count: int) -> tuple[str, ...]:
        """What so many crops are called."""
        if count == 1:
            return ("whole",)
        if count == 2 and any(step.name == JOINT for step in self.steps):
            return ("lateral", "medial")
        return tuple(f"crop {number}" for number in range(1, count + 1))

    @property
    def in_mm(self) -> str:
        """The first key or step that asks for mm, e.g. "preprocess.joint.field=110"; "": none."""
        for step in self.steps:
            if step.name in IN_MM:
                return step.name
            if step.name in (JOINT, SQUARE) and (field := step.args.get("field", 110.0)):
                inside = step.name if self.word is None else self.word
                return f"preprocess.{inside}.field={field:g}"
        return ""


class RadiographAugment(Chain):
    """The random changes of crops that methods draw their views with."""

    WORDS: ClassVar[Mapping[str, type[Word]]] = {"semixup": SemixupWord}
    MASKS = False

    def with_arguments(self, name: str, **args: Any) -> Self:
        """The chain whose steps of that name have these arguments instead."""
        steps = (
            Step(step.name, {**step.args, **args}) if step.name == name else step
            for step in self.steps
        )
        return type(self)(tuple(steps))


RADIOGRAPH_WORDS = {*RadiographPreprocess.WORDS, *RadiographAugment.WORDS}
"""All words of pipelines of radiographs."""

AUGMENT_CROPS = "random changes of crops in training, see `medssl keys augment`"
"""What the key `augment` is."""


def from_crop(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a chain is given by, from the section `crop` of pipelines before there were chains."""
    own = {key: value for key, value in given.items() if key != "mode"}
    if own.get("mirror") is None:
        own.pop("mirror", None)
    if given.get("mode", "joint") == "joint":
        return {"joint": own}
    return {"radiograph": {k: v for k, v in own.items() if k not in ("grid", "rows", "columns")}}
