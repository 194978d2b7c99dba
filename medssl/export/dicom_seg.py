"""Masks as DICOM Segmentation objects on the grid of the series they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import medssl
from medssl.atomic import appearing
from medssl.data.dicom.series import Series, find_series
from medssl.data.labels import Label
from medssl.data.volume import read_mask
from medssl.errors import DataError, UsageError
from medssl.export.dicom_report import write_report
from medssl.export.dicom_source import discreet, series_number, source_headers
from medssl.export.meaning import declared_labels, empty_in_training, empty_mask
from medssl.export.result import Algorithm, Result
from medssl.export.terms import concept, guessed, terms_of

Kind = Literal["binary", "fractional", "labelmap"]
"""Of segmentation: a frame per slice and segment of bits or of probabilities, or one of numbers."""

_LONGEST_NAME = 64


def export_dicom_seg(
    mask: Path, series: Path, meaning: str, out: Path, kind: Kind = "binary"
) -> list[str]:
    """The verb: a mask file as a DICOM-SEG file; returns what may be wrong with it, in sentences.

    Args:
        mask: .nii.gz, .nii, .nrrd or .mha with the values that `meaning` declares.
        series: folder of the DICOM series.
        meaning: checkpoint folder, or data spec by name or file.
        out: .dcm file to write.
        kind: a mask has no probabilities, so not "fractional".

    Raises:
        UsageError: `out` is no .dcm file, `kind` is none for a mask, or `meaning` declares no
            labels.
        DataError: as `write_dicom_seg`; or the mask cannot be read.
    """
    if out.suffix.lower() != ".dcm":
        raise UsageError(f"{out} is not a DICOM file name", "", "let it end in .dcm")
    if kind == "fractional":
        raise UsageError(
            "a mask cannot become a fractional segmentation",
            "it holds no probabilities",
            "predict with --format dicom-seg-fractional",
        )
    labels = declared_labels(meaning)
    if not series.is_dir():
        raise DataError(f"{series} is not a folder", "", "give the folder of the DICOM series")
    volume = read_mask(mask)
    source = find_series(series)
    write_dicom_seg(Result.of(volume, labels, source), out, kind)
    empty = [] if volume.array.any() else [empty_mask(mask.name, empty_in_training(meaning))]
    odd = misread(source.geometry.shape) if kind == "binary" else []
    return [*empty, *guessed(labels), *odd]


def misread(shape: Sequence[int]) -> list[str]:
    """Which viewer shows a binary segmentation of a series of columns, rows, slices wrong.

    Bits of a frame follow those of the frame before without a gap (PS3.5, 8.1.1), so where the
    pixels of a frame are no multiple of eight, frames begin within a byte; OHIF 3.13 begins each
    with a byte of its own.
    """
    columns, rows, slices = shape
    if columns * rows % 8 == 0 or slices == 1:
        return []
    return [
        f"OHIF shows a binary segmentation of {columns} x {rows} pixels wrong, as their number is "
        "no multiple of eight (others show it right); for OHIF write a label map: predict with "
        "--format dicom-seg-labelmap, or export with --kind labelmap"
    ]


def write_dicom_seg(
    result: Result, path: Path, kind: Kind = "binary", report: Path | None = None
) -> None:
    """Write a mask as one DICOM-SEG object; the file appears complete or not at all.

    Args:
        result: a mask on the series' grid; its axes may be in another order or direction. Of the
            kind "fractional" its probabilities are written, in steps of 1/255.
        path: file to write.
        report: where a structured report with the volumes is written too.

    Raises:
        DataError: if the mask lies on another grid or holds values that no label has, or if the
            series is irregular or lacks what a segmentation must refer to.
        ValueError: fractions are asked for, and the result has no probabilities.
    """
    source = result.referred
    segments = result.segments(result.on_series(result.values))
    frames = _fractions(result) if kind == "fractional" else segments.transpose(2, 1, 0)
    with discreet(source):
        headers = source_headers(source)
        dataset = _segmentation(headers, frames, result, kind)
        with appearing(path, _is_readable) as beside:
            dataset.save_as(beside)
        if report is not None:
            counts = np.bincount(segments.ravel(), minlength=len(result.labels) + 1)[1:]
            millilitres = [float(count) * result.geometry.voxel / 1000 for count in counts]
            write_report(headers, dataset, result, millilitres, report)


def _fractions(result: Result) -> np.ndarray:
    """Probabilities [slices, rows, columns, segments] of the labels."""
    if result.probabilities is None:
        raise ValueError("fractions need the probabilities of the labels")
    found = result.on_series(result.probabilities[1:])
    return np.clip(np.ascontiguousarray(found.transpose(3, 2, 1, 0), np.float32), 0, 1)


def _is_readable(path: Path) -> None:
    from pydicom import dcmread

    dcmread(path, specific_tags=["NumberOfFrames", "PixelData"])


def _segmentation(headers: Sequence[Any], frames: np.ndarray, result: Result, kind: Kind) -> Any:
    """The DICOM object; `frames` [slices, rows, columns] hold segment numbers, or fractions."""
    import highdicom

    return highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=np.ascontiguousarray(frames),
        segmentation_type=highdicom.seg.SegmentationTypeValues[kind.upper()],
        segment_descriptions=[
            _describe(number, label, result.algorithm)
            for number, label in enumerate(result.labels, start=1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=series_number(headers[0]),
        series_description="medssl segmentation",
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="medssl",
        manufacturer_model_name="medssl",
        software_versions=medssl.__version__,
        device_serial_number=medssl.__version__,
        content_label="SEGMENTATION",
        content_description="Automatic segmentation, not for clinical use",
        **_planes(headers, result.referred),
    )


def _planes(headers: Sequence[Any], source: Series) -> dict[str, Any]:
    """Where the frames lie, for scans of several frames in a file.

    The frames of the file may be more, or in another order; of one slice per file highdicom finds
    it by itself.
    """
    import highdicom

    if len(headers) == len(source.slices) and all(one.marks is None for one in source.slices):
        return {}
    first = source.slices[0]
    measures = highdicom.PixelMeasuresSequence(
        pixel_spacing=first.spacing,
        slice_thickness=first.thickness or source.geometry.spacing[2],
        spacing_between_slices=source.geometry.spacing[2],
    )
    return {
        "pixel_measures": measures,
        "plane_orientation": highdicom.PlaneOrientationSequence(
            "PATIENT", first.directions.ravel().tolist()
        ),
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", one.place.tolist()) for one in source.slices
        ],
    }


def _describe(number: int, label: Label, algorithm: Algorithm) -> Any:
    import highdicom

    terms = terms_of(label)
    found = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name[:_LONGEST_NAME],
        segmented_property_category=concept(terms.category),
        segmented_property_type=concept(terms.kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=_identified(algorithm),
        tracking_uid=highdicom.UID(),
        tracking_id=label.name[:_LONGEST_NAME],
    )
    if not label.name.isascii():  # OHIF reads items by the letters that they state themselves
        found.SpecificCharacterSet = "ISO_IR 192"
    if terms.side is not None:
        kind = found.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [concept(terms.side)]
    return found


def _identified(algorithm: Algorithm) -> Any:
    """The algorithm as highdicom has it."""
    import highdicom
    from pydicom.sr.codedict import codes

    return highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name[:_LONGEST_NAME],
        version=algorithm.version,
        family=codes.DCM.ArtificialIntelligence,
        source="medssl",
        parameters=dict(algorithm.parameters) or None,
    )
