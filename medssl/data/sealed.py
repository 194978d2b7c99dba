"""Files whose damage is noticed: a CRC-32 of the content ends them.

The cache lives for weeks on disks that fail, and is not waited for when it is written, so that a
power cut may leave holes. numpy and torch read sealed files of theirs like any others.
"""

import logging
import os
from pathlib import Path
from typing import BinaryIO

from imagecodecs import deflate_crc32  # seven times faster than zlib's

_SEAL = "\nCRC-32 {:08x}\n"
_LENGTH = len(_SEAL.format(0))
_BLOCK = 1 << 17  # bytes that stay in the processor's cache

logger = logging.getLogger(__name__)


def seal(path: Path) -> None:
    """End a complete file with the checksum of its content."""
    with path.open("r+b", buffering=0) as file:
        checksum = _checksum(file, path.stat().st_size)
        file.write(_SEAL.format(checksum).encode())


def is_intact(path: Path) -> bool:
    """Whether a sealed file is as it was written; reads all of it.

    To be asked once, before the file is used, and not at every access.
    """
    with path.open("rb", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size - _LENGTH
        checksum = _checksum(file, length)
        return length >= 0 and file.read() == _SEAL.format(checksum).encode()


def _checksum(file: BinaryIO, length: int) -> int:
    """CRC-32 of the next `length` bytes, or of what is there of them."""
    checksum = 0
    while length > 0 and (block := file.read(min(length, _BLOCK))):
        checksum = deflate_crc32(block, checksum)
        length -= len(block)
    return checksum


def is_kept(path: Path) -> bool:
    """Whether the cache holds a sealed file as it was written; warns of damage."""
    kept = path.is_file()
    if kept and not is_intact(path):
        logger.warning("%s is damaged, and is made anew", path)
        return False
    return kept


def kept_content(path: Path) -> bytes | None:
    """What stood in a small file before it was sealed; None where it is missing or damaged."""
    if not path.is_file():
        return None
    whole = path.read_bytes()
    content, end = whole[:-_LENGTH], whole[-_LENGTH:]
    if end != _SEAL.format(deflate_crc32(content)).encode():
        logger.warning("%s is damaged, and is made anew", path)
        return None
    return content
