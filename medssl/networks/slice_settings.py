"""Settings of the networks that see volumes slice by slice; free of torch.

Defaults are those of the sheet of joint 2D-3D pre-training (section 9, "ours"); `released` sizes
stand in `pipelines/joint2d3d/joint2d3d_paper.yaml`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from medssl.networks.monai_grader_list import known_graders
from medssl.networks.monai_list import PREFIX
from medssl.section import Channels, Count, Section

if TYPE_CHECKING:
    SliceEncoderName = str
else:
    SliceEncoderName = Literal[
        ("resnet50", "conv", *(f"{PREFIX}{name}" for name in known_graders()))
    ]
    """Known networks, so that messages and schemas list them; those of MONAI have settings of
    their own."""

Pooled = Literal["all", "last", "released"]
POOLED: Any = Field(
    default="all",
    description="means that make a slice's vector: of all levels, each of length 1; of the "
    "last level, as it is; released: all levels, the last one twice",
)


class SliceEncoderSettings(Section):
    """The network of single slices and of images."""

    name: SliceEncoderName = Field(
        default="resnet50",
        description="ResNet-50, a few convolutions for a CPU, or monai:CLASS, a network of MONAI "
        "with its own arguments in place of width, levels and norm",
    )
    width: Channels = Field(default=16, description="conv: channels of the first level; doubled")
    levels: int = Field(default=3, ge=1, le=6, description="conv: halvings of the image's sides")
    norm: Literal["batch", "group"] = Field(
        default="batch", description="group: for very small batches; no statistics are shared"
    )
    pooled: Pooled = POOLED

    @model_validator(mode="after")
    def _sizes_of_conv(self) -> Self:
        for key in ("width", "levels"):
            default = type(self).model_fields[key].default
            if self.name == "resnet50" and getattr(self, key) != default:
                raise ValueError(f"{key} is of the encoder 'conv'; leave it out with resnet50")
        return self

    def gives_way(self, given: Mapping[str, Any]) -> bool:
        """As `Section.gives_way`: networks of MONAI have other keys."""
        return str(given.get("name")).startswith(PREFIX)

    @property
    def over_batch(self) -> bool:
        """Whether its answer to an image depends on the others of the batch, in training."""
        return self.norm == "batch"

    @property
    def packages(self) -> dict[str, str]:
        """Packages beside medssl that it is of: none."""
        return {}

    @property
    def smallest_side(self) -> int:
        """Smallest side of an image, in pixels: one pixel of it is left on the coarsest level."""
        return int(2 ** (5 if self.name == "resnet50" else self.levels))


class SliceTransformerSettings(Section):
    """From the vectors of a volume's slices to one vector of the volume."""

    width: int = Field(default=256, ge=2, le=16384, description="of a token; released: 640")
    layers: Count = Field(default=3, ge=1, description="released: 4")
    heads: Count = Field(default=8, ge=1, description="of the attention; must divide the width")
    points: Count = Field(default=4, ge=1, description="places that a head of a slice looks at")
    hidden: int = Field(default=512, ge=1, le=65536, description="released: 720")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="after every sub-layer")
    norm: Literal["post", "pre"] = Field(default="post", description="after or before a sub-layer")
    position: Literal["mm", "index", "none"] = Field(
        default="mm", description="what the code of a slice's place counts; released: none"
    )
    position_gain: float = Field(
        default=0.5, gt=0, description="factor on the code (sheet, section 12)"
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.heads or self.width % 2:
            raise ValueError("width is even and a multiple of heads")
        return self
