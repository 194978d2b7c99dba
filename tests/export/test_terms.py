"""Codes of DICOM segments: the data spec's own, else looked up by name, else told to be generic."""

import pytest

from medssl.data.labels import Code, Label
from medssl.export.terms import GENERIC, guessed, terms_of


def of(name, **given):
    return terms_of(Label(value=1, name=name, **given))


@pytest.mark.parametrize(
    ("name", "value", "category", "side"),
    [
        ("liver", "10200004", "Anatomical Structure", None),
        ("Left_Kidney", "64033007", "Anatomical Structure", "Left"),
        ("kidney right", "64033007", "Anatomical Structure", "Right"),
        ("LeftKidney", "64033007", "Anatomical Structure", "Left"),
        ("left atrium", "82471001", "Anatomical Structure", None),
        ("lungs", "39607008", "Anatomical Structure", None),
        ("tumour", "108369006", "Morphologically Abnormal Structure", None),
        ("grey matter", "389081007", "Anatomical Structure", None),
        ("fat", "55603005", "Tissue", None),
    ],
)
def test_common_structures_are_known_by_name(name, value, category, side):
    found = of(name)
    assert (found.kind.value, found.category.meaning) == (value, category)
    assert (found.side.meaning if found.side else None) == side
    assert found.guess


def test_what_the_data_spec_says_is_not_looked_up():
    own = Code(value="1", scheme="99X", meaning="Mine")
    found = of("liver", code=own)
    assert (found.kind, found.category, found.guess) == (own, GENERIC, False)


def test_warnings_name_what_was_looked_up_and_what_is_unknown():
    labels = (
        Label(value=1, name="left kidney"),
        Label(value=2, name="thing"),
        Label(value=3, name="spleen", code=Code(value="78961009", meaning="Spleen")),
    )
    assert guessed(labels) == [
        "codes were looked up by name, as the data spec has none: left kidney: Kidney, left (SCT "
        "64033007)",
        "no code is known for thing: DICOM calls it Tissue (SCT 85756007); give the labels a code "
        "in the data spec",
    ]
