"""DICOM: series of slices in a folder, and radiographs; tags, order, pixels, bytes, company."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import checkpoint
from tests.drivers.fuzzing.volumes import name_subject, read_everywhere, subject, whole_case
from tests.drivers.toys import TOYS, write_nifti

SLICES, ROWS, COLUMNS = 6, 12, 10

TAGS = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
        "SliceThickness", "Rows", "Columns", "RescaleSlope", "RescaleIntercept", "BitsAllocated",
        "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation",
        "SamplesPerPixel", "PixelData", "SOPInstanceUID", "Modality", "NumberOfFrames",
        "PlanarConfiguration", "ImageLaterality", "ImagerPixelSpacing", "InstanceNumber",
        "SpecificCharacterSet", "PixelPaddingValue", "WindowCenter")  # fmt: skip

VALUES: tuple[Any, ...] = (0, 1, -1, 3, 7, 8, 12, 16, 32, 65535, 1e30, "", "x", "nan", "1", "0",
                           "-1", "inf", [0, 0, 0], [1, 0, 0, 0, 1, 0], [0] * 6, [1, 1], [0.0, 0.0],
                           [1, 2, 3, 4], ["nan"] * 2, "MONOCHROME1", "RGB", "PALETTE COLOR",
                           "YBR_FULL", "1.2.3", "a" * 80, "L", "left", "B")  # fmt: skip

SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50",
            "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5",
            "1.2.840.10008.1.2.1.99", "1.2.3", "")  # fmt: skip


def write_image(path: Path, pixels: np.ndarray, kind: str, **tags: Any) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, kind
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID", "1.2.3")
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    plain = {
        "SOPClassUID": kind, "PatientName": "Doe^Jane", "PatientID": "4711",
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }  # fmt: skip
    for name, value in (plain | tags).items():
        setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)


def _make_series(place: Path) -> None:
    whole_case(place)
    rng = np.random.default_rng(0)
    series = place / "series"
    series.mkdir()
    for number in range(SLICES):
        write_image(
            series / f"{number}.dcm", rng.integers(0, 900, (ROWS, COLUMNS)).astype(np.int16),
            CTImageStorage, Modality="CT", SOPInstanceUID=f"1.2.{number + 1}",
            SeriesInstanceUID="1.2.3", InstanceNumber=number + 1, SliceThickness="2",
            ImagePositionPatient=[-5, 3, 2 * number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1.5, 0.5], RescaleSlope="2", RescaleIntercept="-1000",
        )  # fmt: skip
    (place / "cases.csv").write_text("case,image\nbad,series\n")
    (place / "spec.yaml").write_text(
        "{title: T, modality: CT, channels: [image], root: .., licence: CC0, citation: none,"
        " layout: {kind: table}}"
    )


def _damage_series(place: Path, rng: Generator) -> str:
    series = name_subject(place, place / "series")
    files = sorted(series.iterdir())
    one = pick(rng, files)
    how = pick(
        rng, ("tag", "tag", "tag", "tag", "bytes", "bytes", "company", "place", "pixels", "slope")
    )
    if how == "company":
        return _company(series, one, rng)
    if how == "bytes":
        kind = pick(rng, ("bytes", "no preamble", "cut pixels"))
        if kind == "bytes":
            return damage_bytes(one, rng)
        raw = one.read_bytes()
        one.write_bytes(raw[132:] if kind == "no preamble" else raw[: -int(rng.integers(1, 250))])
        return f"{one.name}: {kind}"
    changed = files if rng.random() < 0.3 else [one]
    tag = {"place": "ImagePositionPatient", "pixels": "PixelData", "slope": "RescaleSlope"}.get(how)
    words = ""
    state = rng.bit_generator.state
    for path in changed:
        rng.bit_generator.state = state
        words = odd_tag(path, rng, tag)
    return f"{len(changed)} slices, {one.name}: {words}"


def odd_tag(path: Path, rng: Generator, tag: str | None = None) -> str:
    """One tag of a file removed, emptied or given another value; whatever pydicom can write."""
    header = pydicom.dcmread(path)
    tag = tag or pick(rng, (*TAGS, "TransferSyntaxUID"))
    how = pick(rng, ("remove", "empty", "value", "value", "value"))
    if tag == "TransferSyntaxUID":
        header.file_meta.TransferSyntaxUID = pick(rng, SYNTAXES)
        words = header.file_meta.TransferSyntaxUID
    elif how == "remove":
        words = how
        header.pop(tag, None)
    elif tag == "ImagePositionPatient" and how == "value":
        words = header.ImagePositionPatient = (rng.integers(-9, 9, 3) + 0.5).tolist()
    elif tag == "PixelData":
        words = header.PixelData = pick(rng, (b"", bytes(240), bytes(4), b"\xff\x7f" * 120))
    else:
        words = None if how == "empty" else pick(rng, VALUES)
        with pydicom.config.disable_value_validation():
            try:
                setattr(header, tag, words)
            except (ValueError, TypeError, OverflowError):
                words = header[tag].value if tag in header else None
    with pydicom.config.disable_value_validation():
        try:
            header.save_as(path, enforce_file_format=False)
        except Exception:  # a value that pydicom cannot write is no input
            raw = path.read_bytes()
            path.write_bytes(raw[:-2])
            words = "cut by 2 bytes"
    return f"{tag}: {str(words)[:60]!r}"


def _company(series: Path, one: Path, rng: Generator) -> str:
    """Another file in the folder, or one fewer."""
    kind = pick(rng, ("gone", "twice", "nifti", "text", "hidden", "folder", "dicomdir", "other",
                      "empty", "only one", "none", "names"))  # fmt: skip
    if kind == "gone":
        one.unlink()
    elif kind == "twice":
        shutil.copyfile(one, series / "copy.dcm")
    elif kind == "nifti":
        write_nifti(series / "mask.nii.gz", np.ones((10, 12, 6), np.uint8))
    elif kind in ("text", "hidden", "dicomdir", "empty"):
        name = {"text": "notes.txt", "hidden": "._0.dcm", "dicomdir": "DICOMDIR", "empty": "9.dcm"}
        (series / name[kind]).write_bytes(b"" if kind == "empty" else b"words" * 40)
    elif kind == "folder":
        (series / "more").mkdir()
        shutil.copyfile(one, series / "more" / "0.dcm")
    elif kind == "other":
        header = pydicom.dcmread(one)
        header.SeriesInstanceUID = "1.2.99"
        header.save_as(series / "z.dcm")
    elif kind == "names":
        one.rename(series / "без имени")
    else:
        for path in series.iterdir():
            if kind == "none" or path != one:
                path.unlink()
    return f"company: {kind}, {one.name}"


def _exercise_series(place: Path, _: Path) -> Iterable[Step]:
    return read_everywhere(place, _compare_series, "spec.yaml")


def _compare_series(folder: Path, volume: Any) -> None:
    """Number of slices, and the sum of their rescaled voxels, against pydicom's."""
    other = ("notes.txt", "DICOMDIR", "mask.nii.gz")
    files = [path for path in folder.iterdir() if path.is_file() and path.name not in other]
    files = [path for path in files if not path.name.startswith(".")]
    if volume.geometry.shape[2] != len(files):
        raise Silent(f"{volume.geometry.shape[2]} slices of {len(files)} files")
    with np.errstate(all="ignore"):
        try:
            theirs = sum(float(_rescaled(path).sum()) for path in files)
        except Exception:
            return
        mine = float(volume.array.astype(np.float64).sum())
        if not np.isclose(theirs, mine, rtol=1e-4, equal_nan=True):
            raise Silent(f"sum {mine:g}, pydicom {theirs:g}")


def _rescaled(path: Path) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    header = pydicom.dcmread(path, force=True)
    return np.asarray(apply_modality_lut(header.pixel_array, header), np.float64)


def make_joints(place: Path) -> None:
    """A grader, and a table of 20 images of which the last few are put to the test."""
    checkpoint("joints", place)
    TOYS["joints"](place)


def _make_radiograph(place: Path) -> None:
    make_joints(place)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (40, 30)).astype(np.uint16)
    write_image(
        place / "bad.dcm", pixels, DigitalXRayImageStorageForPresentation, Modality="DX",
        SOPInstanceUID="1.2.5", PixelSpacing=[0.2, 0.2], ImageLaterality="L",
    )  # fmt: skip


def _damage_radiograph(place: Path, rng: Generator) -> str:
    path = name_subject(place, place / "bad.dcm")
    return damage_bytes(path, rng) if rng.random() < 0.3 else odd_tag(path, rng)


def read_radiographs(place: Path, theirs: Any) -> Iterable[Step]:
    """Read, cropped, checked and graded; `theirs` gives the pixels of an independent reader."""
    from medssl.data.radiograph.read import read_radiograph
    from medssl.transforms.crops import CropPreparation
    from medssl.transforms.radiograph_chain import RadiographPreprocess

    path, keys = subject(place), {"side": 20, "field": None, "mirror": "none"}
    table = place / "data" / "joints" / "labels.csv"
    table.write_text(f"file,grade,side\ntrain0.png,0,L\n../../{path.name},1,L\n")

    def read() -> None:
        mine = read_radiograph(path).pixels
        try:
            wanted = np.asarray(theirs(path), np.float64)
        except Exception:
            return
        with np.errstate(all="ignore"):
            if wanted.shape != mine.shape or not np.allclose(wanted, mine, rtol=1e-3, atol=1.0):
                raise Silent(f"{mine.shape}, mean {mine.mean():g}; other reader {wanted.shape}, "
                             f"mean {wanted.mean():g}")  # fmt: skip

    yield "read", read
    yield (
        "crops",
        lambda: CropPreparation(RadiographPreprocess.of({"joint": keys}))(read_radiograph(path)),
    )
    yield "check", lambda: medssl("data", "check", "joints", "-q")
    yield (
        "grade",
        lambda: medssl("predict", "checkpoint", str(path), "-o", "out", "-q", "--set", "side=L"),
    )


def _bright(path: Path) -> np.ndarray:
    """Pixels as pydicom has them, bone bright."""
    pixels = _rescaled(path)
    inverted = pydicom.dcmread(path, force=True).PhotometricInterpretation == "MONOCHROME1"
    return pixels.max() - pixels if inverted else pixels


SERIES = Format("dicom", _make_series, _damage_series, _exercise_series)
RADIOGRAPH = Format(
    "radiograph_dicom", _make_radiograph, _damage_radiograph,
    lambda place, _: read_radiographs(place, _bright),
)  # fmt: skip
