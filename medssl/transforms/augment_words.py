"""Short words for the random changes that people want in training; each stands for a chain."""

from typing import Annotated, Any, Literal

from pydantic import Field

from medssl.section import Factors, Interval
from medssl.transforms.words import PlainStep, Word

MIRRORING = "augment.standard.mirror_axes=[0], or augment.basic.flip=half where augment is basic"
"""How a network gets to see mirrored copies."""

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
    clip: Interval | None = Field(
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
    scaling: Factors = Field(
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


AUGMENT_WORDS: dict[str, type[Word]] = {"basic": BasicWord, "standard": StandardWord}
"""Words of the section `augment` of pipelines that segment."""
