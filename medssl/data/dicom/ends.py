"""Whether slices may be lost at an end of a series, where no gap shows it."""

from pathlib import Path
from typing import Any

from medssl.data.dicom.header import read_header
from medssl.data.dicom.series import Series
from medssl.data.dicom.stored import DAMAGE

_KEYWORDS = ["InstanceNumber", "ImagesInAcquisition"]


def may_lack(series: Series) -> str:
    """What speaks for it, in words; empty where nothing does.

    The numbers of the slices at both ends say where a count began, and one of them how many images
    the acquisition had. Of a file of several frames neither is known to be about them.
    """
    count = len(series.slices)
    if len(set(series.files)) < count or count < 2:
        return ""
    (first, stated), (last, _) = (_numbers(path) for path in (series.files[0], series.files[-1]))
    if stated is not None and stated > count:
        return f"its acquisition had {stated} images, and {count} are here: an end may be lacking"
    if first is None or last is None:
        return ""
    low, high = sorted((first, last))
    if low > 1 and high - low == count - 1:
        return f"its slices are numbered from {low} to {high}: the first {low - 1} may be lacking"
    return ""


def _numbers(path: Path) -> tuple[int | None, int | None]:
    """InstanceNumber and ImagesInAcquisition of a file; None where one is not stated."""
    try:
        header = read_header(path, specific_tags=_KEYWORDS)
    except DAMAGE:
        return None, None
    return _whole(header, "InstanceNumber"), _whole(header, "ImagesInAcquisition")


def _whole(header: Any, keyword: str) -> int | None:
    try:
        return int(str(header.get(keyword)))
    except DAMAGE:
        return None
