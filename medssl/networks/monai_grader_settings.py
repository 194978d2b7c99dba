"""A network of MONAI that grades: the name of its class, and that class's own arguments.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from medssl.networks.grader_settings import GraderSettings
from medssl.networks.monai_images import MonaiImages
from medssl.networks.monai_list import PREFIX
from medssl.section import Extent

GROUPS = "[group, {num_groups: 8}]"
"""A norm that all take whose norm may be chosen. One of single maps makes all their means equal, so
that a network that averages its last map learns little."""


class MonaiGraderSettings(MonaiImages):
    """A network of MONAI for grades; whatever else is given is an argument of its class."""

    dropout: float = Field(default=0.35, ge=0, lt=1, description="before the head")
    head: Literal["softmax", "cumulative"] = "softmax"
    weights: str | None = None
    matched: float = Field(default=1.0, ge=0, le=1)
    frozen: bool = False
    side: Extent | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda given: given is None,
        description="of the crops in pixels, taken from preprocess where the class asks for it",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.side is not None and self.monai.sides is None:
            raise ValueError(f"{self.name} takes crops of any side: leave side out")
        return self

    def sized(self, side: int) -> Self:
        """With the side of the crops, where the class asks for it.

        Raises:
            ValueError: it says another one.
        """
        if self.monai.sides is None:
            return self
        if self.side not in (None, side):
            raise ValueError(
                f"network.side={self.side} is not that of the crops, {side}: leave it out, as it "
                "is taken from preprocess"
            )
        return self.model_copy(update={"side": side})

    @property
    def smallest_side(self) -> int:
        """Smallest side of a crop that may be tried, in pixels; more is found by trying."""
        return 1

    @property
    def over_batch(self) -> bool:
        """Whether its answer to an image depends on the others of the batch, in training."""
        chosen = {**self.monai.arguments, **self.arguments}.get("norm")
        return self.monai.batch_norm or "batch" in json.dumps(chosen).lower()

    @property
    def norm_advice(self) -> tuple[str, str]:
        """What normalises over the batch, as keys say it, and what to set instead."""
        if not self.monai.batch_norm:
            return f"network.name={self.name} with batch norms", f"set network.norm={GROUPS}"
        return (
            f"network.name={self.name}, whose batch norms are built in,",
            f"choose another, e.g. monai:DenseNet121 with network.norm={GROUPS}",
        )


def _chosen(given: Any) -> Any:
    """The settings of whichever kind the name asks for."""
    name = given.get("name") if isinstance(given, Mapping) else given
    if isinstance(name, str) and name.startswith(PREFIX):
        return MonaiGraderSettings.model_validate(
            {"name": given} if isinstance(given, str) else given
        )
    if isinstance(given, GraderSettings | MonaiGraderSettings):
        return given
    return GraderSettings.model_validate(given)


AnyGrader = Annotated[GraderSettings | MonaiGraderSettings, BeforeValidator(_chosen)]
"""The network of a pipeline or of a checkpoint that grades radiographs."""
