"""A picture of whatever kind, by the ending of its name."""

from pathlib import Path

from medssl.data.files import DICOM
from medssl.data.picture.picture import Picture
from medssl.errors import DataError


def read_picture(path: Path) -> Picture:
    """The picture in a PNG, JPEG, BMP, TIFF or single DICOM file.

    Raises:
        DataError: it is missing, damaged, too large, or none.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file", "", "check the path")
    ending = path.suffix.lower()
    if ending in (".tif", ".tiff"):
        from medssl.data.picture.tiff import read_tiff

        return read_tiff(path)
    if ending in DICOM:
        from medssl.data.picture.dicom import read_dicom_picture

        return read_dicom_picture(path)
    from medssl.data.picture.plain import read_plain

    return read_plain(path)
