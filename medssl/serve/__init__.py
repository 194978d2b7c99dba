"""A small service: studies in by DICOMweb, segmentations out; masks for 3D Slicer and OHIF."""
