"""Results for other programs: DICOM-SEG, GeoJSON, heat maps, model packages."""
