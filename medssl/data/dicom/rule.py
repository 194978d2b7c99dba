"""Which series of a DICOM study a channel is, as a data spec says it; free of numpy."""

import re

from pydantic import Field, field_validator

from medssl.section import Section


class SeriesRule(Section):
    """What the series that a channel is taken from must be; what is not said does not matter."""

    description: str | None = Field(
        default=None,
        description="regular expression that is found in the description, the protocol or the "
        "sequence name; capitals count as small letters",
    )
    without: str | None = Field(default=None, description="the same, that is found in none of them")
    number: int | None = Field(
        default=None, lt=2**31, description="SeriesNumber, to choose one by hand"
    )
    agent: bool | None = Field(default=None, description="whether a contrast agent was given")
    slice_mm: float | None = Field(default=None, gt=0, description="greatest distance of slices")
    image_type: tuple[str, ...] = Field(
        default=(),
        description="words that ImageType must hold, e.g. [ADC]; maps and projections, which are "
        "refused otherwise, are taken so",
    )
    part: str | None = Field(
        default=None,
        description="regular expression that fits the echo, phase or b-value that is meant, as "
        "`medssl predict` names them, e.g. 'b-value 1000'",
    )

    @field_validator("description", "without", "part")
    @classmethod
    def _is_expression(cls, given: str | None) -> str | None:
        try:
            re.compile(given or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"the expression is wrong: {error}") from None
        return given

    @property
    def names_series(self) -> bool:
        """Whether it names a series by what it is called, or by its kind."""
        named = self.description, self.number, self.image_type or None
        return any(one is not None for one in named)
