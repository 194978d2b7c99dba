"""What a plan is to be made for: the memory and the device at hand, and what is given already."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from medssl.section import Section

_UNITS = {"MB": 1e-3, "MIB": 1.048576e-3, "GB": 1.0, "GIB": 1.073741824, "": 1.0}


def gigabytes(text: str) -> float:
    """GB in a text such as "8GB" or "500 MB".

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*", text)
    factor = _UNITS.get(found[2].upper()) if found else None
    if found is None or factor is None or not float(found[1]):
        raise ValueError("give a memory such as 8GB, 24GB or 40GB")
    return float(found[1]) * factor


def _memory(text: str) -> str:
    gigabytes(text)
    return text


class PlanSettings(Section):
    """The section `plan`: the device and memory for which keys that are not given are chosen."""

    memory: Annotated[str, AfterValidator(_memory)] | None = Field(
        default=None,
        description="that training may take, e.g. 8GB, 24GB, 40GB; null: that of the GPU, in steps "
        "of 8 and 24 GB",
    )
    device: Literal["cpu", "cuda"] | None = Field(
        default=None, description="that it is planned for; null: that of the training"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {} if given == "auto" else given

    @property
    def limit(self) -> float | None:
        """Memory that training may take, GB; None where none is given."""
        return None if self.memory is None else gigabytes(self.memory)


@dataclass(frozen=True)
class Fixed:
    """Values that the pipeline gives, which a plan has to leave as they are.

    Attributes:
        spacing: mm along each axis; None: planned.
        keeps_spacing: whether scans keep their own.
        crop: whether empty margins are cut away; None: planned.
        patch: voxels along each axis; None: planned.
    """

    spacing: tuple[float, ...] | None = None
    keeps_spacing: bool = False
    crop: bool | None = None
    patch: tuple[int, ...] | None = None

    @property
    def leaves_voxels(self) -> bool:
        """Whether nothing is given that voxels of another size would not suit."""
        return not (self.spacing or self.keeps_spacing or self.patch)
