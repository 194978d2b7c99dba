"""Small DICOM series on any grid, written to a folder."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from medssl.data.geometry import Geometry

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_series(
    folder: Path, geometry: Geometry, values: np.ndarray | None = None, **header: Any
) -> Path:
    """Slices 000.dcm, 001.dcm ... along the third axis of a grid, of Doe^Jane, SECRET.

    Args:
        values: [X, Y, Z] uint16; zeros without.
        header: other attributes of every slice; None removes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uids = [generate_uid() for _ in range(3)]
    pixels = np.zeros(geometry.shape, np.uint16) if values is None else values.astype(np.uint16)
    for number in range(geometry.shape[2]):
        plane = np.ascontiguousarray(pixels[:, :, number].T)
        write_slice(folder / f"{number:03}.dcm", geometry, number, plane, uids, header)
    return folder


def write_slice(
    path: Path,
    geometry: Geometry,
    number: int,
    plane: np.ndarray,
    uids: list[str],
    header: dict[str, Any],
) -> None:
    """One slice [rows, columns]; `uids` are those of study, series and frame of reference."""
    affine = RAS_TO_LPS @ geometry.affine
    columns, rows, _ = geometry.shape
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = header.get("SOPClassUID") or MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = uids
    one.Modality, one.SeriesNumber, one.InstanceNumber = "MR", 7, number + 1
    one.PatientName, one.PatientID, one.PatientSex = "Doe^Jane", "SECRET", "F"
    one.Rows, one.Columns = rows, columns
    spacing = geometry.spacing
    one.PixelSpacing, one.SliceThickness = [_ds(spacing[1]), _ds(spacing[0])], _ds(spacing[2])
    directions = affine[:3, :3] / spacing
    one.ImageOrientationPatient = [_ds(value) for value in directions[:, :2].T.ravel()]
    place = affine[:3, 3] + number * affine[:3, 2]
    one.ImagePositionPatient = [_ds(value) for value in place]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.PixelData = plane.tobytes()
    for keyword, value in header.items():
        if value is None:
            delattr(one, keyword)
        else:
            setattr(one, keyword, value)
    one.save_as(path, enforce_file_format=True)


def _ds(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)
