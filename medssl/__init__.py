"""medssl: medical-image segmentation from many scans and few labels."""

__version__ = "0.1.0"
