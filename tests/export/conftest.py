"""A DICOM series on any grid, and a checkpoint that was never trained."""

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from medssl.data.labels import Code, Label

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

LABELS = (
    Label(
        value=1,
        name="hippocampus",
        code=Code(value="5366008", meaning="Hippocampus"),
        category=Code(value="91723000", meaning="Anatomical Structure"),
    ),
    Label(value=5, name="something new"),
    Label(value=2, name="white matter", code=Code(value="389080008", meaning="White Matter")),
)


def _slice(path, geometry, number, uids, header):
    affine = RAS_TO_LPS @ geometry.affine
    columns, rows, _ = geometry.shape
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
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
    one.PixelData = np.zeros((rows, columns), np.uint16).tobytes()
    for keyword, value in header.items():
        if value is None:
            delattr(one, keyword)
        else:
            setattr(one, keyword, value)
    one.save_as(path, enforce_file_format=True)


def _ds(value):
    return DSfloat(float(value), auto_format=True)


@pytest.fixture
def make_series(tmp_path):
    """Writes slices along the third axis of a geometry; None removes an attribute."""

    def make(geometry, **header):
        folder = tmp_path / "series"
        folder.mkdir()
        uids = [generate_uid() for _ in range(3)]
        for number in range(geometry.shape[2]):
            _slice(folder / f"{number:03}.dcm", geometry, number, uids, header)
        return folder

    return make


@pytest.fixture
def checkpoint(tmp_path):
    """Folder of a tiny two-network checkpoint with the labels of LABELS."""
    from medssl.networks.build import build_network
    from medssl.networks.ensemble import Ensemble
    from medssl.networks.settings import NetworkSettings
    from medssl.settings import PredictSettings
    from medssl.train.checkpoint import Checkpoint, DataCard, save_checkpoint
    from medssl.transforms.chain import Preprocess

    network = NetworkSettings(name="unet3d", width=2, levels=2, dropout=0)
    members = Ensemble(build_network(network, 2, 4, seed) for seed in (0, 1))
    described = Checkpoint(
        network=network,
        members=2,
        channels=("t1", "flair"),
        labels=LABELS,
        modality="MR",
        patch=(16, 16, 8),
        preprocess=Preprocess.of({"mr": {"spacing": (1.0, 1.0, 3.0)}}),
        predict=PredictSettings(),
        method={"name": "tracoco"},
        paper="Liu et al., TraCoCo",
        split_hash="abc123",
        data=DataCard(
            name="toy", title="Toy brains", licence="CC BY 4.0", citation="Doe 2020", simulated=True
        ),
        code="0.1.0",
        step=500,
        metrics={"dice": 0.81239, "loss": 0.4},
    )
    save_checkpoint(tmp_path / "last", members, described)
    return tmp_path / "last"
