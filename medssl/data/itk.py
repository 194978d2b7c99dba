"""What is left to ITK: grids of NRRD and MetaImage files, and writing these."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from medssl.data.blocks import unreadable
from medssl.data.geometry import Geometry, Triple
from medssl.data.stored import grid
from medssl.errors import DataError

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# What ITK warns of on stderr is found and said by medssl itself.
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def itk_geometry(path: Path, shape: Triple, units: Triple | tuple[float, float, float]) -> Geometry:
    """The grid that ITK finds in a header.

    Args:
        shape: voxels along X, Y and Z, as found by another way.
        units: mm of one unit along each axis of the patient.

    Raises:
        DataError: ITK cannot read the header, or finds another shape.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, "its header contradicts itself") from error
    size, dimension = reader.GetSize(), reader.GetDimension()
    if dimension < 3 or tuple(size[:3]) != shape:
        raise unreadable(path, "its header contradicts itself")
    directions = np.array(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    affine[:3] *= np.array(units)[:, None]
    return grid(shape, _LPS_TO_RAS @ affine, path)


def write_itk(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write [X, Y, Z] to .nrrd or .mha, compressed.

    Raises:
        OSError: ITK cannot write it.
    """
    affine = _LPS_TO_RAS @ geometry.affine
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / geometry.spacing).ravel().tolist())
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(str(error)) from error
