"""One slice of a DICOM series, as a file."""

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

TWELVE = np.arange(12, dtype=np.uint16).reshape(3, 4)


def make_slice(z=0.0, values=TWELVE, syntax=ExplicitVRLittleEndian, **header):
    """A CT slice of rows 2 mm and columns 0.5 mm apart; None removes an attribute."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.4"
    one.Modality, one.PatientName, one.PatientID = "CT", "Doe^Jane", "SECRET"
    one.Rows, one.Columns = values.shape[:2]
    one.PixelSpacing, one.SliceThickness = [2.0, 0.5], 3.0
    one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    one.ImagePositionPatient = [10, 20, 30 + z]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 8 * values.dtype.itemsize
    one.PixelRepresentation = int(values.dtype.kind == "i")
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    for keyword, value in header.items():
        if value is None:
            delattr(one, keyword)
        else:
            setattr(one, keyword, value)
    one.HighBit = one.BitsStored - 1
    order = "<" if syntax.is_little_endian else ">"
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    one.PixelData = data + b"\0" * (len(data) % 2)
    one["PixelData"].VR = "OW" if one.BitsAllocated > 8 else "OB"
    return one


@pytest.fixture
def write():
    """Writes one slice to a path; see `make_slice`."""

    def write(path, z=0.0, values=TWELVE, **options):
        one = make_slice(z, values, **options)
        syntax = one.file_meta.TransferSyntaxUID
        encoding = {"implicit_vr": syntax.is_implicit_VR, "little_endian": syntax.is_little_endian}
        dcmwrite(path, one, enforce_file_format=True, **encoding)
        return path

    return write


@pytest.fixture
def eight(tmp_path, write):
    """A folder of eight slices, 3 mm apart: 000.dcm to 007.dcm, values 100 to 111, 200 to 211..."""
    folder = tmp_path / "eight"
    folder.mkdir()
    for number in range(8):
        write(folder / f"{number:03}.dcm", 3.0 * number, TWELVE + np.uint16(100 * (number + 1)))
    return folder
