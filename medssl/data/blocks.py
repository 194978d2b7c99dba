"""Voxel values as bytes of a file: what a header claims is weighed before memory is taken.

A header of a few bytes can claim any number of voxels. A raw file must hold them; of a packed one
it is known how much its bytes can become at most. Checksums are verified, so damage is noticed.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from medssl.errors import DataError

LARGEST = 2**31
"""Values that one file may hold: 8 GiB as float32. More are refused before memory is taken."""

_INFLATION = 1032
"""Bytes that one byte of a deflated stream can become at most."""

Packing = Literal["raw", "deflated", "text"]

_CHUNK = 1 << 15
_EITHER = 47  # zlib's word for "gzip or zlib, as the stream says"


@dataclass(frozen=True)
class Block:
    """Where the values of an image lie.

    Attributes:
        image: the file that a message names.
        file: the file that holds the values; `image` itself, or one beside it.
        start: byte of `file` at which they, or their packed stream, begin.
        kind: type of a value, with its byte order.
        count: number of values.
        packing: raw bytes, a gzip or zlib stream, or numbers written out.
        skip: bytes to pass over at the start of the unpacked stream.
    """

    image: Path
    file: Path
    start: int
    kind: np.dtype
    count: int
    packing: Packing = "raw"
    skip: int = 0

    @property
    def size(self) -> int:
        """Bytes of all values, unpacked."""
        return self.count * self.kind.itemsize

    def must_fit(self) -> None:
        """Weigh what the header claims against what the file can hold.

        Raises:
            DataError: there are too many values, or more than the file can hold.
        """
        if self.count > LARGEST:
            raise DataError(
                f"{self.image} claims {self.count:.4g} values",
                f"medssl reads at most {LARGEST:.4g} (2^31) from one file",
                "crop it or reduce its resolution, or repair its header",
            )
        there = max(0, self.file.stat().st_size - self.start)
        most = {"raw": there, "deflated": _INFLATION * there, "text": self._of_text(there)}
        if self.start < 0 or self.skip + self.size > most[self.packing]:
            raise self._cut(f"its header claims {self.size} bytes of voxels, it holds too few")

    def _of_text(self, there: int) -> int:
        """Bytes of as many values as `there` characters can spell."""
        return (there + 1) // 2 * self.kind.itemsize

    def must_be_whole(self) -> None:
        """Check that a file just written is complete, without unpacking it.

        Raises:
            DataError: it is cut off.
        """
        self.must_fit()
        if self.packing == "deflated" and is_gzip(self.file, self.start):
            with self.file.open("rb") as file:
                file.seek(-4, 2)  # gzip notes the unpacked length at its end
                noted = int.from_bytes(file.read(4), "little")
            if noted != (self.skip + self.size) % 2**32:
                raise self._cut("its end is missing")

    def read(self) -> np.ndarray:
        """All values, [count].

        Raises:
            DataError: as `must_fit`; also if the stream is cut off or damaged.
        """
        self.must_fit()
        if self.packing == "text":
            return self._spelled()
        values = np.empty(self.count, self.kind)
        into = bytes_of(values)
        with self.file.open("rb") as file:
            file.seek(self.start)
            try:
                unpacked = self.packing == "raw"
                found = file.readinto(into) if unpacked else self._unpack(file, into)
            except (zlib.error, EOFError) as error:
                raise self._cut("its packed voxels are cut off or damaged") from error
        if found < len(into):
            raise self._cut(f"it holds {found} of {len(into)} bytes of voxels")
        return values

    def _unpack(self, file: BinaryIO, into: memoryview) -> int:
        """Fill `into`; returns how many bytes there were for it."""
        if not self.skip and _unpack_at_once(file, into):
            return len(into)
        skip, filled = self.skip, 0
        for piece in inflated(file):
            passed = min(skip, len(piece))
            skip -= passed
            taken = memoryview(piece)[passed : passed + len(into) - filled]
            into[filled : filled + len(taken)] = taken
            filled += len(taken)
            if passed + len(taken) < len(piece):
                break  # the file is longer than its header says
        return filled

    def _spelled(self) -> np.ndarray:
        with self.file.open("rb") as file:
            file.seek(self.start)
            words = file.read().split(maxsplit=self.count)[: self.count]
        if len(words) < self.count:
            raise self._cut(f"it holds {len(words)} of {self.count} values")
        try:
            return np.array(words).astype(self.kind)
        except (ValueError, OverflowError) as error:
            raise self._cut("some of its values are not numbers") from error

    def _cut(self, why: str) -> DataError:
        return unreadable(self.image, why)


def _unpack_at_once(file: BinaryIO, into: memoryview) -> bool:
    """Fill `into` twice as fast as zlib would, checksum verified; leaves `file` where it was.

    False where the stream is damaged, of another length, not gzip, or of several members.
    """
    from imagecodecs import DeflateError, gzip_decode

    start = file.tell()
    try:
        return len(gzip_decode(file.read(), out=into)) == len(into)
    except (DeflateError, ValueError):
        return False
    finally:
        file.seek(start)


def unreadable(path: Path, why: str = "") -> DataError:
    """The error for a file that is not what its name says."""
    return DataError(
        f"{path} cannot be read",
        "it is truncated, damaged or not an image" + (f": {why}" if why else ""),
        "copy or download it again",
    )


def inflated(file: BinaryIO) -> Iterator[bytes]:
    """What a gzip or zlib stream unpacks to, piece by piece; checksums are verified.

    A gzip file may have several members; what follows the last is passed over.

    Raises:
        zlib.error: the stream is damaged.
        EOFError: the stream is cut off.
    """
    stream, started = zlib.decompressobj(_EITHER), False
    while chunk := file.read(_CHUNK):
        while chunk:
            if stream.eof:
                if not chunk.startswith(b"\x1f"):
                    return
                stream = zlib.decompressobj(_EITHER)
            yield stream.decompress(chunk)
            chunk = stream.unused_data
        started = True
    if not (started and stream.eof):
        raise EOFError


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, in its own order; no copy."""
    return array.reshape(-1).view(np.uint8).data


def is_gzip(file: Path, start: int = 0) -> bool:
    """Whether a gzip stream begins at byte `start`."""
    with file.open("rb") as stream:
        stream.seek(start)
        return stream.read(2) == b"\x1f\x8b"
