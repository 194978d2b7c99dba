"""Regions as they are declared."""

import pytest

from medssl.data.regions import brats, regions_of
from medssl.data.spec import make_spec

LABELS = [("necrosis", 1), ("oedema", 2), ("enhancing", 4)]


def spec(**keys):
    plain = {
        "name": "x", "title": "x", "modality": "MR", "channels": ["t1"], "root": "x",
        "labels": [{"value": value, "name": name} for name, value in LABELS],
        "layout": {"kind": "decathlon"}, "licence": "x", "citation": "x",
    }  # fmt: skip
    return make_spec(plain | keys, "test")


def test_each_region_is_written_as_a_label_that_no_later_one_has():
    found = regions_of({"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, LABELS)
    assert [(one.name, one.classes, one.written) for one in found] == [
        ("WT", (1, 2, 3), 2), ("TC", (1, 3), 1), ("ET", (3,), 3),
    ]  # fmt: skip


def test_an_order_says_what_each_is_written_as():
    found = regions_of({"all": (1, 2), "a": (1,), "b": (2,)}, LABELS[:2], (1, 1, 2))
    assert [one.written for one in found] == [1, 1, 2]


@pytest.mark.parametrize(
    ("unions", "order", "words"),
    [
        ({"a": ()}, None, "'a' unites no label"),
        ({"a": (1, 7)}, None, "'a' has the value 7"),
        ({"ET": (4,), "WT": (1, 2, 4)}, None, "written over all of 'ET'.*larger regions before"),
        ({"WT": (1, 2, 4)}, (2, 1), "has 2 values, and there are 1 regions"),
        ({"WT": (1, 2, 4), "ET": (4,)}, (2, 1), "writes 'ET' as 1, which is none of its labels"),
        ({"WT": (1, 2, 4), "ET": (4,)}, None, "would hold 'necrosis' where 'oedema' is"),
        ({"WT": (1, 4), "ET": (4,)}, None, "'oedema' is in no region"),
        ({"A": (1, 4), "B": (2, 4)}, None, "would hold 'oedema' where 'enhancing' is"),
    ],
)
def test_what_masks_cannot_be_written_of_is_refused(unions, order, words):
    with pytest.raises(ValueError, match=words):
        regions_of(unions, LABELS, order)


def test_brats_by_the_names_of_its_labels():
    expected = {
        "whole tumour": (1, 2, 4), "tumour core": (1, 4), "enhancing tumour": (4,)
    }  # fmt: skip
    assert brats(LABELS) == expected
    assert brats([("NCR/NET", 1), ("ED", 2), ("ET", 4)]) == expected
    decathlon = [("edema", 1), ("non-enhancing tumor", 2), ("enhancing tumour", 3)]
    assert list(brats(decathlon).values()) == [(1, 2, 3), (2, 3), (3,)]
    with pytest.raises(ValueError, match="needs a label for oedema"):
        brats([("liver", 1), ("enhancing", 2)])


def test_brats_in_a_data_spec():
    found = spec(regions="brats")
    assert found.structures == ("whole tumour", "tumour core", "enhancing tumour")
    assert [region.written for region in found.united] == [2, 1, 3]


def test_cases_may_outline_some_regions_alone():
    found = spec(regions="brats", outlined={"^old_": ["whole tumour"]})
    assert found.outlined_in("old_1") == (True, False, False)
    assert found.structures_in("old_1") == ("whole tumour",)
    assert found.outlined_in("new_1") is None
    assert len(found.structures_in("new_1")) == 3


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"regions": "brats", "outlined": {"a": ["oedema"]}}, "'oedema', which is no region"),
        ({"regions_class_order": [1]}, "without regions"),
        ({"regions": "brats", "labels": [{"value": 1, "name": "liver"}]}, "regions: brats needs"),
    ],
)
def test_a_wrong_declaration_is_refused(keys, words):
    with pytest.raises(Exception, match=words):
        spec(**keys)
