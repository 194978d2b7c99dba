"""A network of MONAI that grades: the name of its class, and that class's own arguments.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from medssl.networks.grader_settings import GraderSettings, Head, Nearest
from medssl.networks.monai_images import MonaiImages, by_name
from medssl.section import Extent


class MonaiGraderSettings(MonaiImages):
    """A network of MONAI for grades; whatever else is given is an argument of its class."""

    dropout: float = Field(default=0.35, ge=0, lt=1, description="before the head")
    head: Head = "softmax"
    nearest: Nearest = 20
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


AnyGrader = Annotated[
    GraderSettings | MonaiGraderSettings, by_name(MonaiGraderSettings, GraderSettings)
]
"""The network of a pipeline or of a checkpoint that grades radiographs."""
