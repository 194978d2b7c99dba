"""Whatever is done to one slice, its series is read as before or one sentence refuses it."""

import random
import subprocess
import sys

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from medssl.data.volume import read_geometry, read_volume
from medssl.errors import DataError

JUNK = (b"", b"junk", b"1\\2", b"\xff\xff", b"\0\0\0\0", b"nan ", b"-1", b"9" * 400, b"1.2.3 ")


@pytest.fixture
def three(tmp_path, write):
    """A folder of three slices: 0.dcm, 1.dcm, 2.dcm."""
    folder = tmp_path / "three"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.dcm", 3.0 * number)
    return folder


@pytest.fixture
def expected(three):
    return read_volume(three).array


def _is_whole_or_refused(folder, expected):
    """Either every slice is there, or a sentence says what is wrong and quotes nothing."""
    said = ""
    try:
        read_geometry(folder)
        found = read_volume(folder).array
    except DataError as error:
        said = str(error)
    if said:
        assert not any(word in said for word in ("SECRET", "Doe", "\n"))
        return "refused"
    assert found.shape == expected.shape
    return "read" if np.array_equal(found, expected) else "changed"


def _tags_of(path):
    return [element.tag for element in dcmread(path) if element.tag.group != 2]


@pytest.mark.parametrize("number", [0, 2])
def test_every_tag_may_be_missing(three, expected, number):
    path = three / f"{number}.dcm"
    content = path.read_bytes()
    for tag in _tags_of(path):
        path.write_bytes(content)
        header = dcmread(path)
        del header[tag]
        header.save_as(path)
        assert _is_whole_or_refused(three, expected) in ("read", "refused"), tag


BELIEVED = {"RescaleSlope", "RescaleIntercept"}
"""Tags in which -1 is a number as any other, and changes the values."""


@pytest.mark.filterwarnings("ignore")  # pydicom dislikes writing such values
@pytest.mark.parametrize("number", [0, 2])
def test_every_tag_may_hold_junk(three, expected, number):
    path = three / f"{number}.dcm"
    content = path.read_bytes()
    for tag in _tags_of(path):
        for junk in JUNK:
            path.write_bytes(content)
            header = dcmread(path)
            header[tag] = RawDataElement(tag, header[tag].VR, len(junk), junk, 0, False, True)
            header.save_as(path)
            if _is_whole_or_refused(three, expected) == "changed":
                assert (keyword_for_tag(tag) in BELIEVED, junk) == (True, b"-1"), tag


@pytest.mark.parametrize("number", [0, 2])
def test_a_file_may_be_cut_anywhere(three, expected, number):
    path = three / f"{number}.dcm"
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        assert _is_whole_or_refused(three, expected) == "refused", length


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_of_another_encoding_may_be_cut_anywhere(tmp_path, write, syntax):
    for number in range(2):
        write(tmp_path / f"{number}.dcm", 3.0 * number, syntax=syntax)
    expected = read_volume(tmp_path).array
    path = tmp_path / "1.dcm"
    content = path.read_bytes()
    for length in range(0, len(content), 17):
        path.write_bytes(content[:length])
        found = _is_whole_or_refused(tmp_path, expected)
        # The last bytes of a deflated stream end it and hold no more data.
        ends = syntax.is_deflated and len(content) - length < 8
        assert found == "refused" or (ends and found == "read"), length


@pytest.mark.filterwarnings("ignore")
def test_bytes_of_a_header_may_be_anything(three, expected):
    path = three / "2.dcm"
    content = path.read_bytes()
    draw = random.Random(0)
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(128, len(content) - 24)] = draw.randrange(256)
        path.write_bytes(changed)
        _is_whole_or_refused(three, expected)


def test_reading_junk_prints_nothing(three):
    path = three / "1.dcm"
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.2", b"SECRET" * 4 + b"!"))
    command = "import sys; from medssl.data.volume import *; print(read_volume(Path(sys.argv[1])))"
    said = subprocess.run([sys.executable, "-c", command, three], capture_output=True, check=True)
    assert said.stdout.startswith(b"Volume(")
    assert said.stderr == b""
