"""Masks as DICOM RT Structure Sets: closed contours on the slices of the series."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import medssl
from medssl.atomic import appearing
from medssl.data.dicom.series import Series
from medssl.data.labels import Label
from medssl.export.contours import outlines
from medssl.export.dicom_source import discreet, series_number, source_headers
from medssl.export.result import Result
from medssl.export.terms import concept, terms_of

_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
"""Of Okabe and Ito, which colour-blind readers can tell apart."""

_LONGEST_NAME = 64
_KEPT = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
    "StudyID", "StudyDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip


def write_rtstruct(result: Result, path: Path) -> None:
    """Write a mask as one structure set; the file appears complete or not at all.

    Each label is a structure, empty or not. Its contours lie on the series' slices, to a millionth
    of a millimetre; voxels whose centres are inside them are those of the mask.

    Raises:
        DataError: if the mask lies on another grid or holds values that no label has, or if the
            series lacks what must be referred to.
    """
    source = result.referred
    segments = result.segments(result.on_series(result.values))
    with discreet(source):
        dataset = _structure_set(source_headers(source), source, segments, result)
        with appearing(path, _is_readable) as beside:
            dataset.save_as(beside, enforce_file_format=True)


def _is_readable(path: Path) -> None:
    from pydicom import dcmread

    dcmread(path, specific_tags=["ROIContourSequence"])


def _structure_set(
    headers: Sequence[Any], source: Series, segments: np.ndarray, result: Result
) -> Any:
    from pydicom.uid import RTStructureSetStorage, generate_uid

    one = _dataset(headers[0])
    one.SOPClassUID, one.SOPInstanceUID = RTStructureSetStorage, generate_uid(prefix=None)
    one.Modality, one.SeriesInstanceUID = "RTSTRUCT", generate_uid(prefix=None)
    one.SeriesNumber = series_number(headers[0])
    one.SeriesDescription = "medssl structures"
    one.Manufacturer = one.ManufacturerModelName = "medssl"
    one.SoftwareVersions, one.OperatorsName = medssl.__version__, ""
    now = datetime.now()
    one.StructureSetLabel = "SEGMENTATION"
    one.StructureSetDescription = f"Automatic, not for clinical use: {result.algorithm.name}"
    one.StructureSetDate, one.StructureSetTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    one.ApprovalStatus = "UNAPPROVED"
    images = _images(headers, source)
    one.ReferencedFrameOfReferenceSequence = [_reference(headers[0], images)]
    numbered = list(enumerate(result.labels, start=1))
    one.StructureSetROISequence = [
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=headers[0].FrameOfReferenceUID,
            ROIName=label.name[:_LONGEST_NAME],
            ROIGenerationAlgorithm="AUTOMATIC",
            ROIGenerationDescription=f"{result.algorithm.name} {result.algorithm.version}",
        )
        for number, label in numbered
    ]
    one.ROIContourSequence = [
        _item(
            ReferencedROINumber=number,
            ROIDisplayColor=list(_COLOURS[(number - 1) % len(_COLOURS)]),
            ContourSequence=list(_contours(segments == number, source, images)),
        )
        for number, _ in numbered
    ]
    one.RTROIObservationsSequence = [_observation(number, label) for number, label in numbered]
    return one


def _dataset(header: Any) -> Any:
    """A new object of the study and patient of a header."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SpecificCharacterSet = header.SpecificCharacterSet
    for keyword in _KEPT:
        if keyword in header:
            setattr(one, keyword, header[keyword].value)
    now = datetime.now()
    one.InstanceCreationDate = one.SeriesDate = f"{now:%Y%m%d}"
    one.InstanceCreationTime = one.SeriesTime = f"{now:%H%M%S}"
    return one


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    one = Dataset()
    for keyword, value in values.items():
        setattr(one, keyword, value)
    return one


def _images(headers: Sequence[Any], source: Series) -> list[Any]:
    """A reference to each slice, in order."""
    kinds = {str(header.SOPInstanceUID): header.SOPClassUID for header in headers}
    several = len(headers) < len(source.slices)
    found = []
    for one in source.slices:
        image = _item(ReferencedSOPClassUID=kinds[one.uid], ReferencedSOPInstanceUID=one.uid)
        if several:
            image.ReferencedFrameNumber = one.frame + 1
        found.append(image)
    return found


def _reference(header: Any, images: Sequence[Any]) -> Any:
    """The frame of reference, with study, series and every image."""
    from pydicom.uid import UID

    series = _item(SeriesInstanceUID=header.SeriesInstanceUID, ContourImageSequence=list(images))
    study = _item(
        ReferencedSOPClassUID=UID("1.2.840.10008.3.1.2.3.1"),
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=header.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _contours(mask: np.ndarray, source: Series, images: Sequence[Any]) -> Iterator[Any]:
    """The contours of a mask [columns, rows, slices]."""
    for number in np.flatnonzero(mask.any(axis=(0, 1))).tolist():
        one = source.slices[number]
        across, down = one.directions[0] * one.spacing[1], one.directions[1] * one.spacing[0]
        for outline in outlines(mask[:, :, number]):
            places = one.place + np.outer(outline[:, 0], across) + np.outer(outline[:, 1], down)
            yield _item(
                ContourImageSequence=[images[number]],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(places),
                ContourData=[f"{value:.6f}".rstrip("0").rstrip(".") for value in places.ravel()],
            )


def _observation(number: int, label: Label) -> Any:
    terms = terms_of(label)
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=label.name[:16],
        RTROIIdentificationCodeSequence=[concept(terms.kind)],
        RTROIInterpretedType="",
        ROIInterpreter="",
    )
