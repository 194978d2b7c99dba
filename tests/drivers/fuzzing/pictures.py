"""2-D pictures and masks: modes, pages, palettes, colours, bytes; and single DICOM files."""

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile
from numpy.random import Generator
from PIL import Image, ImageOps
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundMultiFrameImageStorage

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.dicom import write_image
from tests.drivers.fuzzing.elements import odd_element
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import checkpoint
from tests.drivers.fuzzing.volumes import name_subject, subject
from tests.drivers.toys import TOYS

ROWS, COLUMNS = 20, 16
MODES = ("L", "I;16", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I", "F", "YCbCr", "HSV", "PA")
ENDINGS = ("png", "png", "png", "jpg", "bmp", "tif", "tif")
KINDS = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "tif": "TIFF"}
SHAPES = ((1, 1), (1, 20), (16, 1), (3, 20, 16), (20, 16, 2), (20, 16, 3), (20, 16, 5), (2, 3, 20,
          16), (2000, 5), (5000,), (4, 20, 16, 3))  # fmt: skip
TYPES = ("u1", "u2", "u4", "i1", "i2", "f2", "f4", "f8", "?", "c8", "i8")


def _make(place: Path) -> None:
    checkpoint("dots", place)
    TOYS["dots"](place)


def _damage(place: Path, rng: Generator) -> str:
    part, ending = pick(rng, ("images", "images", "masks")), pick(rng, ENDINGS)
    whole = place / "data" / "dots" / part / "d0.png"
    with Image.open(whole) as opened:
        image = opened.convert("RGB")
    whole.unlink()
    path = name_subject(place, whole.with_suffix(f".{ending}"))
    how = pick(rng, ("mode", "size", "bytes", "bytes", "bytes", "exif", "claimed size", "values",
                     "pages", "array", "other format", "dpi"))  # fmt: skip
    if how == "array":
        return f"{part}: {_odd_array(path, rng)}"
    if how == "pages":
        others = [image, image.resize((9, 9)) if rng.random() < 0.5 else image]
        image.save(path.with_suffix(".x"), "TIFF", save_all=True, append_images=others)
        path.with_suffix(".x").rename(path)
        return f"{part}: pages of TIFF as {ending}"
    if how == "bytes":
        image.save(path, KINDS[ending])
        return f"{part}: {damage_bytes(path, rng, start=int(rng.integers(0, 60)))}"
    if how == "claimed size":
        image.save(path, "PNG")
        return f"{part}: {_claim(path, rng)}"
    return f"{part}: {path.name}: {_saved_oddly(image, path, how, rng)}"


def _claim(path: Path, rng: Generator) -> str:
    """Another width and height in the header of a PNG."""
    words = pick(rng, ((2**31 - 1, 2**31 - 1), (60000, 60000), (0, 5), (16, 4000), (15, 20)))
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">II", *words)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    return f"PNG as {path.name} claims {words}"


def _saved_oddly(image: Image.Image, path: Path, how: str, rng: Generator) -> str:
    """A whole file of another mode, size, kind, scale or turn."""
    kind, words, more = KINDS[path.suffix[1:]], how, dict[str, Any]()
    if how == "mode":
        words = pick(rng, MODES)
        image = _in_mode(image, words)
    elif how == "size":
        size = pick(rng, ((1, 1), (1, 40), (30, 1), (2, 2), (2000, 5), (120, 120)))
        image, words = image.resize(size), str(size)
    elif how == "values":
        image = Image.fromarray(rng.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8))
    elif how == "other format":
        kind = pick(rng, ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"))
    elif how == "dpi":
        more = {"dpi": (pick(rng, (0, 1e-9, 1, 254, 1e9)), pick(rng, (254, 300)))}
    else:
        more = {"exif": Image.Exif()}
        more["exif"][0x0112] = int(rng.integers(0, 11))
    try:
        image.save(path, kind, **more)
    except (OSError, KeyError, ValueError, struct.error, TypeError, OverflowError):
        image.convert("RGB").save(path, kind)
    return f"{kind}: {how} {words}"


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200)
    if mode in ("LA", "RGBA", "PA", "F", "I", "1", "P"):
        return image.convert("L").convert(mode) if mode != "RGBA" else image.convert(mode)
    return image.convert(mode)


def _odd_array(path: Path, rng: Generator) -> str:
    """A TIFF of any shape and type, whatever the name says."""
    shape, kind = pick(rng, SHAPES), pick(rng, TYPES)
    array = rng.integers(0, 3, shape).astype(kind)
    odd = pick(rng, ("", "", "nan", "inf"))
    if array.dtype.kind == "f" and odd:
        array.flat[0] = float(odd)
    beside = path.with_name("beside")
    unit = pick(rng, ("NONE", "INCH", "CENTIMETER"))
    tifffile.imwrite(
        beside,
        array,
        compression=pick(rng, (None, "zlib", "lzw")),
        resolution=(2, 4),
        resolutionunit=unit,
    )
    beside.rename(path)
    words = f"TIFF {shape} of {kind} {odd} as {path.name}"
    return f"{words}, {damage_bytes(path, rng)}" if rng.random() < 0.3 else words


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    yield "scale", lambda: _compare_scale(subject(place))
    yield from read_picture_everywhere(place, _of_pillow)


def _compare_scale(path: Path) -> None:
    """A TIFF without a unit does not say how large its pixels are."""
    from medssl.data.volume import read_geometry

    found = read_geometry(path).spacing
    try:
        with Image.open(path) as image:
            scaled = image.format != "TIFF" or image.tag_v2.get(296, 2) != 1
    except Exception:
        return  # where it fails, it cannot tell
    if not scaled and found != (1, 1, 1):
        raise Silent(f"pixels of {found} mm, and the file has no unit")


def read_picture_everywhere(place: Path, theirs: Callable[[Path], np.ndarray]) -> Iterable[Step]:
    """All that medssl does with a picture; `theirs` gives [H, W, 3] of an independent reader."""
    from medssl.data.cache import CaseCache
    from medssl.data.layouts import find_cases
    from medssl.data.picture.mask import colours_of
    from medssl.data.spec import load_spec
    from medssl.data.volume import read_geometry, read_mask, read_volume
    from medssl.transforms.chain import Preprocess

    path = subject(place)
    spec = load_spec("dots")

    def read() -> None:
        volume = read_volume([path] * 3)
        if volume.geometry.shape != read_geometry(path).shape:
            raise Silent("image and grid differ in shape")
        try:
            wanted = np.asarray(theirs(path), np.float64)
        except Exception:
            return  # where it fails, it cannot tell
        mine = volume.array[..., 0].transpose(2, 1, 0)
        if wanted.shape != mine.shape or not np.allclose(wanted, mine, atol=1.0):
            raise Silent(f"{mine.shape}, mean {mine.mean():g}; other reader {wanted.shape}, "
                         f"mean {wanted.mean():g}")  # fmt: skip

    def mask() -> None:
        found = read_mask(path, spec.labels).array
        if not set(np.unique(found)) <= {0, 1, 2}:
            raise Silent(f"values {np.unique(found)[:5]} of a mask in two colours")

    def cache() -> None:
        for case in find_cases(spec):
            if case.id == "d0":
                CaseCache(Path("cache"), spec, Preprocess.of("rgb")).open(case)

    yield "volume", read
    yield "grey", lambda: read_volume(path)
    yield "mask", mask
    yield "numbers", lambda: read_mask(path)
    yield "colours", lambda: colours_of(path)
    yield "cache", cache
    yield "check", lambda: medssl("data", "check", "dots", "-q")
    yield "predict", lambda: medssl("predict", "checkpoint", str(path), "-o", "out", "-q")


def _of_pillow(path: Path) -> np.ndarray:
    """Colours as Pillow has them, the right way up."""
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError("several frames")
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("I;16", "I", "F"):
            grey = np.asarray(upright, np.float64)
            return np.repeat(grey[..., None], 3, axis=-1)
        if upright.mode == "1":
            raise ValueError("0 and 1, or 0 and 255")
        if image.format == "TIFF" and image.tag_v2.get(258, (8,))[0] != 8:
            raise ValueError("Pillow keeps 8 bits")
        return np.asarray(upright.convert("RGB"))


def _make_dicom(place: Path) -> None:
    _make(place)
    rng = np.random.default_rng(0)
    kinds = place / "kinds"
    kinds.mkdir()
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    shared = {"Modality": "US", "SOPInstanceUID": "1.2.5", "SequenceOfUltrasoundRegions": [region]}
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    colour = {**eight, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
              "PlanarConfiguration": 0}  # fmt: skip
    kind = UltrasoundMultiFrameImageStorage
    grey = rng.integers(0, 4000, (ROWS, COLUMNS)).astype(np.uint16)
    write_image(kinds / "grey.dcm", grey, kind, **shared, RescaleSlope="2", RescaleIntercept="-5")
    rgb = rng.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8)
    write_image(kinds / "rgb.dcm", rgb, kind, **shared, **colour)
    ybr = {**colour, "PhotometricInterpretation": "YBR_FULL"}
    write_image(kinds / "ybr.dcm", rgb, kind, **shared, **ybr)
    frames = {"Rows": ROWS, "Columns": COLUMNS, "NumberOfFrames": 3}
    write_image(kinds / "frames.dcm", np.stack([rgb] * 3), kind, **shared, **colour, **frames)
    table = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", (np.arange(256, dtype=np.uint16) * 257).tobytes()),
        )
    }
    palette = {**eight, "PhotometricInterpretation": "PALETTE COLOR", **table}
    write_image(kinds / "palette.dcm", rgb[..., 0], kind, **shared, **palette)


def _damage_dicom(place: Path, rng: Generator) -> str:
    kind = pick(rng, sorted((place / "kinds").iterdir()))
    (place / "data" / "dots" / "images" / "d0.png").unlink()
    path = name_subject(place, place / "data" / "dots" / "images" / "d0.dcm")
    path.write_bytes(kind.read_bytes())
    words = damage_bytes(path, rng) if rng.random() < 0.3 else odd_element(path, rng)
    return f"{kind.name}: {words}"


def _of_pydicom(path: Path) -> np.ndarray:
    """[H, W, 3] of one frame as pydicom has it; colours that are none raise."""
    from pydicom.pixels import apply_modality_lut, convert_color_space, pixel_array

    header = pydicom.dcmread(path, force=True)
    kind, pixels = header.PhotometricInterpretation, pixel_array(header, raw=True)
    if int(header.get("NumberOfFrames") or 1) > 1 or kind == "PALETTE COLOR":
        raise ValueError("not compared")
    if kind.startswith("YBR"):
        return convert_color_space(pixels, kind, "RGB")
    if pixels.ndim == 2:
        grey = np.asarray(apply_modality_lut(pixels, header), np.float64)
        grey = grey.max() - grey if kind == "MONOCHROME1" else grey
        return np.repeat(grey[..., None], 3, axis=-1)
    return pixels


PICTURE = Format("picture", _make, _damage, _exercise)
DICOM = Format(
    "picture_dicom", _make_dicom, _damage_dicom,
    lambda place, _: read_picture_everywhere(place, _of_pydicom),
)  # fmt: skip
