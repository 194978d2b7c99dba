"""The classes that masks mark: value or colour, name and codes."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, field_validator

from medssl.section import Section

IGNORED = 255
"""Class index of voxels of a mask that nobody has looked at."""

LabelValue = Annotated[int, Field(strict=True, ge=1, le=255)]
"""What a mask holds where a class is."""


class Code(Section):
    """A coded concept, as DICOM wants it, e.g. SNOMED CT."""

    value: str = Field(description="of the concept in its scheme")
    scheme: str = Field(default="SCT", description="coding scheme; SCT: SNOMED CT")
    meaning: str = Field(description="of the code, in words")


class Label(Section):
    """One foreground class of a mask."""

    value: LabelValue = Field(
        description="voxel value in the mask files, and in those that are predicted"
    )
    name: str = Field(description="of the class, in reports and file names")
    colour: str | None = Field(
        default=None,
        exclude_if=lambda given: given is None,
        description="red, green and blue in masks that are pictures in colour, e.g. '#ff0000'; "
        "black is background; null: masks hold the values",
    )
    code: Code | None = None
    category: Code | None = None
    one_part: bool = Field(
        default=False,
        description="whether it is one connected part in every patient; predicted masks then keep "
        "their largest part alone, unless predict.largest_component is given",
    )

    @field_validator("value", mode="before")
    @classmethod
    def _is_one_value(cls, given: Any) -> Any:
        if isinstance(given, list | tuple):
            raise ValueError("a label has one value; name unions of values under `regions`")
        return given

    @field_validator("colour", mode="before")
    @classmethod
    def _is_a_colour(cls, given: Any) -> Any:
        if given is None:
            return None
        parts = list(given) if isinstance(given, list | tuple) else []
        if len(parts) == 3 and all(type(one) is int and 0 <= one <= 255 for one in parts):
            given = "#" + "".join(f"{one:02x}" for one in parts)
        text = str(given).lower()
        if not re.fullmatch(r"#[0-9a-f]{6}", text):
            raise ValueError("a colour is written '#ff0000', in quotes, or [255, 0, 0]")
        if text == "#000000":
            raise ValueError("black is background")
        return text

    @property
    def rgb(self) -> tuple[int, int, int] | None:
        """The colour as numbers from 0 to 255."""
        if self.colour is None:
            return None
        red, green, blue = (int(self.colour[place : place + 2], 16) for place in (1, 3, 5))
        return red, green, blue


def must_all_be_coloured(labels: Sequence[Label]) -> None:
    """Refuse colours that do not tell labels apart.

    Raises:
        ValueError: two are the same, or some labels have one and others none.
    """
    colours = [label.colour for label in labels if label.colour is not None]
    if len(set(colours)) != len(colours):
        raise ValueError("two of the labels have one colour")
    if 0 < len(colours) < len(labels):
        bare = next(label.name for label in labels if label.colour is None)
        raise ValueError(f"some labels have a colour and '{bare}' has none: give all or none")
