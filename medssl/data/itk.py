"""ITK's part: grids of NRRD files, writing NRRD and MetaImage files, and fast unpacking."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from medssl.data.blocks import Block, unreadable
from medssl.data.geometry import Geometry, Triple
from medssl.data.resample import copy_in_rows
from medssl.data.stored import LPS_TO_RAS, grid

_LARGE = 2**20
"""Bytes of values from which on ITK is faster."""

# medssl itself finds and reports what ITK would warn of on stderr.
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
    reader.SetImageIO("NrrdImageIO")  # ITK would try every format
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
    return grid(shape, LPS_TO_RAS @ affine, path)


class _Buffer:
    """Memory of an ITK image as NumPy sees it, read-only; holds the image as long as it is used."""

    def __init__(self, image: SimpleITK.Image) -> None:
        self._image = image
        view = SimpleITK.GetArrayViewFromImage(image)
        self.__array_interface__: dict[str, Any] = view.__array_interface__


class PackedIntegers(Block):
    """Integers of a .nii.gz without a scaling, which ITK unpacks three times faster."""

    def read(self) -> np.ndarray:
        """All values, [count], perhaps read-only.

        Raises:
            DataError: as `Block.read`.
        """
        self.must_fit()
        fast = self.size > _LARGE and self.kind.isnative
        values = self._by_itk() if fast else None
        return super().read() if values is None else values

    def _by_itk(self) -> np.ndarray | None:
        """What ITK reads; None where anything is unusual or damaged, as it checks no checksums."""
        with self.file.open("rb") as file:
            file.seek(-8, 2)
            checksum, length = struct.unpack("<II", file.read(8))
        if length != (self.skip + self.size) % 2**32:
            return None
        try:
            image = SimpleITK.ReadImage(str(self.file))
        except RuntimeError:
            return None
        values = np.asarray(_Buffer(image)).reshape(-1)
        if values.dtype != self.kind or len(values) != self.count:
            return None
        if image.GetNumberOfComponentsPerPixel() > 1:
            return None
        with gzip.open(self.file) as file:
            before = zlib.crc32(file.read(self.skip))
        return values if zlib.crc32(values.data, before) == checksum else None


def in_file_order(array: np.ndarray) -> np.ndarray:
    """[X, Y, Z] as contiguous [Z, Y, X], the order of files; a copy where that needs one."""
    turned = array.T
    if turned.flags.c_contiguous:
        return turned
    ordered = np.empty(turned.shape, turned.dtype)
    copy_in_rows(turned, ordered)
    return ordered


def write_itk(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write [X, Y, Z] to .nrrd or .mha, compressed.

    Raises:
        OSError: nothing can be written there.
        RuntimeError: ITK fails; on a full disk it need not notice.
    """
    path.touch()  # says why, where ITK would not
    affine = LPS_TO_RAS @ geometry.affine
    image = SimpleITK.GetImageFromArray(in_file_order(array))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / geometry.spacing).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=True)
