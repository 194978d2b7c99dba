"""The U-Nets of nnU-Net in a pipeline: channels, strides, kernels and blocks, stage by stage.

Source: sheet of planning, sections 2.2 to 2.4. Free of torch, so that a wrong key is refused at
once.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, NamedTuple, Self

from annotated_types import MinLen
from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from medssl.errors import UsageError
from medssl.mistakes import UNKNOWN_ARGUMENT
from medssl.networks.choice import Network, NetworkChoice, OwnDecoder
from medssl.section import Channels, Patch, Triple, check_patch

MOST_BLOCKS = 16

Count = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]

RESIDUAL_BLOCKS = (1, 3, 4, 6)
"""Of the stages of a residual encoder; all deeper ones have as many as the last."""


class Stage(NamedTuple):
    """One resolution of a U-Net.

    Attributes:
        width: channels.
        stride: against the stage before, along every axis.
        kernel: sides of the convolutions.
        blocks: convolutions, or residual blocks, of the encoder.
        convs: convolutions of the decoder; 0 in the deepest stage, which has none.
    """

    width: int
    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    blocks: int
    convs: int


class UNetSettings(NetworkChoice):
    """A U-Net of nnU-Net; what is not given follows from the number of its stages."""

    name: Literal["plain_unet", "residual_unet"] = Field(
        description="convolutions alone, or an encoder of residual blocks"
    )
    features: Annotated[tuple[Channels, ...], MinLen(2)] = Field(
        default=(32, 64, 128, 256),
        description="plain_unet and residual_unet: channels of each stage, finest first",
    )
    strides: tuple[Triple, ...] | None = Field(
        default=None,
        description="plain_unet and residual_unet: of each stage against the one before, along "
        "every axis, of which a 2-D network takes two; null: 1 in the first, 2 in all others",
    )
    kernels: tuple[Triple, ...] | None = Field(
        default=None,
        description="plain_unet and residual_unet: sides of the convolutions of each stage; null: "
        "3 along every axis",
    )
    blocks: tuple[Count, ...] | None = Field(
        default=None,
        description="convolutions of each stage of plain_unet, or residual blocks of "
        "residual_unet; null: 2, or 1, 3, 4, 6, 6 and so on",
    )
    decoder_convs: Count | tuple[Count, ...] | None = Field(
        default=None,
        description="plain_unet and residual_unet: convolutions of the decoder, in all stages or "
        "in each, finest first; null: 2, or 1 in residual_unet",
    )
    deep_supervision: bool = Field(
        default=True,
        description="plain_unet and residual_unet: coarser stages of the decoder are taught too, "
        "all but the coarsest",
    )
    frozen: bool = Field(default=False, description="the encoder does not learn")
    decoder: OwnDecoder = "own"

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        known = list(cls.model_fields)
        what = f"{given.get('name')} has no such key"
        error = PydanticCustomError(UNKNOWN_ARGUMENT, "{what}", {"what": what, "known": known})
        if unknown := [key for key in given if key not in known]:
            details = [
                InitErrorDetails(type=error, loc=(str(key),), input=given[key]) for key in unknown
            ]
            raise ValidationError.from_exception_data(cls.__name__, details)
        features = given.get("features", cls.model_fields["features"].default)
        if not isinstance(features, list | tuple):
            return given
        stages, residual = len(features), given.get("name") == "residual_unet"
        usual: dict[str, Any] = {
            "strides": [[1, 1, 1], *([[2, 2, 2]] * (stages - 1))],
            "kernels": [[3, 3, 3]] * stages,
            "blocks": [*RESIDUAL_BLOCKS, *[RESIDUAL_BLOCKS[-1]] * stages]
            if residual
            else [2] * stages,
            "decoder_convs": 1 if residual else 2,
        }
        usual["blocks"] = usual["blocks"][:stages]
        full = {**given, **{key: usual[key] for key in usual if given.get(key) is None}}
        if isinstance(full["decoder_convs"], int) and not isinstance(full["decoder_convs"], bool):
            full["decoder_convs"] = [full["decoder_convs"]] * (stages - 1)
        return full

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        stages = len(self.features)
        for key, wanted in {
            "strides": stages, "kernels": stages, "blocks": stages, "decoder_convs": stages - 1
        }.items():  # fmt: skip
            found = len(getattr(self, key))
            if found != wanted:
                raise ValueError(
                    f"{key} has {found} entries and is wanted for {wanted} stages, as features has "
                    f"{stages}{' and the deepest has no decoder' * (wanted < stages)}"
                )
        first, *_ = self.stages
        if set(first.stride) != {1}:
            raise ValueError(f"strides starts with {list(first.stride)}; give [1, 1, 1]")
        for stage in self.stages:
            if any(side % 2 == 0 for side in stage.kernel):
                raise ValueError(
                    f"kernels has {list(stage.kernel)}; give odd sides, which have a middle"
                )
        return self

    @property
    def packages(self) -> dict[str, str]:
        """No packages beside medssl."""
        return {}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage, finest first; in 2-D with two axes."""
        convs = self.decoder_convs
        counts = (*(convs if isinstance(convs, tuple) else ()), 0)
        axes = 2 if self.is_flat else 3
        strides, kernels = (
            [sides[:axes] for sides in given or ()] for given in (self.strides, self.kernels)
        )
        return tuple(map(Stage, self.features, strides, kernels, self.blocks or (), counts))

    @property
    def side_multiples(self) -> Triple:
        """Product of the strides along each axis; 1 along the third of 2-D images."""
        x, y, *deep = map(prod, zip(*(stage.stride for stage in self.stages), strict=True))
        return x, y, deep[0] if deep else 1

    def must_take(self, patch: Patch, items: int = 2) -> None:
        """Refuse a patch that the strides do not divide, or of which one value is left.

        Raises:
            UsageError: names the nearest patch that it can take.
        """
        check_patch(patch, self.side_multiples, self.is_flat)
        if patch == self.side_multiples:
            axis = max(range(3), key=lambda one: (patch[one] > 1, one))
            larger = [2 * side if one == axis else side for one, side in enumerate(patch)]
            raise UsageError(
                f"train.patch={list(patch)} is too small for network.name={self.name}",
                "one value is left of it on the coarsest stage, and its deviation is 0",
                f"the nearest that does is train.patch={larger}, or leave out a stage of network",
            )

    def encoder(self) -> dict[str, Any]:
        """Its name and what shapes its encoder, stage by stage."""
        plain = self.model_dump(mode="json")
        return {key: plain[key] for key in ("name", *self.kind.encoder_keys)}


_ENCODER = ("features", "strides", "kernels", "blocks")

PLAIN_UNET = Network("medssl.networks.unet:build", encoder_keys=_ENCODER, flat=True)
RESIDUAL_UNET = Network("medssl.networks.unet:build", encoder_keys=_ENCODER, flat=True)
