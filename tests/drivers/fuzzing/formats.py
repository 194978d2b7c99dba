"""Every format that the fuzz driver knows."""

from tests.drivers.fuzzing import (
    bags,
    commands,
    dicom,
    dicom_frames,
    dicom_labels,
    dicom_study,
    itk,
    kept,
    lists,
    models,
    nifti,
    outlines,
    pictures,
    radiographs,
    slides,
    written,
)
from tests.drivers.fuzzing.format import Format

FORMATS: tuple[Format, ...] = (
    nifti.FORMAT,
    itk.FORMAT,
    dicom.SERIES,
    dicom.RADIOGRAPH,
    dicom_frames.FORMAT,
    dicom_labels.FORMAT,
    dicom_study.FORMAT,
    radiographs.FORMAT,
    pictures.PICTURE,
    pictures.DICOM,
    slides.FORMAT,
    slides.FEATURES,
    outlines.FORMAT,
    bags.NPZ,
    bags.TABLE,
    *lists.FORMATS,
    *written.FORMATS,
    *models.FORMATS,
    *kept.FORMATS,
    commands.FORMAT,
)
