"""Radiographs from DICOM or picture files, and the square crops that a network sees.

Only tags of pixels, scale and side are read from DICOM; nothing that names a patient is.
Source of normalisation and crops: Semixup (sheet, section 8). Pixels are averaged over areas once,
from the file to the crop, and rounded to bytes at the end; the release rounds after every step.

Legend: H W pixels of the file, V crops of an image, S pixels of a side.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medssl.data.radiograph.settings import CropSettings
from medssl.errors import DataError

Side = Literal["L", "R"]

PICTURES = (".png", ".jpg", ".jpeg")
DICOM = (".dcm", ".dicom", ".dic")

_TAGS = (
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelData",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ImageLaterality",
    "Laterality",
)


@dataclass(frozen=True)
class Radiograph:
    """One image as its file has it.

    Attributes:
        source: the file, for messages.
        pixels: [H, W] float32; bone is bright.
        spacing: mm from row to row and from column to column; None where the file does not say.
        side: of the body; None where the file does not say.
    """

    source: str
    pixels: np.ndarray
    spacing: tuple[float, float] | None = None
    side: Side | None = None


def is_radiograph(path: Path) -> bool:
    """Whether the name is that of a picture or a DICOM file; hidden files are none.

    DICOM files often have no suffix, or dotted numbers for a name.
    """
    suffix = path.suffix.lower()
    named = suffix in (*PICTURES, *DICOM) or suffix[1:].isdecimal() or not suffix
    return named and not path.name.startswith(".") and path.name != "DICOMDIR"


def stem(path: Path) -> str:
    """File name without its image suffix; a DICOM file may be named by dotted numbers alone."""
    return path.stem if path.suffix.lower() in (*PICTURES, *DICOM) else path.name


def read_radiograph(path: Path) -> Radiograph:
    """The image in a PNG, JPEG or DICOM file; every file with another suffix counts as DICOM.

    Values of MONOCHROME1 are inverted: maximum - value.

    Raises:
        DataError: the file is missing, damaged, in colour, of several frames or no radiograph.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist", do="run `medssl data check`")
    read = _read_picture if path.suffix.lower() in PICTURES else _read_dicom
    found = read(path)
    if found.pixels.min() == found.pixels.max():
        raise DataError(
            f"{path} has the value {found.pixels.flat[0]:g} in every pixel",
            do="export the image again or remove it",
        )
    return found


def make_crops(image: Radiograph, settings: CropSettings) -> np.ndarray:
    """The crops of an image, [V, S, S] uint8.

    Raises:
        DataError: the settings ask for mm or for a side, and the image does not say them.
    """
    pixels = normalise(image, settings.percentiles)
    spacing = image.spacing
    if settings.mirrored is not None and image.side is None:
        raise DataError(
            f"{image.source} does not say whether it is of the left or the right side",
            f"{settings.mirror or 'left'} images are to be mirrored",
            "name its column in the data spec (layout.columns.side), give --set side=L or R when "
            "predicting, or set crop.mirror=none",
        )
    if settings.mirrored is not None and image.side == settings.mirrored:
        pixels = pixels[:, ::-1]
    if settings.field is None:
        high = wide = float(max(pixels.shape))
    elif spacing is None:
        raise DataError(
            f"{image.source} does not say its pixel spacing",
            f"a field of {settings.field:g} mm is asked for",
            "state it in the data spec (layout.spacing), give --set spacing=MM when predicting, or "
            "set crop.field=null",
        )
    else:
        high, wide = settings.field / spacing[0], settings.field / spacing[1]
    top, left = (pixels.shape[0] - high) / 2, (pixels.shape[1] - wide) / 2
    found = []
    for view in settings.views:
        rows, columns = _place(settings, view)
        down = _averaging(pixels.shape[0], top, high, rows, settings.side)
        across = _averaging(pixels.shape[1], left, wide, columns, settings.side)
        crop = down @ pixels @ across.T
        found.append(crop[:, ::-1] if view == "medial" else crop)
    crops: np.ndarray = np.rint(np.stack(found)).clip(0, 255).astype(np.uint8)
    return crops


def normalise(image: Radiograph, percentiles: tuple[float, float]) -> np.ndarray:
    """Pixels [H, W] clipped to percentiles of the image and stretched to 0 ... 255, float32.

    Raises:
        DataError: the percentiles are equal, so the image shows nothing.
    """
    low, high = np.percentile(image.pixels, percentiles)
    if low == high:
        raise DataError(
            f"{image.source} shows nothing",
            f"its percentiles {percentiles[0]:g} and {percentiles[1]:g} are both {low:g}",
            "export the image again or remove it",
        )
    stretched = (image.pixels.clip(low, high) - low) * (255 / (high - low))
    return np.asarray(stretched, np.float32)


def _place(settings: CropSettings, view: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns of a crop as shares of the square."""
    if view == "whole":
        return (0.0, 1.0), (0.0, 1.0)
    grid, wide = settings.grid, settings.columns / settings.grid
    rows = settings.rows[0] / grid, settings.rows[1] / grid
    return rows, (0.0, wide) if view == "lateral" else (1 - wide, 1.0)


def _averaging(
    length: int, start: float, span: float, part: tuple[float, float], side: int
) -> np.ndarray:
    """[S, length] share of each source pixel in each of S target pixels; none beyond the image.

    Args:
        length: pixels of the source.
        start, span: of the square on the source, in its pixels.
        part: of the square, as shares.
    """
    edges = start + span * np.linspace(*part, side + 1)
    low = np.maximum(edges[:-1, None], np.arange(length))
    high = np.minimum(edges[1:, None], np.arange(1, length + 1))
    share = (high - low).clip(min=0) / np.diff(edges)[:, None]
    return np.asarray(share, np.float32)


def _read_picture(path: Path) -> Radiograph:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB") if image.mode in ("P", "RGBA") else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any() and pixels.shape[2] != 2:
            raise DataError(
                f"{path} is in colour", "a radiograph is grey", "export it without annotations"
            )
        pixels = pixels[..., 0]
    return Radiograph(str(path), pixels.astype(np.float32))


def _read_dicom(path: Path) -> Radiograph:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels import apply_modality_lut

    try:
        header = dcmread(path, specific_tags=list(_TAGS))
    except (InvalidDicomError, OSError, EOFError, ValueError) as error:
        raise _unreadable(path) from error
    if "PixelData" not in header:
        raise DataError(f"{path} holds no image", "it is DICOM without pixel data", "remove it")
    _refuse_other_images(path, header)
    try:
        pixels = apply_modality_lut(header.pixel_array, header).astype(np.float32)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        syntax = header.file_meta.get("TransferSyntaxUID", "unknown")
        raise DataError(
            f"the pixels of {path} cannot be decoded",
            f"the file is damaged, or no decoder of '{getattr(syntax, 'name', syntax)}' is here",
            "copy it again, or decompress it, e.g. with `gdcmconv --raw`",
        ) from error
    if header.PhotometricInterpretation == "MONOCHROME1":
        pixels = pixels.max() - pixels
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    known = spacing is not None and len(spacing) == 2 and min(map(float, spacing)) > 0
    stated = header.get("ImageLaterality") or header.get("Laterality") or ""
    return Radiograph(
        str(path),
        pixels,
        (float(spacing[0]), float(spacing[1])) if known else None,
        side_of(str(stated)),
    )


def _refuse_other_images(path: Path, header: Any) -> None:
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1 or header.get("SamplesPerPixel", 1) != 1:
        raise DataError(
            f"{path} is no radiograph",
            f"it has {frames} frames" if frames > 1 else "it is in colour",
            "remove it, or export one grey image",
        )
    kind = str(header.get("PhotometricInterpretation", "none"))
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(
            f"{path} is no radiograph",
            f"its photometric interpretation is {kind}",
            "export it as MONOCHROME2",
        )


def side_of(stated: str) -> Side | None:
    """L or R, from "L", "left", "R" or "right" in any case; None for all else."""
    sides: dict[str, Side] = {"L": "L", "LEFT": "L", "R": "R", "RIGHT": "R"}
    return sides.get(stated.strip().upper())


def _unreadable(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read",
        "it is truncated, damaged, or neither DICOM nor a picture",
        "copy or export it again",
    )
