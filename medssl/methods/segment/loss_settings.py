"""The section `loss` of a pipeline: what labels cost, in place of the method's own loss.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from medssl.errors import UsageError
from medssl.methods.segment.monai_losses import GIVEN, OF_SHAPES, MonaiLoss, known
from medssl.mistakes import UNKNOWN_ARGUMENT, nearest
from medssl.section import Section

PREFIX = "monai:"


class LossChoice(Section):
    """A loss of MONAI; whatever else is given is an argument of its class."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="monai:CLASS, a class of monai.losses, e.g. monai:DiceFocalLoss")
    weights: dict[str, float] = Field(
        default={},
        description="of classes, by name, background too; those that are not named have 1. For "
        "losses that weigh classes, such as monai:DiceCELoss",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        losses = [PREFIX + name for name in known()]
        if self.name not in losses:
            raise ValueError(f"no loss is called '{self.name}'; {nearest(self.name, losses)}")
        takes = self.monai.arguments
        wrong = [
            InitErrorDetails(type=_unknown(self.name, key, list(takes)), loc=(key,), input=value)
            for key, value in self.arguments.items()
            if key not in takes
        ]
        if wrong:
            raise ValidationError.from_exception_data(self.name, wrong)
        if self.weights and not self.monai.weighs:
            weighing = ", ".join(PREFIX + name for name, one in known().items() if one.weighs)
            raise ValueError(f"{self.name} weighs no classes; these do: {weighing}")
        if odd := [name for name, weight in self.weights.items() if weight < 0]:
            raise ValueError(f"the weight of {odd[0]} is below 0")
        return self

    @property
    def monai(self) -> MonaiLoss:
        """The constructor of its class."""
        return known()[self.name.removeprefix(PREFIX)]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Those that are given."""
        return dict(self.model_extra or {})

    def must_fit(self, classes: Sequence[str], partial: bool) -> None:
        """Refuse weights of classes that there are not, and losses that need every voxel.

        Args:
            classes: names, background first.
            partial: whether masks may be ignored in part.

        Raises:
            UsageError: says what would do.
        """
        for name in self.weights:
            if name not in classes:
                raise UsageError(
                    f"loss.weights names '{name}', which is no class", do=nearest(name, classes)
                )
        if partial and self.name.removeprefix(PREFIX) in OF_SHAPES:
            raise UsageError(
                f"loss.name={self.name} looks at whole shapes, and the masks are ignored in part",
                "no voxel can be left out of it",
                "choose a loss of single voxels, such as monai:DiceFocalLoss",
            )


def _unknown(name: str, key: str, takes: list[str]) -> PydanticCustomError:
    what = f"{name} has no such argument"
    if key in GIVEN:
        what, takes = "medssl gives it by itself; classes are weighed by `weights`", []
    return PydanticCustomError(UNKNOWN_ARGUMENT, "{what}", {"what": what, "known": takes})
