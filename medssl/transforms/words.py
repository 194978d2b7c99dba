"""Short words for what most people want done to their images once; each stands for a chain."""

from abc import abstractmethod
from typing import Any, Literal

from pydantic import Field, field_validator

from medssl.section import Percentiles, Positive, Section, Spacing

_AXES = {side: axis for axis in ("LR", "AP", "SI") for side in axis}

PlainStep = tuple[str, dict[str, Any]]


class Word(Section):
    """A word's own keys, and the chain that they stand for."""

    @abstractmethod
    def steps(self) -> list[PlainStep]:
        """Names of transforms, with their arguments."""


class VolumeWord(Word):
    """What volumes of all kinds share."""

    orientation: str | None = Field(default="RAS", description="null keeps the file's axes")
    spacing: Spacing | None = Field(default=None, description="mm; null keeps")
    crop_foreground: bool = Field(
        default=False,
        description="cuts away the margin at the channels' lowest value, which is air or padding",
    )

    @field_validator("orientation")
    @classmethod
    def _names_axes(cls, given: str | None) -> str | None:
        axes = sorted(_AXES.get(side, "") for side in given or "RAS")
        if axes != sorted(set(_AXES.values())):
            raise ValueError("give three letters, one of L and R, of A and P, of S and I, e.g. RAS")
        return given

    def steps(self) -> list[PlainStep]:
        """Intensities first, from all voxels; then crop, orientation, spacing."""
        crop: list[PlainStep] = [("medssl:CropMarkedd", {})] if self.crop_foreground else []
        scaled = self._intensity()
        return [
            *([("medssl:MarkForegroundd", self._foreground())] if crop else []),
            *([*crop, *scaled] if self._crops_first() else [*scaled, *crop]),
            *([("Orientationd", {"axcodes": self.orientation})] if self.orientation else []),
            *([("medssl:FieldSpacingd", {"pixdim": list(self.spacing)})] if self.spacing else []),
        ]

    def _foreground(self) -> dict[str, Any]:
        return {}

    def _crops_first(self) -> bool:
        """Whether intensities are made comparable by what the crop leaves."""
        return False

    @abstractmethod
    def _intensity(self) -> list[PlainStep]:
        """What makes intensities comparable."""


class MrWord(VolumeWord):
    """Volumes whose intensities mean nothing between scans: MR, and all that is not CT."""

    intensity: Literal[
        "robust_zscore", "zscore", "zscore_box", "zscore_inside", "minmax", "none"
    ] = Field(
        default="robust_zscore",
        description="of each scan for itself; robust_zscore: of the foreground, clipped at "
        "the percentiles 0.5 and 99.5; zscore: of all voxels; zscore_box: of those that "
        "crop_foreground leaves; zscore_inside: of the foreground, and all else becomes 0; "
        "minmax: to 0..1",
    )

    def _crops_first(self) -> bool:
        return self.intensity == "zscore_box"

    def _intensity(self) -> list[PlainStep]:
        match self.intensity:
            case "robust_zscore":
                return [("medssl:ZScored", {"clip": [0.5, 99.5], "foreground": True})]
            case "zscore" | "zscore_box":
                return [("medssl:ZScored", {})]
            case "zscore_inside":
                return [("medssl:ZScored", {"foreground": True, "outside": 0})]
            case "minmax":
                return [("ScaleIntensityd", {"minv": 0, "maxv": 1, "channel_wise": True})]
            case "none":
                return []


class CtWord(VolumeWord):
    """Volumes in Hounsfield units, of which a window becomes 0..1."""

    window: tuple[float, float] = Field(default=(-125.0, 275.0), description="HU")
    zscore: tuple[float, Positive] | None = Field(
        default=None,
        description="mean and standard deviation, HU: what is in the window becomes (value - mean) "
        "/ deviation in place of 0..1",
    )

    @field_validator("window")
    @classmethod
    def _rises(cls, window: tuple[float, float]) -> tuple[float, float]:
        if window[0] >= window[1]:
            raise ValueError("the window goes from a number to a larger one, e.g. [-125, 275]")
        return window

    def _foreground(self) -> dict[str, Any]:
        return {"above": self.window[0]}

    def _intensity(self) -> list[PlainStep]:
        low, high = self.window
        ends: tuple[float, float] = (0, 1)
        if self.zscore is not None:
            mean, deviation = self.zscore
            ends = (low - mean) / deviation, (high - mean) / deviation
        scaled = {"a_min": low, "a_max": high, "b_min": ends[0], "b_max": ends[1], "clip": True}
        return [("ScaleIntensityRanged", scaled)]


class PictureWord(Word):
    """What pictures of all kinds share; their axes stay those of the file."""

    spacing: Spacing | None = Field(default=None, description="mm of a pixel; null keeps")

    def steps(self) -> list[PlainStep]:
        """Intensities first, then spacing."""
        moved = ("medssl:FieldSpacingd", {"pixdim": list(self.spacing or ())})
        return [self._intensity(), *([moved] if self.spacing else [])]

    @abstractmethod
    def _intensity(self) -> PlainStep:
        """What makes intensities comparable."""


class UltrasoundWord(PictureWord):
    """Ultrasound: each image by itself, by what is brighter than the black around the sector."""

    clip: Percentiles = Field(
        default=(0.5, 99.5), description="percentiles of the sector that its values are clipped to"
    )

    def _intensity(self) -> PlainStep:
        return ("medssl:ZScored", {"clip": list(self.clip), "foreground": True})


class RadiographWord(PictureWord):
    """Radiographs and other grey pictures: each image by itself, by all of its pixels."""

    clip: Percentiles = Field(
        default=(0.5, 99.5), description="percentiles that its values are clipped to"
    )

    def _intensity(self) -> PlainStep:
        return ("medssl:ZScored", {"clip": list(self.clip)})


class RgbWord(PictureWord):
    """Pictures in colour: the same range of all channels becomes 0..1, so that colours stay."""

    range: tuple[float, float] = Field(
        default=(0.0, 255.0), description="values that become 0 and 1; those beyond are clipped"
    )

    @field_validator("range")
    @classmethod
    def _rises(cls, given: tuple[float, float]) -> tuple[float, float]:
        if given[0] >= given[1]:
            raise ValueError("the range goes from a number to a larger one, e.g. [0, 255]")
        return given

    def _intensity(self) -> PlainStep:
        low, high = self.range
        scaled = {"a_min": low, "a_max": high, "b_min": 0, "b_max": 1, "clip": True}
        return ("ScaleIntensityRanged", scaled)


PREPROCESS_WORDS: dict[str, type[Word]] = {
    "mr": MrWord,
    "ct": CtWord,
    "ultrasound": UltrasoundWord,
    "radiograph": RadiographWord,
    "rgb": RgbWord,
}
"""Words of the section `preprocess`."""
