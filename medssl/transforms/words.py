"""Short words for what most people want done to their images; each stands for a chain."""

from abc import abstractmethod
from typing import Any, Literal

from pydantic import Field, field_validator

from medssl.section import Positive, Section

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
    spacing: tuple[Positive, Positive, Positive] | None = Field(
        default=None, description="mm; null keeps"
    )
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
        crop = self.crop_foreground
        return [
            *([("medssl:MarkForegroundd", self._foreground())] if crop else []),
            *self._intensity(),
            *([("medssl:CropMarkedd", {})] if crop else []),
            *([("Orientationd", {"axcodes": self.orientation})] if self.orientation else []),
            *([("medssl:FieldSpacingd", {"pixdim": list(self.spacing)})] if self.spacing else []),
        ]

    def _foreground(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def _intensity(self) -> list[PlainStep]:
        """What makes intensities comparable."""


class MrWord(VolumeWord):
    """Volumes whose intensities mean nothing between scans: MR, and all that is not CT."""

    intensity: Literal["robust_zscore", "zscore", "minmax", "none"] = Field(
        default="robust_zscore",
        description="of each scan for itself; robust_zscore: of the foreground, clipped at "
        "the percentiles 0.5 and 99.5; zscore: of all voxels; minmax: to 0..1",
    )

    def _intensity(self) -> list[PlainStep]:
        match self.intensity:
            case "robust_zscore":
                return [("medssl:ZScored", {"clip": [0.5, 99.5], "foreground": True})]
            case "zscore":
                return [("medssl:ZScored", {})]
            case "minmax":
                return [("ScaleIntensityd", {"minv": 0, "maxv": 1, "channel_wise": True})]
            case "none":
                return []


class CtWord(VolumeWord):
    """Volumes in Hounsfield units, of which a window becomes 0..1."""

    window: tuple[float, float] = Field(default=(-125.0, 275.0), description="HU")

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
        scaled = {"a_min": low, "a_max": high, "b_min": 0, "b_max": 1, "clip": True}
        return [("ScaleIntensityRanged", scaled)]


PREPROCESS_WORDS: dict[str, type[Word]] = {"mr": MrWord, "ct": CtWord}
"""Words of the section `preprocess`."""
