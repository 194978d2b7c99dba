"""A mask becomes PNG: a picture, or one for each slice."""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from medssl.data.geometry import Geometry
from medssl.data.volume import read_mask, write_mask
from medssl.errors import DataError, UsageError
from medssl.export.png import export_png

SHAPE = (6, 5, 4)
GRID = Geometry(SHAPE, np.diag([0.5, -2, 3, 1]))


def test_a_mask_and_what_is_written_of_it_are_equal(tmp_path):
    values = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    write_mask(values, GRID, tmp_path / "mask.nii.gz")
    export_png(tmp_path / "mask.nii.gz", tmp_path / "mask.png.zip")
    found = read_mask(tmp_path / "mask.png.zip")
    assert (found.array[0] == values).all()
    assert found.geometry.matches(GRID)


def test_a_mask_of_one_slice_is_one_picture(tmp_path):
    values = np.random.default_rng(0).integers(0, 4, (6, 5, 1)).astype(np.uint8)
    write_mask(values, Geometry((6, 5, 1), np.eye(4)), tmp_path / "mask.nii.gz")
    export_png(tmp_path / "mask.nii.gz", tmp_path / "mask.png")
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == values[..., 0].T).all()


@pytest.mark.parametrize("name", ["mask.png.zip", "mask.png"])
def test_more_than_255_labels_have_16_bits(tmp_path, name):
    shape = (30, 20, 1 if name == "mask.png" else 3)
    values = np.arange(np.prod(shape)).reshape(shape).astype(np.int32)
    sitk.WriteImage(sitk.GetImageFromArray(values.T), tmp_path / "mask.nrrd")
    export_png(tmp_path / "mask.nrrd", tmp_path / name)
    assert (read_mask(tmp_path / name).array[0] == values).all()


@pytest.mark.parametrize("odd", [-1, 2**16])
def test_values_that_no_png_holds_are_refused(tmp_path, odd):
    image = sitk.GetImageFromArray(np.full((3, 3, 3), odd, np.int32))
    sitk.WriteImage(image, tmp_path / "mask.nrrd")
    with pytest.raises(DataError, match=f"mask.nrrd cannot become a PNG; it holds the value {odd}"):
        export_png(tmp_path / "mask.nrrd", tmp_path / "mask.png.zip")
    assert not (tmp_path / "mask.png.zip").exists()


def test_several_slices_do_not_fit_into_one_picture(tmp_path):
    write_mask(np.zeros(SHAPE, np.uint8), GRID, tmp_path / "mask.nii.gz")
    with pytest.raises(UsageError, match=r"mask of 4 frames; .* \.png\.zip"):
        export_png(tmp_path / "mask.nii.gz", tmp_path / "mask.png")
    with pytest.raises(UsageError, match=r"let it end in \.png or \.png\.zip"):
        export_png(tmp_path / "mask.nii.gz", tmp_path / "mask.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["mask.nii.gz"]
