"""Every format that the fuzz driver knows."""

from tests.drivers.fuzzing import (
    bags,
    commands,
    dicom,
    itk,
    kept,
    lists,
    models,
    nifti,
    outlines,
    pictures,
    slides,
    written,
)
from tests.drivers.fuzzing.format import Format

FORMATS: tuple[Format, ...] = (
    nifti.FORMAT,
    itk.FORMAT,
    dicom.SERIES,
    dicom.RADIOGRAPH,
    pictures.FORMAT,
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
