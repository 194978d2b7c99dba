"""Settings of the networks that grade radiographs; free of torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medssl.networks.monai_grader_list import known_graders
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_slice_settings import AnySliceEncoder
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.slice_settings import SliceEncoderSettings
from medssl.networks.tile_settings import RESNET_SMALLEST, TileEncoderSettings
from medssl.section import Channels, Items, Section

SIAMESE_SMALLEST = 17
"""Smallest side in pixels: below, the last map has two rows, which InstanceNorm makes the same for
every image."""

Head = Literal["softmax", "cumulative", "neighbours"]

Nearest = Annotated[
    Items,
    Field(
        ge=1,
        exclude_if=lambda given: given == 20,
        description="head: neighbours: so many of the nearest labelled images vote",
    ),
]

if TYPE_CHECKING:
    GraderName = str
else:
    _OURS = ("siamese", "resnet", "slices", "images")
    GraderName = Literal[(*_OURS, *(f"{PREFIX}{name}" for name in known_graders()))]
    """Known networks, so that messages and schemas list them; those of MONAI have settings of
    their own."""


class GraderSettings(Section):
    """Which network, and how large; defaults are the paper's (sheet of Semixup, section 7)."""

    name: GraderName = Field(
        default="siamese",
        description="resnet: ResNet18 with InstanceNorm for every crop; slices: the encoder that "
        "joint2d3d pre-trains; images: an encoder of images, such as one of `medssl import`; "
        "monai:CLASS: a network of MONAI with its own arguments",
    )
    width: Channels = Field(default=32, description="siamese: channels of the first stage")
    dropout: float = Field(
        default=0.35, ge=0, lt=1, description="after three stages and before the head; others: here"
    )
    pooling: Literal["horizontal_vertical", "vertical_horizontal", "average"] = Field(
        default="horizontal_vertical",
        description="siamese: of the last map; maximum over one axis, 1 x 1 convolution, maximum "
        "over the other; or the plain average",
    )
    init: Literal["normal", "he"] = Field(
        default="normal",
        description="siamese: N(0, 0.02^2) everywhere, as published; or He's for the convolutions",
    )
    head: Head = Field(
        default="softmax",
        description="cumulative: one score and ordered thresholds (proportional odds); neighbours: "
        "as the nearest labelled images, with method=knn_grading",
    )
    nearest: Nearest = 20
    slice_encoder: AnySliceEncoder = Field(
        default=SliceEncoderSettings(), description="slices: as it was pre-trained"
    )
    image_encoder: AnyTileEncoder = Field(
        default=TileEncoderSettings(),
        exclude_if=lambda given: given == TileEncoderSettings(),
        description="images: the encoder, to whose side crops are resized; its batch norms rest",
    )
    weights: str | None = Field(
        default=None, description="file of a pre-trained encoder; null: random from the seed"
    )
    matched: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the parameters that `weights` must hold; less excuses "
        "whole blocks at the end, never a part of one",
    )
    frozen: bool = Field(
        default=False, description="the encoder does not learn: what is trained is a linear probe"
    )

    @model_validator(mode="after")
    def _of_this_network(self) -> Self:
        for key in ("width", "pooling", "init"):
            default = type(self).model_fields[key].default
            if self.name != "siamese" and getattr(self, key) != default:
                raise ValueError(f"{key} is of the siamese network; leave it out with {self.name}")
        if self.image_encoder.weights is not None or self.image_encoder.adapters is not None:
            raise ValueError(
                "image_encoder takes no weights and adapters here: set network.weights"
            )
        return self

    def gives_way(self, given: Mapping[str, Any]) -> bool:
        """As `Section.gives_way`: networks of MONAI have other keys."""
        return str(given.get("name")).startswith(PREFIX)

    @property
    def packages(self) -> dict[str, str]:
        """Packages beside medssl that its encoder is of."""
        return self.slice_encoder.packages if self.name == "slices" else {}

    @property
    def smallest_side(self) -> int:
        """Smallest side of a crop that the network takes, in pixels."""
        if self.name == "images":
            return 1  # crops are resized
        if self.name == "slices":
            return self.slice_encoder.smallest_side
        return SIAMESE_SMALLEST if self.name == "siamese" else RESNET_SMALLEST

    @property
    def over_batch(self) -> bool:
        """Whether its answer to an image depends on the others of the batch."""
        return self.name == "slices" and self.slice_encoder.over_batch
