"""The values that a DICOM file stores, before any rescaling.

pydicom decodes them, and imagecodecs what pydicom has no decoder for, e.g. lossless JPEG. ITK would
read such files too, but rescales and inverts by its own rules, and ends the process where a stream
is damaged.
"""

import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom.errors import BytesLengthException, InvalidDicomError

DAMAGE = (
    BytesLengthException,
    InvalidDicomError,
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
"""Errors that pydicom raises on damaged files."""

PIXEL_TAGS = (
    "SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames", "PixelData",
)  # fmt: skip
"""Tags without which the values of one grey frame cannot be decoded."""


class TooLarge(ValueError):
    """Raised where a file unpacks to more than its reader takes."""


_END_OF_IMAGE = b"\xff\xd9"
_START = 1024  # bytes in which a file names its transfer syntax
_GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"  # before the length of the meta information


def stored_values(header: Any, number: int = 0) -> np.ndarray:
    """Values [rows, columns] of one grey frame as the file stores them, decompressed.

    Args:
        header: pydicom's dataset with PIXEL_TAGS.
        number: of the frame, from 0.

    Raises:
        one of DAMAGE: the values are cut off or damaged, or nothing here decodes them.
    """
    from pydicom import uid

    syntax = _syntax(header)
    if not syntax.is_compressed or syntax.is_deflated or syntax == uid.RLELossless:
        return _decoded(header, number)
    frame = _frame(header, number)
    if syntax in (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1):
        from imagecodecs import jpeg8_decode

        return _signed(jpeg8_decode(frame, out=_empty(header)), header)
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        from imagecodecs import jpegls_decode

        return _signed(jpegls_decode(frame, out=_empty(header)), header)
    return _decoded(header, number)


def _decoded(header: Any, number: int) -> np.ndarray:
    """A frame as pydicom decodes it."""
    from pydicom.pixels import pixel_array

    if _frames(header) == 1:
        return np.asarray(header.pixel_array)
    if not _syntax(header).is_encapsulated:
        of_one = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8
        if len(header.PixelData) >= (_frames(header) + 1) * of_one:
            raise ValueError("it holds more frames than it states")
    return np.asarray(pixel_array(header, index=number, raw=True))


def _frames(header: Any) -> int:
    return int(header.get("NumberOfFrames") or 1)


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
        TooLarge: it holds more.
        ValueError: it does not say where it begins.
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
            raise TooLarge(f"inflated it has more than {limit} bytes")
    file.seek(0)


def _syntax(header: Any) -> Any:
    """The transfer syntax; where the file does not state it, that in which it could be read."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return header.file_meta.TransferSyntaxUID


def _frame(header: Any, number: int) -> bytes:
    """The stream of the JPEG family; decoders would fill up one that was cut in silence.

    Raises:
        ValueError: it has no end.
    """
    from pydicom.encaps import get_frame

    frame: bytes = get_frame(header.PixelData, number, number_of_frames=_frames(header)).rstrip(
        b"\0"
    )
    if not frame.endswith(_END_OF_IMAGE):
        raise ValueError("the compressed image has no end")
    return frame


def _empty(header: Any) -> np.ndarray:
    """Room for the values; unsigned, as the streams hold them."""
    kind = np.uint8 if header.BitsStored <= 8 else np.uint16
    return np.empty((header.Rows, header.Columns), kind)


def _signed(values: np.ndarray, header: Any) -> np.ndarray:
    """The values with their sign, where the file says that they have one."""
    if not header.PixelRepresentation:
        return values
    unused = 8 * values.dtype.itemsize - int(header.BitsStored)
    return np.asarray((values << unused).view(values.dtype.name.removeprefix("u")) >> unused)
