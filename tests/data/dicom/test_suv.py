"""PET becomes SUV by numbers computed by hand; what the tags do not allow stays and is told."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from medssl.data.dicom.choice import Wanted, choose
from medssl.data.dicom.contents import candidates_in
from medssl.data.dicom.study import studies_in
from medssl.data.dicom.suv import suv_factor
from medssl.data.volume import read_volume
from medssl.errors import DataError

HALF_LIFE = 6586.2  # of fluorine 18, s


def injection(**header):
    given = Dataset()
    given.RadionuclideTotalDose, given.RadionuclideHalfLife = 350e6, HALF_LIFE
    given.RadiopharmaceuticalStartTime = "101000"
    for keyword, value in header.items():
        setattr(given, keyword, value)
    return [given]


PET = {
    "SOPClassUID": PositronEmissionTomographyImageStorage,
    "Modality": "PT",
    "Units": "BQML",
    "DecayCorrection": "START",
    "PatientWeight": 70,
    "SeriesDate": "20200102",
    "SeriesTime": "111000",
    "RadiopharmaceuticalInformationSequence": injection(),
}
HOUR = 70e3 / (350e6 * 2 ** (-3600 / HALF_LIFE))


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({}, HOUR),
        ({"SeriesTime": "091000"}, 70e3 / (350e6 * 2 ** (-23 * 3600 / HALF_LIFE))),
        ({"DecayCorrection": "ADMIN"}, 70e3 / 350e6),
        (
            {
                "RadiopharmaceuticalInformationSequence": injection(
                    RadiopharmaceuticalStartDateTime="20200102104000.00"
                )
            },
            70e3 / (350e6 * 2 ** (-1800 / HALF_LIFE)),
        ),
        ({"Units": "GML", "PatientWeight": 1}, 1.0),
    ],
)
def test_factors_computed_by_hand(tmp_path, write, changed, factor):
    write(tmp_path / "a.dcm", **{**PET, **changed})
    assert suv_factor(tmp_path / "a.dcm") == (pytest.approx(factor), "SUV")


@pytest.mark.parametrize(
    ("changed", "unit"),
    [
        ({"PatientWeight": 0}, "BQML, no PatientWeight"),
        ({"RadiopharmaceuticalInformationSequence": []}, "BQML, no RadionuclideTotalDose"),
        ({"DecayCorrection": "NONE"}, "BQML, no DecayCorrection"),
        ({"SeriesTime": ""}, "BQML, no SeriesTime"),
        (
            {"AcquisitionDate": "20200102", "AcquisitionTime": "100500"},
            "BQML, no SeriesTime of the scan",
        ),
        ({"Units": "CNTS"}, "CNTS"),
        ({"Units": ""}, "of no stated unit"),
    ],
)
def test_what_the_tags_do_not_allow_stays_as_it_is(tmp_path, write, changed, unit):
    write(tmp_path / "a.dcm", **{**PET, **changed})
    assert suv_factor(tmp_path / "a.dcm") == (1.0, unit)
    assert read_volume(tmp_path).array.max() == 11


def test_counts_of_philips_have_their_own_factor(tmp_path, write):
    def add(one):
        one.add_new(0x70530010, "LO", "Philips PET Private Group")
        one.add_new(0x70531000, "DS", "0.0005")

    path = write(tmp_path / "a.dcm", **{**PET, "Units": "CNTS"})
    import pydicom

    image = pydicom.dcmread(path)
    add(image)
    image.save_as(path)
    assert suv_factor(path) == (0.0005, "SUV")


def test_each_slice_is_rescaled_and_then_made_suv(tmp_path, write):
    for number in range(3):
        values = np.full((3, 4), 1000, np.uint16)
        write(
            tmp_path / f"{number}.dcm", 3.0 * number, values,
            **PET, RescaleSlope=number + 1, RescaleIntercept=0,
        )  # fmt: skip
    found = read_volume(tmp_path).array[0, 0, 0]
    np.testing.assert_allclose(found, np.array([1000, 2000, 3000]) * HOUR, rtol=1e-6)


def test_a_series_that_is_suv_in_part_is_refused(tmp_path, write):
    write(tmp_path / "0.dcm", 0.0, **PET)
    write(tmp_path / "1.dcm", 3.0, **{**PET, "PatientWeight": 0})
    with pytest.raises(DataError, match="slices of PET in several units"):
        read_volume(tmp_path)


def test_a_series_that_is_no_suv_is_taken_with_a_remark(tmp_path, write):
    for number in range(3):
        write(tmp_path / f"{number}", 3.0 * number, **{**PET, "PatientWeight": 0})
    (study,) = studies_in(tmp_path)
    found = choose(candidates_in(study), Wanted("PT", ("pet",)), "study")
    assert found.decisions[0].reason == "its values are no SUV, but BQML, no PatientWeight"
