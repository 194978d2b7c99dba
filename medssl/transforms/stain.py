"""Stains of tiles made alike, and marks of pens taken off.

Legend: S pixels of a tile's side.
"""

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from PIL import Image

from medssl.data.slide.pen import pen_marks
from medssl.transforms.intensity import like


class NormalizeStaind(MapTransform):
    """Haematoxylin and eosin of each tile as in a reference, by MONAI's `NormalizeHEStains`.

    Channels come first, MetaTensors stay such, and a tile that is hardly stained stays as it is,
    where MONAI's own transform fails or makes noise of it.

    Source: Macenko et al., A method for normalizing histology slides, ISBI 2009.

    Args:
        keys: tiles [3, S, S], RGB from 0 to 255; uint8 comes out.
        light: intensity of what is not stained.
        absorbance: least of every channel of a stained pixel.
        stained: least share of stained pixels of a tile that is changed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        light: float = 240.0,
        absorbance: float = 0.15,
        stained: float = 0.05,
        allow_missing_keys: bool = False,
    ) -> None:
        from monai.apps.pathology.transforms.stain.array import NormalizeHEStains

        super().__init__(keys, allow_missing_keys)
        if not light > 0 or not 0 < stained <= 1:
            raise ValueError("light is above 0, and stained is a share above 0")
        self.light, self.absorbance, self.stained = light, absorbance, stained
        self._normalise = NormalizeHEStains(tli=light, beta=absorbance)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with tiles of like stains."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            pixels = _pixels(changed[key])
            if self._stained(pixels):
                pixels = self._normalise(pixels)
            changed[key] = _tile(pixels, changed[key])
        return changed

    def _stained(self, pixels: np.ndarray) -> bool:
        """Whether enough pixels [S, S, 3] absorb enough in every channel."""
        least = self.light * np.exp(-self.absorbance) - 1
        return bool((pixels < least).all(-1).mean() >= self.stained)


class RemovePenMarksd(MapTransform):
    """Marks of marker pens become what is not stained, see `medssl.data.slide.pen`.

    A violet pen has the colours of the stain and stays.

    Args:
        keys: tiles [3, S, S], RGB from 0 to 255, on which a stroke is at least 4 pixels wide; uint8
            comes out.
        light: intensity of what is not stained.
    """

    def __init__(
        self, keys: KeysCollection, light: int = 240, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if type(light) is not int or not 0 <= light <= 255:
            raise ValueError("light is a whole number from 0 to 255")
        self.light = light

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with tiles without marks."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            pixels = _pixels(changed[key])
            hsv = np.asarray(Image.fromarray(pixels).convert("HSV"))
            pixels[pen_marks(*np.moveaxis(hsv, -1, 0))] = self.light
            changed[key] = _tile(pixels, changed[key])
        return changed


def _pixels(image: torch.Tensor) -> np.ndarray:
    """A tile [3, S, S] as bytes, uint8 [S, S, 3]; ValueError where it is none."""
    if image.ndim != 3 or len(image) != 3:
        raise ValueError(f"tiles have three channels [3, S, S], not {tuple(image.shape)}")
    tile = image.detach().cpu().numpy().transpose(1, 2, 0)
    pixels: np.ndarray = np.rint(tile).clip(0, 255).astype(np.uint8)
    return pixels


def _tile(pixels: np.ndarray, image: torch.Tensor) -> torch.Tensor:
    """Bytes [S, S, 3] as a tile like `image`."""
    return like(image, torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
