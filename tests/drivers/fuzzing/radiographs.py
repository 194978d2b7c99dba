"""Radiographs as pictures: modes, sizes, orientation, bytes; PNG and JPEG, and TIFF by mistake."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageOps

from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.dicom import make_joints, read_radiographs
from tests.drivers.fuzzing.format import Format
from tests.drivers.fuzzing.volumes import name_subject

MODES = ("L", "I;16", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I", "F")
ENDINGS = ("png", "jpg", "tif", "PNG", "jpeg", "bmp")


def _damage(place: Path, rng: Generator) -> str:
    ending = pick(rng, ("png", "png", "jpg", *ENDINGS))
    path = name_subject(place, place / f"bad.{ending}")
    grey = np.random.default_rng(0).integers(0, 255, (40, 30)).astype(np.uint8)
    how = pick(
        rng, ("mode", "size", "bytes", "bytes", "exif", "claimed size", "value", "other format")
    )
    image, words = Image.fromarray(grey), how
    if how == "mode":
        words = pick(rng, MODES)
        image = (
            Image.fromarray(grey.astype(np.uint16) * 200)
            if words == "I;16"
            else image.convert(words)
        )
    elif how == "size":
        words = pick(rng, ((1, 1), (1, 40), (30, 1), (2, 2), (3000, 5), (1500, 1500)))
        image = image.resize(words)
    elif how == "value":
        words = int(rng.integers(256))
        image = Image.new("L", (30, 40), words)
    exif = Image.Exif()
    if how == "exif":
        words = exif[0x0112] = int(rng.integers(0, 11))
    written = pick(rng, ("PNG", "JPEG", "TIFF", "BMP", "GIF")) if how == "other format" else None
    kind = written or {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(
        ending.lower(), ending.upper()
    )
    try:
        image.save(path, kind, exif=exif)
    except (OSError, KeyError):
        image.convert("L").save(path, kind)
    if how == "claimed size" and kind == "PNG":
        words = pick(rng, ((2**31 - 1, 2**31 - 1), (60000, 60000), (0, 5), (30, 4000)))
        raw = bytearray(path.read_bytes())
        raw[16:24] = struct.pack(">II", *words)
        raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
        path.write_bytes(raw)
    if how == "bytes":
        words = damage_bytes(path, rng, start=int(rng.integers(0, 60)))
    return f"{path.name} as {kind}: {how} {words}"


def _pixels(path: Path) -> np.ndarray:
    """Grey values as Pillow has them, the right way up."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "I;16", "I"):
            raise ValueError("colours can be made grey in several ways")
        return np.asarray(upright)


FORMAT = Format(
    "radiograph_picture", make_joints, _damage, lambda place, _: read_radiographs(place, _pixels)
)
