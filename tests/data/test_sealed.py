"""A sealed file is read as before, and no flipped bit and no missing end passes for it."""

import numpy as np
import pytest

from medssl.data.sealed import is_intact, is_kept, kept_content, seal

ARRAY = np.arange(12, dtype=np.float16).reshape(3, 4)


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, ARRAY)
    seal(path)
    return path


def test_numpy_reads_what_is_sealed(sealed):
    np.testing.assert_array_equal(np.load(sealed), ARRAY)
    np.testing.assert_array_equal(np.load(sealed, mmap_mode="r"), ARRAY)
    assert is_intact(sealed)


def test_the_seal_is_the_crc_32_of_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"123456789")
    seal(path)
    assert path.read_bytes() == b"123456789\nCRC-32 cbf43926\n"  # the published check value
    assert kept_content(path) == b"123456789"


def test_no_flipped_bit_passes(sealed):
    whole = sealed.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            sealed.write_bytes(flipped)
            assert not is_intact(sealed), (place, bit)
            assert kept_content(sealed) is None


@pytest.mark.parametrize("left", [0, 1, 100, 150, -1])
def test_no_missing_end_passes(sealed, left):
    sealed.write_bytes(sealed.read_bytes()[:left])
    assert not is_intact(sealed)
    assert kept_content(sealed) is None
    assert kept_content(sealed.with_name("absent")) is None


def test_damage_is_told_and_absence_is_not(sealed, caplog):
    assert is_kept(sealed)
    assert not is_kept(sealed.with_name("absent.npy"))
    assert not caplog.records
    sealed.write_bytes(sealed.read_bytes()[:-3])
    assert not is_kept(sealed)
    assert "image.npy is damaged, and is made anew" in caplog.text
