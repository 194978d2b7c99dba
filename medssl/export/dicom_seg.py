"""Masks as DICOM Segmentation objects on the grid of the series they were made from.

The patient's identity goes from the series' headers into the object's own, and nowhere else: no
file name, message or log repeats it.
"""

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import medssl
from medssl.atomic import appearing
from medssl.data.dicom.series import Series, find_series
from medssl.data.dicom.slices import read_header
from medssl.data.dicom.stored import DAMAGE
from medssl.data.labels import Label
from medssl.data.volume import Volume, read_mask
from medssl.errors import DataError, UsageError
from medssl.export.meaning import coded, declared_labels, empty_in_training, empty_mask

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
# Attributes that a series must have but may leave empty (DICOM type 2); some tools drop them.
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_SERIES_OFFSET = 1000
_LONGEST_NAME = 64


def export_dicom_seg(mask: Path, series: Path, meaning: str, out: Path) -> list[str]:
    """The verb: a mask file as a DICOM-SEG file; returns what may be wrong with it, in sentences.

    Args:
        mask: .nii.gz, .nii, .nrrd or .mha with the values that `meaning` declares.
        series: folder of the DICOM series.
        meaning: checkpoint folder, or data spec by name or file.
        out: .dcm file to write.

    Raises:
        UsageError: `out` is no .dcm file, or `meaning` declares no labels.
        DataError: as `write_dicom_seg`; or the mask cannot be read.
    """
    if out.suffix.lower() != ".dcm":
        raise UsageError(f"{out} is not a DICOM file name", "", "let it end in .dcm")
    labels = declared_labels(meaning)
    if not series.is_dir():
        raise DataError(f"{series} is not a folder", "", "give the folder of the DICOM series")
    volume = read_mask(mask)
    write_dicom_seg(volume, series, labels, out)
    return [] if volume.array.any() else [empty_mask(mask.name, empty_in_training(meaning))]


def write_dicom_seg(mask: Volume, series: Path, labels: Sequence[Label], path: Path) -> None:
    """Write a mask as one DICOM-SEG object; the file appears complete or not at all.

    Args:
        mask: integers [1, X, Y, Z] in the labels' values, on the series' grid; its axes may be
            in another order or direction.
        series: folder that holds the DICOM series, and no other.
        labels: become segments 1, 2, ... in this order, present in the mask or not.
        path: file to write.

    Raises:
        DataError: if the mask lies on another grid or holds values that no label has, or if the
            series is irregular or lacks what a segmentation must refer to.
    """
    source = find_series(series)
    frames = _segments(_on_grid(mask, source), labels, mask.source).transpose(2, 1, 0)
    with _discreet(series):
        dataset = _segmentation(_headers(source, series), frames, labels)
        with appearing(path, _is_readable) as beside:
            dataset.save_as(beside)


def _is_readable(path: Path) -> None:
    from pydicom import dcmread

    dcmread(path, specific_tags=["NumberOfFrames", "PixelData"])


def _on_grid(mask: Volume, source: Series) -> np.ndarray:
    """The mask [X, Y, Z] with the axes of the series: columns, rows, slices."""
    grid, turn = mask.geometry.oriented(source.geometry.orientation)
    if not grid.matches(source.geometry):
        raise DataError(
            f"{mask.source} does not lie on the grid of the DICOM series",
            grid.difference(source.geometry),
            "predict from the series itself, or resample the mask to it",
        )
    return turn.apply(mask.array[0])


def _segments(array: np.ndarray, labels: Sequence[Label], name: str) -> np.ndarray:
    """Mask values to segment numbers 1, 2, ..."""
    numbers = {label.value: number for number, label in enumerate(labels, start=1)}
    unknown = [int(value) for value in np.unique(array) if value and value not in numbers]
    if unknown:
        raise DataError(
            f"{name} holds the value {unknown[0]}",
            f"the labels declare {', '.join(str(value) for value in numbers)}",
            "name the data spec or the checkpoint that the mask belongs to",
        )
    table = np.zeros(256, np.uint8)
    table[list(numbers)] = list(numbers.values())
    return np.asarray(table[array])


def _headers(source: Series, series: Path) -> list[Any]:
    """Headers of the slices, in the order of the grid."""
    try:
        headers = [read_header(file) for file in source.files]
    except DAMAGE:
        raise _irregular(series) from None
    for header in headers:
        for keyword in _NEEDED:
            if not header.get(keyword):
                raise _incomplete(series, keyword)
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, None)
    return headers


def _segmentation(headers: Sequence[Any], frames: np.ndarray, labels: Sequence[Label]) -> Any:
    """The DICOM object; `frames` [slices, rows, columns] hold segment numbers."""
    import highdicom

    return highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=np.ascontiguousarray(frames),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(n, label) for n, label in enumerate(labels, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=int(headers[0].get("SeriesNumber") or 0) + _SERIES_OFFSET,
        series_description="medssl segmentation",
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="medssl",
        manufacturer_model_name="medssl",
        software_versions=medssl.__version__,
        device_serial_number=medssl.__version__,
        content_label="SEGMENTATION",
        content_description="Automatic segmentation, not for clinical use",
    )


def _describe(number: int, label: Label) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    category, kind = (
        highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning) for code in coded(label)
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name[:_LONGEST_NAME],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="medssl", version=medssl.__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )


@contextmanager
def _discreet(series: Path) -> Iterator[None]:
    """Hide the header values that warnings and errors of the DICOM libraries quote.

    pydicom both warns and logs "Invalid value for VR ...: 'VALUE'".
    """
    talkers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [talker.disabled for talker in talkers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for talker in talkers:
            talker.disabled = True
        try:
            yield
        except AttributeError as error:
            raise _incomplete(series, str(error.name)) from None
        except (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, struct.error):
            raise _irregular(series) from None
        finally:
            for talker, disabled in zip(talkers, before, strict=True):
                talker.disabled = disabled


def _irregular(series: Path) -> DataError:
    return DataError(
        f"the DICOM series in {series} cannot be referred to by a segmentation",
        "its headers break the DICOM standard",
        "export the series again from its archive",
    )


def _incomplete(series: Path, keyword: str) -> DataError:
    return DataError(
        f"the DICOM series in {series} lacks {keyword}",
        "a segmentation must refer to it",
        "export the series again from its archive",
    )
