"""The header of a DICOM file."""

from typing import Any


def read_header(file: Any, **options: Any) -> Any:
    """The header of a file, pydicom's, up to its pixels; a missing preamble does not matter.

    Raises:
        one of DAMAGE: the file is damaged.
    """
    from pydicom import dcmread

    return dcmread(file, stop_before_pixels=True, force=True, **options)
