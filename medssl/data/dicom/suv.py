"""PET in standardised uptake values by body weight (SUVbw), g/ml, where the tags allow.

As the Quantitative Imaging Biomarkers Alliance computes it from Bq/ml: value * weight / dose, where
the dose has decayed as the values were corrected for: until the scan began (DecayCorrection START),
or not at all (ADMIN). Scanners of Philips that count (CNTS) state the factor themselves. Files that
were converted to several frames have the tags that their kind does not know in the functional
groups of all frames.
"""

from datetime import datetime, timedelta
from typing import Any

from medssl.data.dicom.header import read_header
from medssl.data.dicom.stored import DAMAGE

_PHILIPS_SUV = 0x70531000
_TAGS = [
    "Units", "DecayCorrection", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
    "PatientWeight", "RadiopharmaceuticalInformationSequence",
    "SharedFunctionalGroupsSequence",
]  # fmt: skip
SUV = "SUV"


def suv_factor(path: Any) -> tuple[float, str]:
    """What rescaled values of a PET file are to be multiplied by, and the unit that they have then.

    Where the tags do not allow SUV the factor is 1 and the unit as stated, e.g. "BQML"; a tag that
    is missing follows, e.g. "BQML, no PatientWeight".
    """
    try:
        header = read_header(path, specific_tags=[*_TAGS, _PHILIPS_SUV])
        _take_converted(header)
    except DAMAGE:
        return 1.0, ""
    units = str(header.get("Units") or "").upper()
    if units == "GML":
        return 1.0, SUV
    if units == "CNTS" and (factor := _philips(header)) is not None:
        return factor, SUV
    if units != "BQML":
        return 1.0, units or "of no stated unit"
    weight, missing = _positive(header, "PatientWeight"), "PatientWeight"
    dose = None
    if weight is not None:
        dose, missing = _dose(header)
    if weight is None or dose is None:
        return 1.0, f"{units}, no {missing}"
    return 1000 * weight / dose, SUV


def _take_converted(header: Any) -> None:
    """Put tags from the functional groups of all frames where those of single slices have them."""
    for shared in header.get("SharedFunctionalGroupsSequence") or ():
        for group in shared.get("UnassignedSharedConvertedAttributesSequence") or ():
            for element in group:
                if element.tag not in header:
                    header.add(element)


def _dose(header: Any) -> tuple[float | None, str]:
    """Bq that the values refer to; None with the tag that is missing."""
    given = (header.get("RadiopharmaceuticalInformationSequence") or [None])[0]
    dose = None if given is None else _positive(given, "RadionuclideTotalDose")
    if given is None or dose is None:
        return None, "RadionuclideTotalDose"
    correction = str(header.get("DecayCorrection") or "")
    if correction == "ADMIN":
        return dose, ""
    half = _positive(given, "RadionuclideHalfLife")
    begin = _moment(header, "SeriesDate", "SeriesTime")
    acquired = _moment(header, "AcquisitionDate", "AcquisitionTime")
    if correction != "START" or half is None or begin is None:
        wanting = {"DecayCorrection": correction == "START", "RadionuclideHalfLife": half}
        return None, next((name for name, there in wanting.items() if not there), "SeriesTime")
    if acquired is not None and begin > acquired:  # the series was made anew after the scan
        return None, "SeriesTime of the scan"
    injected = _injected(given, begin)
    if injected is None:
        return None, "RadiopharmaceuticalStartTime"
    waited = (begin - injected).total_seconds()
    return dose * 2 ** (-waited / half), ""


def _injected(given: Any, begin: datetime) -> datetime | None:
    """When the dose was given: as stated, or at that time of the day before the scan began."""
    stated = _parsed(str(given.get("RadiopharmaceuticalStartDateTime") or "")[:14])
    if stated is not None:
        return stated
    time = str(given.get("RadiopharmaceuticalStartTime") or "")
    found = _parsed(f"{begin:%Y%m%d}{time[:6]}") if time else None
    return found - timedelta(days=1) if found is not None and found > begin else found


def _moment(header: Any, date: str, time: str) -> datetime | None:
    return _parsed(str(header.get(date) or "") + str(header.get(time) or "")[:6])


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S")
    except ValueError:
        return None


def _positive(header: Any, keyword: str) -> float | None:
    try:
        found = float(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return None
    return found if found > 0 else None


def _philips(header: Any) -> float | None:
    """The factor of counts that Philips keeps in a private tag."""
    try:
        value = header[_PHILIPS_SUV].value
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        found = float(text.strip(" \0"))
    except DAMAGE:
        return None
    return found if found > 0 else None
