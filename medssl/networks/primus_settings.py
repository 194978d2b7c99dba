"""Primus in a pipeline: the vision transformer of volumes that nnssl pre-trains.

Source: Wald, Roy et al., Primus, 2025; sheet of foreign weights, section 1.3. It is built by
dynamic-network-architectures. Free of torch, so that a wrong key is refused at once.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from medssl.networks.choice import Network, NetworkChoice, OwnDecoder
from medssl.networks.flat_settings import sized
from medssl.section import Count, Extent, Patch, Triple, Width

NAME = "primus"


class Size(NamedTuple):
    """Of a published Primus."""

    width: int
    depth: int
    heads: int


PACKAGE = "dynamic-network-architectures"

SIZES = {
    "PrimusS": Size(396, 12, 6),
    "PrimusB": Size(792, 12, 12),
    "PrimusM": Size(864, 16, 12),
    "PrimusL": Size(1056, 24, 16),
}
"""By the name of its class."""


class PrimusSettings(NetworkChoice):
    """Primus: cells as tokens, blocks of attention with rotary and learnt positions."""

    name: Literal["primus"] = Field(
        description="nnssl's transformer, of dynamic-network-architectures"
    )
    width: Width = Field(default=864, ge=6, description="primus: numbers of a token")
    depth: Count = Field(default=16, ge=1, description="primus: blocks of attention")
    heads: Count = Field(
        default=12, ge=1, description="primus: of each block; must leave each a multiple of 6"
    )
    cell_side: Extent = Field(
        default=8,
        ge=2,
        description="primus: in voxels, of what a token stands for; a power of 2",
    )
    input_shape: Triple | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="primus: sides of the images that its positions are for; taken from "
        "train.patch",
    )
    frozen: bool = Field(default=False, description="the encoder does not learn")
    decoder: OwnDecoder = "own"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.width % (6 * self.heads):
            raise ValueError(
                f"primus has {self.width} numbers a token, which {self.heads} heads do not share "
                "out in multiples of 6: change width or heads"
            )
        if self.cell_side & (self.cell_side - 1):
            raise ValueError(f"primus has cells of {self.cell_side} voxels: give a power of 2")
        return self

    @property
    def packages(self) -> dict[str, str]:
        """The package that builds it, where it is installed."""
        try:
            return {PACKAGE: version(PACKAGE)}
        except PackageNotFoundError:
            return {}

    def sized(self, patch: Patch) -> Self:
        """With the sides of the patch, which its positions are for."""
        found = sized(self, patch)
        if found.input_shape not in (None, tuple(patch)):
            raise ValueError(
                f"network.input_shape={list(found.input_shape or ())} is not "
                f"train.patch={list(patch)}, and its positions are for images of one size: set "
                "train.patch to it, or leave it out"
            )
        return found.model_copy(update={"input_shape": tuple(patch)})

    def unsized(self) -> Self:
        """Without the sides that a patch gives it."""
        return self.model_copy(update={"input_shape": None})

    def encoder(self) -> dict[str, Any]:
        """Its name and what shapes its encoder."""
        plain = self.model_dump(mode="json")
        return {key: plain.get(key) for key in ("name", *self.kind.encoder_keys)}


PRIMUS = Network(
    "medssl.networks.primus:build",
    side_multiple=lambda settings: int(settings.cell_side),
    cell=lambda settings: int(settings.cell_side),
    encoder_keys=("width", "depth", "heads", "cell_side", "input_shape"),
)
