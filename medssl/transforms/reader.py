"""Our reader of volumes as MONAI knows readers, and the transform that loads with it.

Legend: C channels, X Y Z voxels.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import ImageReader, MetaTensor
from monai.transforms import MapTransform

from medssl.data.files import is_image
from medssl.data.volume import Volume, read_mask, read_volume


class VolumeReader(ImageReader):
    """Reads NIfTI, NRRD, MetaImage files and folders of DICOM series as `read_volume` does.

    Each slice is rescaled by its own slope, and what cannot be read exactly is a DataError that
    names the file. It serves `monai.transforms.LoadImaged(reader=VolumeReader())` too, which wraps
    such an error in its own.
    """

    def verify_suffix(self, filename: Any) -> bool:
        """Whether these are files of volumes, or folders."""
        many = filename if isinstance(filename, list | tuple) else [filename]
        return all(Path(one).is_dir() or is_image(Path(one)) for one in many)

    def read(self, data: Any, **kwargs: Any) -> Volume:
        """One volume; several files are its channels and must share one grid.

        Raises:
            DataError: as `medssl.data.volume.read_volume`.
        """
        many = data if isinstance(data, list | tuple) else [data]
        return read_volume([Path(one) for one in many])

    def get_data(self, img: Volume) -> tuple[np.ndarray, dict[str, Any]]:
        """Voxels float32 [C, X, Y, Z], and the affine to RAS+ mm."""
        return img.array, meta_of(img)


def meta_of(volume: Volume) -> dict[str, Any]:
    """What MONAI knows of an image beside its voxels; no name of a file."""
    affine = np.array(volume.geometry.affine)
    return {
        "affine": affine,
        "original_affine": affine.copy(),
        "spatial_shape": np.array(volume.geometry.shape),
        "original_channel_dim": 0,
        "space": "RAS",
    }


def as_meta_tensor(volume: Volume) -> MetaTensor:
    """The volume [C, X, Y, Z] as MONAI's transforms take it; no voxel is copied."""
    array = volume.array
    if min(array.strides) < 0:  # which torch does not know
        array = array.copy(order="K")
    meta = meta_of(volume)
    return MetaTensor(torch.from_numpy(array), affine=meta.pop("affine"), meta=meta)


class LoadVolumed(MapTransform):
    """Loads images and masks by name; a key that is no path, but loaded, stays as it is.

    Args:
        keys: images, each a path or the paths of its channels.
        masks: keys among them that hold masks, whose values stay whole numbers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        masks: Sequence[str] = ("label",),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.masks = set(masks)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with MetaTensors [C, X, Y, Z]: float32 images, uint8 or int32 masks.

        Raises:
            DataError: as `medssl.data.volume.read_volume` and `read_mask`.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            given = changed[key]
            if isinstance(given, torch.Tensor):
                continue
            if isinstance(given, Volume):
                volume = given
            elif key in self.masks:
                volume = read_mask(Path(given))
            else:
                volume = VolumeReader().read(given)
            changed[key] = as_meta_tensor(volume)
        return changed
