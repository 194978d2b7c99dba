"""Grids: hand-computed places, and world-space properties over five ways to lie in a scanner."""

import nibabel
import numpy as np
import pytest

from medssl.data.geometry import Geometry, Orientation
from medssl.errors import UsageError

SHAPE = (5, 7, 4)
SPACING = (0.5, 1.25, 3.0)


def world(geometry):
    """RAS+ mm of every voxel centre, [3, X, Y, Z]."""
    index = np.indices(geometry.shape).reshape(3, -1)
    places = geometry.affine[:3, :3] @ index + geometry.affine[:3, 3:]
    return places.reshape(3, *geometry.shape)


def test_spacing_and_orientation_agree_with_nibabel(scanner_affine):
    geometry = Geometry(SHAPE, scanner_affine)
    assert geometry.spacing == pytest.approx(SPACING)
    assert geometry.orientation == "".join(nibabel.aff2axcodes(scanner_affine))


@pytest.mark.parametrize("code", ["RAS", "LPS", "SPL", "AIR"])
def test_reorienting_moves_no_voxel_in_the_patient(scanner_affine, code):
    before = Geometry(SHAPE, scanner_affine)
    after, change = before.oriented(code)
    assert after.orientation == code
    np.testing.assert_allclose(world(after), change.apply(world(before)), atol=1e-9)


def test_an_orientation_is_a_view():
    array = np.zeros(SHAPE)
    change = Orientation((2, 0, 1), (True, False, True))
    assert np.shares_memory(change.apply(array), array)
    assert change.apply(array).shape == (4, 5, 7)


@pytest.mark.parametrize("code", ["", "RA", "RLS", "XYZ", "RASR"])
def test_a_code_that_names_no_orientation_is_refused(code):
    with pytest.raises(UsageError, match="write for example RAS"):
        Geometry(SHAPE, np.eye(4)).oriented(code)


def test_a_crop_keeps_its_voxels_in_place(scanner_affine):
    geometry = Geometry(SHAPE, scanner_affine)
    crop = geometry.cropped((1, 2, 0), (4, 7, 3))
    assert crop.shape == (3, 5, 3)
    np.testing.assert_allclose(world(crop), world(geometry)[:, 1:4, 2:7, 0:3], atol=1e-9)


def test_a_crop_beyond_the_grid_pads():
    padded = Geometry(SHAPE, np.eye(4)).cropped((-2, 0, 0), (6, 7, 4))
    assert padded.shape == (8, 7, 4)
    assert padded.affine[:3, 3].tolist() == [-2, 0, 0]


def test_resampling_keeps_the_outer_faces(scanner_affine):
    before = Geometry(SHAPE, scanner_affine)
    after = before.resampled((1.0, 1.0, 1.0))
    assert after.shape == (2, 9, 12)  # 2.5 mm, 8.75 mm and 12 mm
    for index in (np.zeros(3), np.ones(3)):
        faces = [
            g.affine[:3, :3] @ (index * g.shape - 0.5) + g.affine[:3, 3] for g in (before, after)
        ]
        np.testing.assert_allclose(*faces, atol=1e-9)


def test_resampling_by_hand():
    halved = Geometry((4, 4, 4), np.eye(4)).resampled((2.0, 1.0, 0.5))
    assert halved.shape == (2, 4, 8)
    assert halved.spacing == (2.0, 1.0, 0.5)
    assert halved.affine[:3, 3].tolist() == [0.5, 0.0, -0.25]


def test_resampling_to_the_grids_own_spacing_changes_nothing(scanner_affine):
    geometry = Geometry(SHAPE, scanner_affine)
    assert geometry.resampled(geometry.spacing) is geometry


def test_equal_grids_match_to_the_tolerance():
    geometry = Geometry(SHAPE, np.eye(4))
    near = Geometry(SHAPE, _moved(0.008))
    assert geometry.matches(near)
    assert geometry.difference(near) == ""
    assert not geometry.matches(near, tolerance_mm=1e-3)


def _moved(x):
    affine = np.eye(4)
    affine[0, 3] = x
    return affine


def _turned(degrees):
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    affine = np.eye(4)
    affine[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return affine


DIFFERENCES = {
    "shape 5x7x4 against 5x7x3": Geometry((5, 7, 3), np.eye(4)),
    "spacing (1, 1, 1) mm against (1, 1, 1.2) mm": Geometry(SHAPE, np.diag([1, 1, 1.2, 1])),
    "orientation RAS against LAS": Geometry(SHAPE, np.diag([-1, 1, 1, 1])),
    "orientation, by 3 degrees": Geometry(SHAPE, _turned(3)),
    "origin (0, 0, 0) mm against (4, 0, 0) mm": Geometry(SHAPE, _moved(4)),
}


@pytest.mark.parametrize(("sentence", "other"), DIFFERENCES.items(), ids=DIFFERENCES.keys())
def test_a_difference_is_named_alone(sentence, other):
    difference = Geometry(SHAPE, np.eye(4)).difference(other)
    assert difference.startswith(sentence)
    named = [word for word in ("shape", "spacing", "orientation", "origin") if word in difference]
    assert named == [sentence.split(" ", maxsplit=1)[0].rstrip(",")]


@pytest.mark.parametrize(
    "affine",
    [np.diag([1, 0, 1, 1]), np.full((4, 4), np.nan), np.eye(3)],
    ids=["flat", "nan", "3x3"],
)
def test_a_grid_without_volume_cannot_exist(affine):
    with pytest.raises(ValueError, match=r"affine|volume"):
        Geometry(SHAPE, affine)


def test_a_geometry_cannot_be_changed_from_outside():
    affine = np.eye(4)
    geometry = Geometry(SHAPE, affine)
    affine[0, 3] = 99
    assert geometry.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 3] = 1


def test_geometries_compare_by_value():
    assert Geometry(SHAPE, np.eye(4)) == Geometry(SHAPE, np.eye(4))
    assert len({Geometry(SHAPE, np.eye(4)), Geometry(SHAPE, np.eye(4))}) == 1
    assert Geometry(SHAPE, np.eye(4)) != Geometry(SHAPE, np.diag([1, 1, 2, 1]))
