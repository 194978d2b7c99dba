"""Settings of `dino`.

Defaults are those of Snuffy's continual pre-training with adapters (sheet of Snuffy, section 7);
the preset `scratch` has what DINO's own training differs in. The loop's part for both: AdamW,
learning rate 5e-4 x batch / 256 with ten warm-up epochs and a cosine to 1e-6, weight_decay 0.04
with weight_decay_end 0.4 and decay_vectors false, clip_norm 3.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from medssl.errors import UsageError
from medssl.methods.settings import PretrainMethodSettings
from medssl.section import Count, Extent, Parts, Section, Steps, Width

Probability = Annotated[float, Field(ge=0, le=1)]


class GlobalCrops(Section):
    """The two large crops, which both networks see."""

    side: Extent = Field(default=224, ge=1, description="pixels")
    scale: Parts = Field(default=(0.4, 1.0), description="share of the tile's area")
    blur: tuple[Probability, Probability] = Field(
        default=(1.0, 0.1), description="of the first and of the second"
    )
    solarise: tuple[Probability, Probability] = Field(default=(0.0, 0.2), description="likewise")


class LocalCrops(Section):
    """The small crops, which the student alone sees."""

    count: Count = Field(default=8, ge=0, description="crops of each tile")
    side: Extent = Field(default=96, ge=1, description="pixels")
    scale: Parts = Field(default=(0.05, 0.4), description="share of the tile's area")
    blur: Probability = Field(default=0.5, description="probability of a blur")


class Colour(Section):
    """Changes that all crops may get; those named alone are probabilities."""

    flip: Probability = Field(default=0.5, description="left and right")
    jitter: Probability = Field(default=0.8, description="of the next four, in random order")
    brightness: float = Field(default=0.4, ge=0, le=1, description="factor in 1 +/- this")
    contrast: float = Field(default=0.4, ge=0, le=1, description="factor in 1 +/- this")
    saturation: float = Field(default=0.2, ge=0, le=1, description="factor in 1 +/- this")
    hue: float = Field(default=0.1, ge=0, le=0.5, description="shift in +/- this, of a full turn")
    grey: Probability = Field(default=0.2, description="all colour is taken out")
    sigma: tuple[float, float] = Field(
        default=(0.1, 2.0), description="of the blur, pixels of the crop"
    )

    @model_validator(mode="after")
    def _blur_has_width(self) -> Self:
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError("sigma goes from a positive number to a larger one")
        return self


class Head(Section):
    """From features to prototypes."""

    outputs: Width = Field(default=65536, ge=2, description="prototypes; a few hundred on a CPU")
    hidden: Width = Field(default=2048, ge=1, description="width of the hidden layers")
    bottleneck: Width = Field(
        default=256, ge=1, description="width of the vectors that meet the prototypes"
    )
    fixed_gain: bool = Field(
        default=False, description="prototypes of length 1 (DINO's norm_last_layer)"
    )
    freeze_steps: Steps = Field(
        default=0, ge=0, description="the last layer rests at first; DINO: one epoch"
    )


class Teacher(Section):
    """The average that gives the targets."""

    momentum: float = Field(
        default=0.9995, ge=0, le=1, description="at the first step; a cosine takes it to 1"
    )
    temperature: float = Field(default=0.04, gt=0, description="after the warm-up")
    warmup_temperature: float = Field(default=0.04, gt=0, description="at the first step")
    warmup_steps: Steps = Field(default=0, ge=0, description="linear from one to the other")
    centre_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="of the mean answer that is taken off the teacher's"
    )


class Collapse(Section):
    """When training is given up, as every tile gets the same answer."""

    information: float = Field(
        default=0.01,
        ge=0,
        description="nats that the teacher's output tells of the tile; less counts as collapsed",
    )
    patience: Steps = Field(default=200, ge=1, description="so many collapsed steps in a row")


class Settings(PretrainMethodSettings):
    """Self-distillation without labels (DINO), from scratch or on with adapters."""

    learns_from: ClassVar = "tiles"
    implementation: ClassVar[str] = "medssl.methods.pretrain.dino:Dino"
    paper: ClassVar[str] = "Caron et al., DINO, ICCV 2021; adapters: Snuffy, ECCV 2024"
    summary: ClassVar[str] = "a tile encoder learns to agree with its average across crops"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "continual": {},
        "scratch": {
            "head": {"fixed_gain": True, "freeze_steps": 1000},
            "teacher": {"momentum": 0.996},
            "collapse": {"patience": 2000},
        },
    }

    global_crops: GlobalCrops = GlobalCrops()
    local_crops: LocalCrops = LocalCrops()
    colour: Colour = Colour()
    head: Head = Head()
    teacher: Teacher = Teacher()
    student_temperature: float = Field(default=0.1, gt=0, description="of the student's answers")
    drop_path: float = Field(default=0.1, ge=0, lt=1, description="of the student's last block")
    collapse: Collapse = Collapse()

    def tile_sides(self, side: int) -> tuple[int, ...]:
        """As `PretrainMethodSettings.tile_sides`: those of its crops."""
        crops = self.local_crops
        return (self.global_crops.side, *([crops.side] if crops.count else []))

    def must_fit(self, config: Any) -> None:
        """Refuse crops that the encoder cannot take.

        Raises:
            UsageError: names the nearest that it can.
        """
        encoder = config.pipeline.encoder
        sides = {"global_crops": self.global_crops.side}
        if self.local_crops.count:
            sides["local_crops"] = self.local_crops.side
        for part, side in sides.items():
            if not encoder.fits(side):
                raise UsageError(
                    f"{encoder.name} cannot take crops of method.{part}.side={side}",
                    encoder.rule,
                    f"the nearest is method.{part}.side={encoder.nearest_side(side)}",
                )
