"""Masks of volumes as PNG: a picture for each slice, read again as they were written."""

import json
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from medssl.data.files import is_image, is_picture, stem
from medssl.data.geometry import Geometry
from medssl.data.volume import read_geometry, read_mask, read_volume, write_mask
from medssl.errors import DataError

SHAPE = (7, 5, 4)
TURN = np.array([[0.8, -0.6, 0.1], [0.6, 0.8, 0], [0, 0.1, 1]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = TURN * [0.7, 1.1, 1 / 3]
OBLIQUE[:3, 3] = [-12.3, 45.6, 1e-3]


def values(kind=np.uint8, most=255):
    return np.random.default_rng(0).integers(0, most, SHAPE, endpoint=True).astype(kind)


@pytest.fixture
def written(tmp_path):
    write_mask(values(), Geometry(SHAPE, OBLIQUE), tmp_path / "case.png.zip")
    return tmp_path / "case.png.zip"


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_values_and_grid_are_read_again_to_the_bit(tmp_path, flips):
    path, affine = tmp_path / "case.png.zip", OBLIQUE @ np.diag([*flips, 1])
    write_mask(values(), Geometry(SHAPE, affine), path)
    found = read_mask(path)
    assert found.array.dtype == np.uint8
    assert (found.array[0] == values()).all()
    assert (found.geometry.affine == affine).all()
    assert read_geometry(path) == found.geometry
    assert (read_volume(path).array[0] == values()).all()


def test_other_programs_find_a_picture_of_each_slice_in_its_order(written):
    with zipfile.ZipFile(written) as file:
        names = [name for name in file.namelist() if name.endswith(".png")]
        assert names == ["0001.png", "0002.png", "0003.png", "0004.png"]
        for index, name in enumerate(names):
            picture = Image.open(BytesIO(file.read(name)))
            assert picture.mode == "L"
            assert (np.asarray(picture) == values()[..., index].T).all()
            assert picture.info["dpi"] == pytest.approx((25.4 / 0.7, 25.4 / 1.1), rel=1e-2)


def test_values_beyond_255_have_16_bits(tmp_path):
    path, many = tmp_path / "case.png.zip", values(np.uint16, 65535)
    write_mask(many, Geometry(SHAPE, np.eye(4)), path)
    assert (read_mask(path).array[0] == many).all()
    with zipfile.ZipFile(path) as file:
        picture = Image.open(BytesIO(file.read("0002.png")))
        assert (np.asarray(picture) == many[..., 1].T).all()


def test_the_file_says_nothing_but_values_and_grid(written, tmp_path):
    """No comment, date, user or name, so that equal masks are equal files."""
    with zipfile.ZipFile(written) as file:
        assert file.comment == b""
        told = {(one.date_time, one.comment, one.extra) for one in file.infolist()}
        assert told == {((1980, 1, 1, 0, 0, 0), b"", b"")}
        assert json.loads(file.read("grid.json")).keys() == {"shape", "type", "affine_to_ras_mm"}
        for name in file.namelist()[:-1]:
            assert Image.open(BytesIO(file.read(name))).info.keys() <= {"dpi"}
    again = tmp_path / "other.png.zip"
    write_mask(values(), Geometry(SHAPE, OBLIQUE), again)
    assert again.read_bytes() == written.read_bytes()


def test_it_is_a_volume_by_its_name(written):
    assert (is_image(written), is_picture(written), stem(written)) == (True, False, "case")


def rewritten(path, change):
    """The file with members {name: bytes} as `change` leaves them."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def png(array):
    found = BytesIO()
    Image.fromarray(array).save(found, "PNG")
    return found.getvalue()


def grid_with(**said):
    def change(members):
        members["grid.json"] = json.dumps(json.loads(members["grid.json"]) | said).encode()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members: members.pop("0003.png"), "0003.png"),
        (lambda members: members.pop("grid.json"), "no zip file of pictures that medssl wrote"),
        (lambda members: members.update({"grid.json": b"[" * 9000}), "that medssl wrote"),
        (lambda members: members.update({"0002.png": members["0002.png"][:60]}), "cannot be read"),
        (lambda members: members.update({"0002.png": png(np.zeros((7, 5), np.uint8))}), "size"),
        (lambda members: members.update({"0002.png": png(np.zeros((5, 7), bool))}), "type"),
        (lambda members: members.update({"0002.png": b"\0" * 10**7}), "0002.png in it is too lar"),
        (grid_with(shape=[7, 5, 5]), "0005.png"),
        (grid_with(shape=[7, 5]), "does not say what its pictures are"),
        (grid_with(shape=[7, 5, 2**31]), "claims"),
        (grid_with(shape=[7, 5, 2**20]), "holds too few"),
        (grid_with(shape=[7, -5, -4]), "not a volume"),
        (grid_with(type="float32"), "does not say what its pictures are"),
        (grid_with(type="nonsense"), "that medssl wrote"),
        (grid_with(affine_to_ras_mm=np.zeros((4, 4)).tolist()), "has no valid grid"),
        (grid_with(affine_to_ras_mm=[[1, 2]]), "that medssl wrote"),
        (grid_with(affine_to_ras_mm=np.eye(4).astype(str).tolist()), "that medssl wrote"),
        (grid_with(shape=[2.5, 3, 4]), "that medssl wrote"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_a_sentence(written, change, words):
    with pytest.raises(DataError, match=words):
        read_mask(rewritten(written, change))


def test_a_file_that_was_cut_off_is_refused(written):
    whole = written.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        written.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"case\.png\.zip (cannot be read|is empty)"):
            read_mask(written)
