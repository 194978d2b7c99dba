"""Our reader of radiographs as MONAI knows readers, and the transform that loads with it.

Legend: H W pixels of the file, rows first.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import MapTransform

from medssl.data.radiograph.image import Radiograph, Side
from medssl.data.radiograph.read import is_radiograph, read_radiograph
from medssl.errors import DataError

UNIT = "unit"
"""Key of what MONAI knows of an image: of its affine, "mm", or "um" of tiles. Without it the affine
has no scale: it says how much taller than wide a pixel is."""

SIDE = "side"
"""Key of the side of the body, "L" or "R"; missing where it is not known."""


class RadiographReader(ImageReader):
    """Reads PNG, JPEG and DICOM files as `medssl.data.radiograph.read.read_radiograph` does.

    Bone is bright: values are rescaled, those of MONOCHROME1 inverted, and what cannot be read
    exactly is a DataError that names the file. It serves
    `monai.transforms.LoadImaged(reader=RadiographReader())` too, which wraps such an error in its
    own.
    """

    def verify_suffix(self, filename: Any) -> bool:
        """Whether the name is that of a picture or of a DICOM file."""
        many = filename if isinstance(filename, list | tuple) else [filename]
        return all(is_radiograph(Path(one)) for one in many)

    def read(self, data: Any, **kwargs: Any) -> Radiograph:
        """One image.

        Raises:
            DataError: as `read_radiograph`, or several files are given.
        """
        first, *others = data if isinstance(data, list | tuple) else [data]
        if others:
            raise DataError(f"{first} and others are no one image", do="give each file by itself")
        return read_radiograph(Path(first))

    def get_data(self, img: Radiograph) -> tuple[np.ndarray, dict[str, Any]]:
        """Pixels float32 [1, H, W], and what is known beside them."""
        return img.pixels[None], meta_of(img)


def meta_of(image: Radiograph) -> dict[str, Any]:
    """What MONAI knows of a radiograph beside its pixels."""
    down, across = image.spacing or (image.aspect, 1.0)
    affine = np.diag([down, across, 1.0, 1.0])
    return {
        "affine": affine,
        "original_affine": affine.copy(),
        "spatial_shape": np.array(image.pixels.shape),
        "original_channel_dim": 0,
        "filename_or_obj": image.source,
        **({} if image.spacing is None else {UNIT: "mm"}),
        **({} if image.side is None else {SIDE: image.side}),
    }


def as_radiograph_tensor(image: Radiograph) -> MetaTensor:
    """The image [1, H, W] as MONAI's transforms take it; no pixel is copied."""
    meta = meta_of(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image.pixels, np.float32))
    return MetaTensor(pixels[None], affine=torch.from_numpy(meta.pop("affine")), meta=meta)


def source_of(image: torch.Tensor) -> str:
    """The file of an image, for messages."""
    meta = image.meta if isinstance(image, MetaTensor) else {}
    return str(meta.get("filename_or_obj", "the image"))


def side_stated(image: torch.Tensor) -> Side | None:
    """The side of the body that an image is of; None: not known."""
    meta = image.meta if isinstance(image, MetaTensor) else {}
    stated: Side | None = meta.get(SIDE)
    return stated


def pixel_of(image: torch.Tensor) -> tuple[float, float]:
    """From row to row and from column to column; in the image's unit, see `has_scale`."""
    if not isinstance(image, MetaTensor):
        return 1.0, 1.0
    down, across = np.linalg.norm(image.affine.cpu().numpy()[:2, :2], axis=0)
    return float(down), float(across)


def has_scale(image: torch.Tensor) -> bool:
    """Whether the size of pixels is known."""
    return isinstance(image, MetaTensor) and UNIT in image.meta


class LoadRadiographd(MapTransform):
    """Loads radiographs by name; a key that is no path, but loaded, stays as it is.

    Args:
        keys: images, each a path or a `Radiograph`; MetaTensors float32 [1, H, W] come out.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with loaded images.

        Raises:
            DataError: as `read_radiograph`.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            given = changed[key]
            if not isinstance(given, torch.Tensor):
                image = given if isinstance(given, Radiograph) else RadiographReader().read(given)
                changed[key] = as_radiograph_tensor(image)
        return changed
