"""Short words for what most people want done to their images; each stands for a chain."""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from medssl.section import Positive, Section, Spacing

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

    clip: tuple[float, float] = Field(
        default=(0.5, 99.5), description="percentiles of the sector that its values are clipped to"
    )

    def _intensity(self) -> PlainStep:
        return ("medssl:ZScored", {"clip": list(self.clip), "foreground": True})


class RadiographWord(PictureWord):
    """Radiographs and other grey pictures: each image by itself, by all of its pixels."""

    clip: tuple[float, float] = Field(
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


Chance = Annotated[float, Field(ge=0, le=1)]


class BasicWord(Word):
    """A few changes, the same for every method so that arms compare; none unless asked for."""

    rot90: bool = Field(default=False, description="random quarter turns in the first two axes")
    flip: Literal["none", "half", "always"] = Field(
        default="none",
        description="half: every orientation equally often; "
        "always: one flip each time, as the TraCoCo release does",
    )
    flip_axes: tuple[Literal[0, 1], ...] = Field(
        default=(0, 1), min_length=1, description="a flip mirrors one of these"
    )
    brightness: float = Field(default=0.0, ge=0, lt=1, description="factor in 1 +/- this")
    clip: tuple[float, float] | None = Field(
        default=None, description="intensities stay in this interval after the random changes"
    )
    gamma: float = Field(default=0.0, ge=0, lt=1, description="log of the exponent in +/- this")
    noise: float = Field(default=0.0, ge=0, description="standard deviation of Gaussian noise")

    def steps(self) -> list[PlainStep]:
        """The pose first, which costs nothing before patches are cut; then intensities."""
        pose = {"turns": self.rot90, "flip": self.flip, "axes": list(self.flip_axes)}
        changes: list[tuple[Any, PlainStep]] = [
            (self.rot90 or self.flip != "none", ("medssl:RandPosed", pose)),
            (
                self.gamma,
                ("medssl:RandGammaRangePreservingd", {"prob": 1, "log_gamma": self.gamma}),
            ),
            (self.brightness, ("RandScaleIntensityd", {"prob": 1, "factors": self.brightness})),
            (
                self.noise,
                ("RandGaussianNoised", {"prob": 1, "std": self.noise, "sample_std": False}),
            ),
        ]
        return [step for asked, step in changes if asked] + self._clip()

    def _clip(self) -> list[PlainStep]:
        if self.clip is None:
            return []
        low, high = self.clip
        name = "ThresholdIntensityd"
        return [
            (name, {"threshold": low, "above": True, "cval": low}),
            (name, {"threshold": high, "above": False, "cval": high}),
        ]


class StandardWord(Word):
    """What nnU-Net does, with its probabilities; images are z-scored or in a range near 0..1.

    Source: the default trainer of nnU-Net v2, with one resampling for rotation and scaling.
    """

    rotation_chance: Chance = Field(default=0.2, description="of a rotation about all axes")
    rotation: float = Field(
        default=30.0,
        ge=0,
        le=180,
        description="degrees, +/- this about each axis; where the longest side of a patch is more "
        "than 3 times its shortest, and in planar images, a rotation is in the plane, by any angle",
    )
    scaling_chance: Chance = Field(default=0.2, description="of a factor for all axes")
    scaling: tuple[Positive, Positive] = Field(
        default=(0.7, 1.4), description="the factor is in between; above 1 makes objects smaller"
    )
    noise_chance: Chance = Field(default=0.1, description="of Gaussian noise")
    noise: float = Field(
        default=0.1, ge=0, description="its largest standard deviation, drawn from 0 on"
    )
    blur_chance: Chance = Field(default=0.2, description="of a blur, in half of the channels")
    brightness_chance: Chance = Field(default=0.15, description="of a factor for each channel")
    contrast_chance: Chance = Field(default=0.15, description="of a factor about the mean")
    low_resolution_chance: Chance = Field(
        default=0.25, description="of larger voxels, in half of the channels"
    )
    inverted_gamma_chance: Chance = Field(default=0.1, description="of a gamma of the negative")
    gamma_chance: Chance = Field(default=0.3, description="of a gamma")
    mirror_chance: Chance = Field(default=0.5, description="of each axis by itself")
    mirror_axes: tuple[Literal[0, 1, 2], ...] = Field(
        default=(0, 1, 2), description="which mirror; where left and right differ, leave that out"
    )

    def steps(self) -> list[PlainStep]:
        """In the order of nnU-Net."""
        turned = {
            "prob_rotation": self.rotation_chance,
            "rotation": self.rotation,
            "prob_scaling": self.scaling_chance,
            "scaling": list(self.scaling),
        }
        stats = {"retain_stats": True, "channel_wise": True}
        changes: list[tuple[float, str, dict[str, Any]]] = [
            (self.rotation_chance + self.scaling_chance, "medssl:RandRotateScaled", turned),
            (self.noise_chance, "RandGaussianNoised", {"std": self.noise}),
            (self.blur_chance, "medssl:RandBlurd", {"channel_prob": 0.5, "sigma": [0.5, 1.0]}),
            (self.brightness_chance, "medssl:RandBrightnessd", {"factor": [0.75, 1.25]}),
            (self.contrast_chance, "medssl:RandContrastd", {"factor": [0.75, 1.25]}),
            (
                self.low_resolution_chance,
                "medssl:RandLowResolutiond",
                {"channel_prob": 0.5, "zoom": [0.5, 1.0]},
            ),
            (
                self.inverted_gamma_chance,
                "medssl:RandGammaRangePreservingd",
                {"gamma": [0.7, 1.5], "invert": True, **stats},
            ),
            (
                self.gamma_chance,
                "medssl:RandGammaRangePreservingd",
                {"gamma": [0.7, 1.5], **stats},
            ),
            (
                self.mirror_chance * len(self.mirror_axes),
                "medssl:RandMirrord",
                {"prob": self.mirror_chance, "axes": list(self.mirror_axes)},
            ),
        ]
        own = ("medssl:RandRotateScaled", "medssl:RandMirrord")
        return [
            (name, args if name in own else {"prob": chance, **args})
            for chance, name, args in changes
            if chance
        ]


PREPROCESS_WORDS: dict[str, type[Word]] = {
    "mr": MrWord,
    "ct": CtWord,
    "ultrasound": UltrasoundWord,
    "radiograph": RadiographWord,
    "rgb": RgbWord,
}
"""Words of the section `preprocess`."""

AUGMENT_WORDS: dict[str, type[Word]] = {"basic": BasicWord, "standard": StandardWord}
"""Words of the section `augment` of pipelines that segment."""
