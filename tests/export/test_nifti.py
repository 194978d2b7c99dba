"""Masks on disk hold the data spec's values, on the grid they were made for."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.volume import read_mask
from medssl.errors import DataError
from medssl.export.nifti import write_labels

SHAPE = (4, 3, 2)


def test_classes_become_values_in_the_same_place(scanner_affine, tmp_path):
    labels = np.arange(24).reshape(SHAPE) % 3
    write_labels(labels, (0, 7, 2), Geometry(SHAPE, scanner_affine), tmp_path / "mask.nii.gz")
    found = read_mask(tmp_path / "mask.nii.gz")
    assert found.array[0].ravel()[:6].tolist() == [0, 7, 2, 0, 7, 2]
    assert found.array.dtype == np.uint8
    np.testing.assert_allclose(found.geometry.affine, scanner_affine, atol=1e-5)


def test_a_class_without_a_value_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="classes 3 to 3 of 3"):
        write_labels(
            np.full(SHAPE, 3), (0, 1, 2), Geometry(SHAPE, np.eye(4)), tmp_path / "mask.nii.gz"
        )


def test_an_unknown_ending_leaves_nothing_behind(tmp_path):
    with pytest.raises(DataError):
        write_labels(np.zeros(SHAPE, int), (0,), Geometry(SHAPE, np.eye(4)), tmp_path / "mask.png")
    assert list(tmp_path.iterdir()) == []
