"""Results for other systems: NIfTI, DICOM, model packages."""
