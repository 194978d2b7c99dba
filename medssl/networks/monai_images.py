"""A network of MONAI that makes features of images: the name of its class and its arguments.

Free of torch and of MONAI, so that a wrong name or argument is refused at once.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from medssl.networks.monai_arguments import argument_mistakes
from medssl.networks.monai_grader_list import OURS, MonaiGrader, known_graders
from medssl.networks.monai_list import PREFIX
from medssl.section import Section

if TYPE_CHECKING:
    MonaiImagesName = str
else:
    MonaiImagesName = Literal[tuple(f"{PREFIX}{name}" for name in known_graders())]
    """Names, so that messages list them."""


class MonaiImages(Section):
    """What all parts have in common that name such a network; other keys are its arguments."""

    model_config = ConfigDict(extra="allow")

    name: MonaiImagesName = Field(description="monai:CLASS, a class of monai.networks.nets")

    @model_validator(mode="after")
    def _has_its_arguments(self) -> Self:
        given, monai = self.arguments, self.monai
        found = [*argument_mistakes(self.name, given, [*monai.arguments], monai.required, OURS)]
        if found:
            raise ValidationError.from_exception_data(self.name, found)
        return self

    @property
    def monai(self) -> MonaiGrader:
        """The constructor of its class."""
        return known_graders()[self.name.removeprefix(PREFIX)]

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that are given."""
        return dict(self.model_extra or {})

    @property
    def over_batch(self) -> bool:
        """Whether its answer to an image depends on the others of the batch, in training."""
        chosen = {**self.monai.arguments, **self.arguments}.get("norm")
        return self.monai.batch_norm or "batch" in json.dumps(chosen).lower()

    @property
    def packages(self) -> dict[str, str]:
        """MONAI's version."""
        return {"monai": version("monai")}


def by_name(
    monai: type[MonaiImages], other: type[Section], *kept: type[Section]
) -> BeforeValidator:
    """Settings of the kind that the name asks for: `monai` for a class of MONAI, else `other`.

    Settings of either kind, and those that are `kept`, stay as they are.
    """

    def chosen(given: Any) -> Any:
        name = given.get("name") if isinstance(given, Mapping) else given
        if isinstance(name, str) and name.startswith(PREFIX):
            return monai.model_validate({"name": given} if isinstance(given, str) else given)
        return given if isinstance(given, (monai, other, *kept)) else other.model_validate(given)

    return BeforeValidator(chosen)
