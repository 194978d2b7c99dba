"""A network of MONAI that encodes slices, and the choice among all that do; free of torch."""

from typing import Annotated

from medssl.networks.monai_images import MonaiImages, by_name
from medssl.networks.slice_settings import POOLED, Pooled, SliceEncoderSettings


class MonaiSliceSettings(MonaiImages):
    """A network of MONAI without its last layers, of grey images; other keys are its arguments."""

    pooled: Pooled = POOLED

    @property
    def smallest_side(self) -> int:
        """Smallest side of an image that may be tried, in pixels; more is found by trying."""
        return 1


AnySliceEncoder = Annotated[
    SliceEncoderSettings | MonaiSliceSettings, by_name(MonaiSliceSettings, SliceEncoderSettings)
]
"""The encoder of slices of a pipeline or of a checkpoint."""
