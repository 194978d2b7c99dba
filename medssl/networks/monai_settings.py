"""A network of MONAI in a pipeline: the name of its class, and that class's own arguments.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medssl.errors import UsageError
from medssl.networks.choice import Network, NetworkChoice, NetworkName, OwnDecoder
from medssl.networks.flat_settings import Dims, sized
from medssl.networks.image_fpn_settings import NAME as IMAGE_FPN
from medssl.networks.image_fpn_settings import ImageFpnSettings
from medssl.networks.monai_arguments import argument_mistakes
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS, NORM_LAST
from medssl.networks.monai_list import CHANNELS, DIMENSIONS, PREFIX, MonaiClass, known
from medssl.networks.primus_settings import NAME as PRIMUS
from medssl.networks.primus_settings import PrimusSettings
from medssl.networks.settings import UNETS, NetworkSettings
from medssl.networks.unet_settings import UNetSettings
from medssl.section import Patch

OWN_LOSSES = {"monai:AutoencoderKL": 1e-6, "monai:SegResNetVAE": 0.1, "monai:VQVAE": 1.0}
"""Classes with a loss of their own, and its published weight: Rombach et al. 2022, Myronenko 2018,
van den Oord et al. 2017."""


class MonaiSettings(NetworkChoice):
    """A network of MONAI; whatever else is given is an argument of its class."""

    model_config = ConfigDict(extra="allow")

    name: NetworkName = Field(description="monai:CLASS, a class of monai.networks.nets")
    frozen: bool = Field(default=False, description="the encoder does not learn")
    decoder: OwnDecoder = "own"
    spatial_dims: Dims = None
    own_loss: float | None = Field(
        default=None,
        ge=0,
        exclude_if=lambda given: given is None,
        description="weight of the loss that the network has of its own; null: as published, "
        "AutoencoderKL 1e-6, SegResNetVAE 0.1, VQVAE 1",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.must_be_probed()
        if self.own_loss is not None and self.weight_of_own_loss is None:
            raise ValueError(f"{self.name} has no loss of its own: leave own_loss out")
        if self.arguments.get("pretrained"):
            raise ValueError(
                f"pretrained={str(self.arguments['pretrained']).lower()} has {self.name} fetch "
                "weights, which medssl never does: leave it out; pretrain=ENCODER starts from one "
                "of yours"
            )
        takes = [*self.monai.arguments, *filter(None, [self.monai.sides])]
        given, ours = self.arguments, {*CHANNELS, *DIMENSIONS}
        found = [*argument_mistakes(self.name, given, takes, self.monai.required, ours)]
        if found:
            raise ValidationError.from_exception_data(self.name, found)
        return self

    @property
    def monai(self) -> MonaiClass:
        """The constructor of its class."""
        return known()[self.name.removeprefix(PREFIX)]

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that are given."""
        return dict(self.model_extra or {})

    @property
    def weight_of_own_loss(self) -> float | None:
        """Of the loss that it has beside what a method makes of its logits; None: it has none."""
        published = OWN_LOSSES.get(self.name)
        return published if published is None or self.own_loss is None else self.own_loss

    @property
    def kind(self) -> Network:
        """A network whose patches are found by trying."""
        return Network(
            "medssl.networks.monai_network:build",
            side_multiple=lambda _: 1,
            cell=lambda _: self._cell(),
            encoder_keys=() if self._unusual() else MONAI_ENCODERS.get(self.name, ()),
            flat=self.monai.dimensions is not None,
        )

    def _cell(self) -> int:
        if self.name == "monai:UNETR":
            return 16
        side = self._complete().get("patch_size", 1) if self.name == "monai:SwinUNETR" else 1
        return side if isinstance(side, int) and side > 0 else 1

    def _unusual(self) -> tuple[str, str] | None:
        """Why its encoder cannot be pre-trained though others of its class can, and what to do."""
        given = self.arguments
        if self.name == "monai:UNETR" and given.get("proj_type", "conv") != "conv":
            return "it embeds no cells by a convolution", "set network.proj_type=conv"
        strides = given.get("strides") or [1]
        first = strides[0] if isinstance(strides, list | tuple) else 1
        if self.name == "monai:UNet" and isinstance(first, list | tuple) and len(set(first)) > 1:
            return (
                "its first level has another stride along each axis",
                "give one number as the first of network.strides",
            )
        return None

    def _complete(self) -> dict[str, Any]:
        return {**self.monai.arguments, **self.arguments}

    @property
    def packages(self) -> dict[str, str]:
        """MONAI's version."""
        return {"monai": version("monai")}

    def sized(self, patch: Patch) -> Self:
        """2-D where the patch is flat; with its sides, where the class asks for the image's."""
        found, key = sized(self, patch), self.monai.sides
        if key is None:
            return found
        sides = list(patch[:2] if found.is_flat else patch)
        if self.arguments.get(key, sides) != sides:
            raise ValueError(
                f"network.{key}={self.arguments[key]} is not train.patch={list(patch)}: leave it "
                "out, as it is taken from there"
            )
        return found.model_copy(update={key: sides})

    def unsized(self) -> Self:
        """Without the sides and axes that a patch gives it."""
        return type(self)(**self.model_dump(exclude={str(self.monai.sides), "spatial_dims"}))

    def must_have_encoder(self) -> None:
        """Also refuses arguments that leave its class without an encoder of the usual kind.

        Raises:
            UsageError: says what would do.
        """
        if unusual := self._unusual():
            what = f"the encoder of this {self.name} cannot be pre-trained"
            raise UsageError(what, *unusual)
        super().must_have_encoder()

    @property
    def ends_in_instance_norm(self) -> str | None:
        """The argument by which each level of its encoder ends in an instance norm; None: none."""
        key = NORM_LAST.get(self.name)
        chosen = json.dumps(self._complete().get(key or "")).lower()
        return key if "instance" in chosen else None

    def encoder(self) -> dict[str, Any] | None:
        """Its name and the arguments that shape its encoder."""
        keys, complete = self.kind.encoder_keys, self._complete()
        return {"name": self.name, **{key: complete[key] for key in keys}} if keys else None


def _chosen(given: Any) -> Any:
    """The settings of whichever kind the name asks for."""
    name = given.get("name") if isinstance(given, Mapping) else given
    own: type[NetworkChoice] | None = None
    if isinstance(name, str):
        known: dict[str, type[NetworkChoice]] = {
            IMAGE_FPN: ImageFpnSettings,
            PRIMUS: PrimusSettings,
        }
        known |= dict.fromkeys(UNETS, UNetSettings)
        own = MonaiSettings if name.startswith(PREFIX) else known.get(name)
    if own is not None:
        return own.model_validate({"name": given} if isinstance(given, str) else given)
    return given if isinstance(given, NetworkChoice) else NetworkSettings.model_validate(given)


AnyNetwork = Annotated[
    NetworkSettings | UNetSettings | ImageFpnSettings | PrimusSettings | MonaiSettings,
    BeforeValidator(_chosen),
]
"""The network of a pipeline or of a checkpoint."""
