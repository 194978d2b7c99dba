"""Whatever is done to one slice, its series is read as before or one sentence refuses it."""

import random

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

JUNK = (b"", b"junk", b"1\\2", b"\xff\xff", b"\0\0\0\0", b"nan ", b"-1", b"9" * 400, b"1.2.3 ")


@pytest.fixture
def expected(eight):
    return read_volume(eight).array


def _is_whole_or_refused(folder, expected):
    """Either every slice is there, or a sentence says what is wrong."""
    try:
        read_geometry(folder)
        found = read_volume(folder).array
    except DataError as error:
        assert "SECRET" not in str(error)
        assert "Doe" not in str(error)
        assert "\n" not in str(error)
        return "refused"
    assert found.shape == expected.shape
    return "read" if np.array_equal(found, expected) else "changed"


def _tags_of(path):
    return [element.tag for element in dcmread(path) if element.tag.group != 2]


@pytest.mark.parametrize("number", [0, 4, 7])
def test_every_tag_may_be_missing(eight, expected, number):
    path = eight / f"{number:03}.dcm"
    content = path.read_bytes()
    for tag in _tags_of(path):
        path.write_bytes(content)
        header = dcmread(path)
        del header[tag]
        header.save_as(path)
        assert _is_whole_or_refused(eight, expected) in ("read", "refused"), tag


HARMLESS_IF_CHANGED = {"RescaleSlope", "RescaleIntercept"}
"""A number that can be is believed; `-1` is one."""


@pytest.mark.filterwarnings("ignore")  # pydicom dislikes writing such values
@pytest.mark.parametrize("number", [0, 4, 7])
def test_every_tag_may_hold_junk(eight, expected, number):
    path = eight / f"{number:03}.dcm"
    content = path.read_bytes()
    for tag in _tags_of(path):
        for junk in JUNK:
            path.write_bytes(content)
            header = dcmread(path)
            kind = header[tag].VR
            header[tag] = RawDataElement(tag, kind, len(junk), junk, 0, False, True)
            header.save_as(path)
            outcome = _is_whole_or_refused(eight, expected)
            if header.data_element and outcome == "changed":
                from pydicom.datadict import keyword_for_tag

                assert keyword_for_tag(tag) in HARMLESS_IF_CHANGED, (tag, junk)


@pytest.mark.parametrize("number", [0, 7])
def test_a_file_may_be_cut_anywhere(eight, expected, number):
    path = eight / f"{number:03}.dcm"
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        assert _is_whole_or_refused(eight, expected) == "refused", length


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_of_another_encoding_may_be_cut_anywhere(tmp_path, write, syntax):
    for number in range(2):
        write(tmp_path / f"{number}.dcm", 3.0 * number, syntax=syntax)
    expected = read_volume(tmp_path).array
    path = tmp_path / "1.dcm"
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        assert _is_whole_or_refused(tmp_path, expected) == "refused", length


def test_bytes_of_a_header_may_be_anything(eight, expected):
    path = eight / "004.dcm"
    content = path.read_bytes()
    draw = random.Random(0)  # noqa: S311
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(128, len(content) - 24)] = draw.randrange(256)
        path.write_bytes(changed)
        _is_whole_or_refused(eight, expected)
