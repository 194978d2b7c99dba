"""The volumes of segments as a DICOM structured report of the template TID 1500."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.atomic import appearing
from medssl.export.dicom_source import series_number
from medssl.export.result import Result
from medssl.export.terms import concept, terms_of


def write_report(
    headers: Sequence[Any],
    segmentation: Any,
    result: Result,
    millilitres: Sequence[float],
    path: Path,
) -> None:
    """Write a report; the file appears complete or not at all.

    Args:
        headers: of the scan.
        segmentation: the DICOM-SEG object that marks what is measured.
        millilitres: volume of each label's segment.
    """
    import highdicom
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=highdicom.UID(), name="medssl", manufacturer_name="medssl", model_name="medssl"
        ),
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[
            _measured(number, segmentation, headers[0], result, volume)
            for number, volume in enumerate(millilitres, start=1)
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    document = sr.Comprehensive3DSR(
        evidence=[*headers, segmentation],
        content=report[0],
        series_instance_uid=highdicom.UID(),
        series_number=series_number(headers[0], 1),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="medssl",
        series_description="medssl volumes",
        is_complete=True,
    )
    with appearing(path, _is_readable) as beside:
        document.save_as(beside)


def _measured(number: int, segmentation: Any, header: Any, result: Result, volume: float) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    label, algorithm = result.labels[number - 1], result.algorithm
    described = next(one for one in segmentation.SegmentSequence if one.SegmentNumber == number)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=described.TrackingUID, identifier=described.TrackingID
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(header.SeriesInstanceUID),
        ),
        finding_type=concept(terms_of(label).kind),
        finding_category=concept(terms_of(label).category),
        algorithm_id=sr.AlgorithmIdentification(
            name=algorithm.name,
            version=algorithm.version,
            parameters=[f"{name}={value}" for name, value in algorithm.parameters] or None,
        ),
        measurements=[
            sr.Measurement(
                name=codes.SCT.Volume,
                value=float(f"{volume:.6g}"),
                unit=Code("ml", "UCUM", "milliliter"),
            )
        ],
    )


def _is_readable(path: Path) -> None:
    import highdicom

    highdicom.sr.srread(path)
