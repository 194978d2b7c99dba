"""A network of MONAI that encodes slices, and the choice among all that do; free of torch."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from medssl.networks.monai_images import MonaiImages
from medssl.networks.monai_list import PREFIX
from medssl.networks.slice_settings import POOLED, Pooled, SliceEncoderSettings


class MonaiSliceSettings(MonaiImages):
    """A network of MONAI without its last layers, of grey images; other keys are its arguments."""

    model_config = ConfigDict(extra="allow")

    pooled: Pooled = POOLED

    @property
    def smallest_side(self) -> int:
        """Smallest side of an image that may be tried, in pixels; more is found by trying."""
        return 1


def _chosen(given: Any) -> Any:
    """The settings of whichever kind the name asks for."""
    name = given.get("name") if isinstance(given, Mapping) else given
    if isinstance(name, str) and name.startswith(PREFIX):
        return MonaiSliceSettings.model_validate(
            {"name": given} if isinstance(given, str) else given
        )
    if isinstance(given, SliceEncoderSettings | MonaiSliceSettings):
        return given
    return SliceEncoderSettings.model_validate(given)


AnySliceEncoder = Annotated[SliceEncoderSettings | MonaiSliceSettings, BeforeValidator(_chosen)]
"""The encoder of slices of a pipeline or of a checkpoint."""
