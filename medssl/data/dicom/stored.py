"""The values that a DICOM file stores, before any rescaling.

pydicom decodes them. What it has no decoder for, e.g. lossless JPEG, ITK decompresses from a copy
without the tags by which ITK would rescale or invert the values on its own.
"""

import os
import struct
import zlib
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO

import numpy as np

DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on damaged files, whatever it stumbles over."""

_DECODING = (
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)

PIXEL_TAGS = (*_DECODING, "PhotometricInterpretation", "NumberOfFrames", "PixelData")
"""Tags without which the values of one grey frame cannot be decoded."""

_PIXELS_BEGIN = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"  # compressed values follow
_PIXELS_END = b"\xfe\xff\xdd\xe0\0\0\0\0"

_END_OF_IMAGE = b"\xff\xd9"
_START = 1024  # bytes in which a file names its transfer syntax
_GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"  # before the length of the meta information


def stored_values(header: Any) -> np.ndarray:
    """Values [rows, columns] of one grey frame as the file stores them, decompressed.

    Args:
        header: pydicom's dataset with PIXEL_TAGS.

    Raises:
        one of DAMAGE: the values are cut off or damaged, or nothing here decodes them.
    """
    from pydicom.pixels import get_decoder

    syntax = _syntax(header)
    if not syntax.is_compressed or syntax.is_deflated:
        return np.asarray(header.pixel_array)
    _must_be_whole(header)
    try:
        if get_decoder(syntax).is_available:
            return np.asarray(header.pixel_array)
    except (RuntimeError, NotImplementedError):  # no decoder of it, or none for so many bits
        pass
    return _by_itk(header)


def plain_values(
    path: Path, at: int, shape: tuple[int, int], kind: np.dtype, bits: int
) -> np.ndarray:
    """Values [rows, columns] that lie uncompressed in a file; bits that do not count are removed.

    Args:
        at: where in the file they begin.
        kind: their type in the file.
        bits: the lower ones, which count.

    Raises:
        OSError, ValueError: the file cannot be read so far.
    """
    values = np.fromfile(path, kind, shape[0] * shape[1], offset=at).reshape(shape)
    unused = 8 * kind.itemsize - bits
    if unused:
        values <<= unused
        values >>= unused
    return values


def must_not_inflate(file: BinaryIO, limit: int) -> None:
    """Refuse a small file that would fill the memory; pydicom inflates without a limit.

    Args:
        file: a DICOM file at its beginning, where it is left.
        limit: bytes that a deflated file may hold.

    Raises:
        ValueError: it holds more.
        zlib.error: it is damaged.
    """
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    start = file.read(_START)
    if DeflatedExplicitVRLittleEndian.encode() in start:
        meta = 132 if start[128:132] == b"DICM" else 0
        length = start[meta : meta + 12].removeprefix(_GROUP_LENGTH)
        if len(length) != 4:
            raise ValueError("the meta information does not say how long it is")
        file.seek(meta + 12 + int.from_bytes(length, "little"))
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        inflating.decompress(file.read(), limit)
        if inflating.unconsumed_tail:
            raise ValueError(f"inflated it has more than {limit} bytes")
    file.seek(0)


def _syntax(header: Any) -> Any:
    """The transfer syntax; where the file does not state it, that in which it could be read."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return header.file_meta.TransferSyntaxUID


def _must_be_whole(header: Any) -> None:
    """Refuse a stream of the JPEG family that was cut: decoders would fill it up in silence."""
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    if header.file_meta.TransferSyntaxUID == RLELossless:
        return
    frame = get_frame(header.PixelData, 0, number_of_frames=1)
    if not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise ValueError("the compressed image has no end")


def _by_itk(header: Any) -> np.ndarray:
    import SimpleITK

    shape = header.Rows, header.Columns
    numbers = tuple(header.get(name) for name in _DECODING)
    handle, name = mkstemp(suffix=".dcm")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_head(str(header.file_meta.TransferSyntaxUID), numbers))
            file.write(_PIXELS_BEGIN + header.PixelData + _PIXELS_END)
        found: np.ndarray = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(name))
    finally:
        path.unlink()
    return found.reshape(shape)


@lru_cache
def _head(syntax: str, numbers: tuple[int | None, ...]) -> bytes:
    """A DICOM file up to its pixels, of a plain grey image.

    Args:
        numbers: values of _DECODING.
    """
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    plain = Dataset()
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = UID(syntax)
    plain.SOPClassUID, plain.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    plain.PhotometricInterpretation = "MONOCHROME2"
    for name, number in zip(_DECODING, numbers, strict=True):
        if number is not None:
            setattr(plain, name, number)
    head = BytesIO()
    dcmwrite(head, plain, enforce_file_format=True)
    return head.getvalue()
