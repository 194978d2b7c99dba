"""The chain from a radiograph to the crops that a network sees, at work and watched.

Legend: H W pixels of the file, V crops of an image, S pixels of a side.
"""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from medssl.data.radiograph.image import Radiograph
from medssl.errors import DataError, UsageError
from medssl.transforms.compose import Watched
from medssl.transforms.radiograph_chain import IN_MM, Picture, RadiographPreprocess
from medssl.transforms.radiograph_reader import LoadRadiographd, has_scale, source_of
from medssl.transforms.step import IMAGE

BYTES = "end it with {ScaleIntensityd: {minv: 0, maxv: 255}}, or scale before the crops"


class WatchedPicture(Watched):
    """A transform of radiographs of which every fault is told; nothing has to lead back."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """What the transform makes of `data`.

        Raises:
            UsageError: it fails, or makes something else of an image.
            DataError: it asks for mm that the file does not say.
        """
        if self.name in IN_MM and not has_scale(data[IMAGE]):
            raise DataError(
                f"{source_of(data[IMAGE])} does not say its pixel spacing",
                f"the transform {self.name} asks for mm",
                "state it in the data spec (layout.spacing), give --set spacing=MM when "
                "predicting, or leave the transform out",
            )
        return super().__call__(data)

    def _look(self, before: Mapping[Hashable, Any], after: Mapping[Hashable, Any]) -> None:
        image = after.get(IMAGE)
        if image is None:
            raise UsageError(f"the transform {self.name} drops the image", do="leave it out")
        if not isinstance(image, torch.Tensor) or image.ndim != 3 or not image.numel():
            raise UsageError(
                f"the transform {self.name} makes something else of the image",
                f"{shape_of(before[IMAGE])} becomes {shape_of(image)}",
                "leave it out, or let it return a tensor [channels, rows, columns]",
            )
        if image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise UsageError(
                f"the transform {self.name} makes values of {source_of(before[IMAGE])} that are "
                "not finite",
                "NaN or infinity cannot be learnt from",
                "correct its arguments, or leave it out",
            )


def shape_of(image: Any) -> str:
    """Sides of an image in words, e.g. "1x300x200"."""
    shape = getattr(image, "shape", None)
    return type(image).__name__ if shape is None else "x".join(map(str, shape))


class CropPreparation:
    """The chain from an image to crops, without what draws; the same wherever images are seen.

    Raises:
        UsageError: a transform refuses its arguments.
    """

    def __init__(self, chain: RadiographPreprocess) -> None:
        self._chain = chain.certain
        self._load = LoadRadiographd(IMAGE)
        self._steps = [WatchedPicture(step) for step in self._chain.steps]

    def __call__(self, image: Radiograph) -> np.ndarray:
        """The crops of an image, uint8 [V, S, S].

        Raises:
            DataError: a transform asks for mm or for a side, and the image does not say them.
            UsageError: a transform fails, or no square crops of bytes come out.
        """
        picture = self._chain.picture or picture_after(self._chain)
        crops = self._made(image)
        wanted = (len(picture.views), picture.side, picture.side)
        if crops.shape != wanted:
            raise UsageError(
                f"preprocess makes {shape_of(crops)} of {image.source}",
                f"it makes {'x'.join(map(str, wanted))} of other images",
                "end it with what makes crops of one size of all, e.g. medssl:SquareCropd",
            )
        return crops

    def _made(self, image: Radiograph) -> np.ndarray:
        data: dict[Hashable, Any] = self._load({IMAGE: image})
        for step in self._steps:
            data = step(data)
        made = data[IMAGE].detach().cpu().numpy()
        if made.dtype == np.uint8:
            return np.ascontiguousarray(made)
        return as_bytes(made, image.source, BYTES)


def as_bytes(made: np.ndarray, source: str, do: str) -> np.ndarray:
    """Values rounded to bytes; `do` says what to do where they cannot be.

    Raises:
        UsageError: bytes cannot hold them.
    """
    low, high = float(made.min()), float(made.max())
    if low < -0.5 or high >= 255.5 or low < high <= 1:
        raise UsageError(
            f"preprocess makes values from {low:.4g} to {high:.4g} of {source}",
            "they are kept as whole numbers from 0 to 255",
            do,
        )
    rounded: np.ndarray = np.rint(made).clip(0, 255).astype(np.uint8)
    return rounded


@lru_cache(maxsize=32)
def picture_after(chain: RadiographPreprocess) -> Picture:
    """What a chain makes of an image, tried on one that is higher than wide.

    Raises:
        UsageError: a transform refuses its arguments or fails, or no square comes out.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, (300, 200)).astype(np.float32)
    crops = CropPreparation(chain)._made(Radiograph("a trial image", pixels, (0.5, 0.5), "R"))
    count, rows, columns = crops.shape
    if rows != columns:
        raise UsageError(
            "preprocess makes no square picture for the network",
            f"an image of 300 x 200 pixels becomes {shape_of(crops)}",
            "end it with joint, radiograph, medssl:SquareCropd or a Resized to a square",
        )
    return Picture(chain.names(count), rows)
