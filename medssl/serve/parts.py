"""The parts of a multipart request, each in a file of its own, with one piece in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 20_000


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        headers: by name in small letters.
        path: file with its content.
    """

    headers: dict[str, str]
    path: Path

    @property
    def kind(self) -> str:
        """Its media type, without parameters; empty where it says none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def told(self, option: str) -> str:
        """An option of its Content-Disposition, such as its name; empty where it has none."""
        _, options = parse_options_header(self.headers.get("content-disposition", ""))
        return options.get(option.encode(), b"").decode("utf-8", "replace")

    def text(self, most: int = 100_000) -> str:
        """Its content.

        Raises:
            HTTPException: 400, it is no text, or too long.
        """
        try:
            if self.path.stat().st_size > most:
                raise ValueError
            return self.path.read_text(encoding="utf-8")
        except ValueError:
            raise HTTPException(400, "a part is no short text") from None


def boundary_of(content_type: str, kind: str) -> bytes:
    """The boundary between the parts of a request.

    Raises:
        HTTPException: 415, it is of another kind; 400, it names no boundary.
    """
    found, options = parse_options_header(content_type)
    if found.decode("latin-1") != kind:
        raise HTTPException(415, f"the request is not {kind}")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise HTTPException(400, "the request names no boundary")
    return boundary


class _Receiver:
    """What the parser calls."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.parts, self.ended = folder, list[Part](), False
        self._file: BinaryIO | None = None
        self._headers: dict[str, str] = {}
        self._field, self._value = b"", b""

    @property
    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_part_end": self.close,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        if len(self.parts) >= MOST_PARTS:
            raise HTTPException(413, f"the request has more than {MOST_PARTS} parts")
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        name = self._field.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("latin-1").strip()
        self._field, self._value = b"", b""

    def on_headers_finished(self) -> None:
        path = self._folder / f"{len(self.parts):05}"
        self._file = path.open("wb")
        self.parts.append(Part(self._headers, path))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


async def receive_parts(stream: AsyncIterator[bytes], boundary: bytes, folder: Path) -> list[Part]:
    """The parts of a request, in files 00000, 00001 ... of a folder.

    Raises:
        HTTPException: 400, the request is malformed or breaks off; 413, it has too many parts.
    """
    receiver = _Receiver(folder)
    parser = MultipartParser(boundary, receiver.callbacks)
    try:
        async for piece in stream:
            parser.write(piece)
    except FormParserError:
        raise HTTPException(400, "the parts of the request are malformed") from None
    finally:
        receiver.close()
    if not receiver.ended:
        raise HTTPException(400, "the request breaks off")
    return receiver.parts
