"""Reading and writing: nibabel is the judge of voxels and places."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from medssl.data.geometry import Geometry
from medssl.data.volume import (
    Volume,
    read_geometry,
    read_mask,
    read_volume,
    write_mask,
    write_volume,
)
from medssl.errors import DataError, MedsslError

SHAPE = (5, 7, 4)


def _numbers(shape=SHAPE, kind=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def _saved(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_is_written_comes_back_voxel_for_voxel(tmp_path, scanner_affine, suffix):
    path, geometry = tmp_path / f"mask{suffix}", Geometry(SHAPE, scanner_affine)
    write_mask(_numbers(kind=np.uint8), geometry, path)
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.array, _numbers(kind=np.uint8)[None])
    assert mask.array.dtype == np.uint8
    assert mask.geometry.matches(geometry, 1e-4)
    assert read_geometry(path).matches(geometry, 1e-4)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # nothing left beside it


def test_nifti_written_by_nibabel_is_read_as_nibabel_reads_it(tmp_path, scanner_affine):
    volume = read_volume(_saved(tmp_path / "image.nii.gz", _numbers(), scanner_affine))
    reference = nibabel.load(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(volume.array[0], reference.get_fdata())
    np.testing.assert_array_equal(volume.geometry.affine, reference.affine)
    assert volume.array.dtype == np.float32


def test_nifti_written_here_is_read_by_nibabel(tmp_path, scanner_affine):
    write_volume(
        _numbers(kind=np.float32), Geometry(SHAPE, scanner_affine), tmp_path / "map.nii.gz"
    )
    reference = nibabel.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(reference.get_fdata(), _numbers())
    np.testing.assert_allclose(reference.affine, scanner_affine, atol=1e-5)


def test_a_sheared_grid_which_itk_refuses_round_trips(tmp_path, scanner_affine):
    affine = scanner_affine.copy()
    affine[:3, 0] += 0.3 * affine[:3, 1]
    path = tmp_path / "sheared.nii.gz"
    write_mask(_numbers(kind=np.uint8), Geometry(SHAPE, affine), path)
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.array[0], _numbers(kind=np.uint8))
    np.testing.assert_allclose(mask.geometry.affine, affine, atol=1e-5)


def test_the_files_own_rescaling_is_applied(tmp_path):
    image = nibabel.Nifti1Image(np.array([[[0.0, 0.5, 100.0]]]), np.eye(4))
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "scaled.nii")
    values = read_volume(tmp_path / "scaled.nii").array[0, 0, 0]
    np.testing.assert_allclose(values, [0.0, 0.5, 100.0], atol=0.01)


def test_several_files_are_channels_in_their_order(tmp_path):
    paths = [_saved(tmp_path / f"{n}.nii.gz", np.full(SHAPE, n, np.uint8)) for n in (3, 1, 2)]
    assert read_volume(paths).array[:, 0, 0, 0].tolist() == [3, 1, 2]


def test_channels_on_different_grids_are_refused(tmp_path):
    paths = [
        _saved(tmp_path / "one.nii.gz", _numbers()),
        _saved(tmp_path / "two.nii.gz", _numbers(), np.diag([1, 1, 2, 1])),
    ]
    with pytest.raises(
        DataError, match=r"two.nii.gz .* spacing \(1, 1, 2\) mm against \(1, 1, 1\)"
    ):
        read_volume(paths)


def test_a_fourth_axis_is_channels(tmp_path):
    path = _saved(tmp_path / "four.nii.gz", _numbers((*SHAPE, 3)))
    np.testing.assert_array_equal(read_volume(path).array[2], _numbers((*SHAPE, 3))[..., 2])
    np.testing.assert_array_equal(read_volume([path] * 3).array, read_volume(path).array)
    with pytest.raises(DataError, match="has 3 channels instead of 2"):
        read_volume([path, path])


def test_a_vector_image_is_channels(tmp_path):
    image = SimpleITK.GetImageFromArray(_numbers((4, 7, 5, 2)), isVector=True)
    SimpleITK.WriteImage(image, tmp_path / "vector.nrrd")
    array = read_volume(tmp_path / "vector.nrrd").array
    assert array.shape == (2, *SHAPE)
    assert array[:, 0, 0, 0].tolist() == [0, 1]
    assert array[:, 1, 0, 0].tolist() == [2, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_survive_to_be_reported(tmp_path, value):
    """ITK would return 0 from NIfTI."""
    array = np.array([[[1, value]]], np.float32)
    _saved(tmp_path / "odd.nii.gz", array)
    write_volume(array, Geometry((1, 1, 2), np.eye(4)), tmp_path / "odd.nrrd")
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_volume(path).array.ravel(), [1, value])


def test_mask_values_beyond_uint8_survive_to_be_reported(tmp_path):
    values = np.array([[[0, -1, 300]]], np.int16)
    assert read_mask(_saved(tmp_path / "odd.nii", values)).array.ravel().tolist() == [0, -1, 300]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 1, 0.5], "not whole numbers: 0.5; export it as integers"),
        ([0, 1, np.nan], "not whole numbers: NaN; write 0 where it has NaN"),
        ([0, 1, np.inf], "not whole numbers: inf;"),
        ([0, 0.25, np.nan], "not whole numbers: 0.25, NaN; export"),
        ([0.1, 0.2, 0.3, 0.4, 0.998], r"not whole numbers: 0.1, 0.2, 0.3 and 2 more;"),
        ([0, 1, 1e20], "it holds the value 1000000020040877"),
    ],
)
def test_a_mask_whose_values_are_no_classes_is_refused_and_they_are_named(tmp_path, values, named):
    array = np.resize(np.array(values, np.float32), SHAPE)
    with pytest.raises(DataError, match=rf"soft.nii.gz is not a mask; .*{named}"):
        read_mask(_saved(tmp_path / "soft.nii.gz", array))


def test_mask_values_beyond_32_bits_are_refused_not_wrapped(tmp_path):
    array = np.resize(np.array([0, 2**32 - 1], np.uint32), SHAPE)
    with pytest.raises(DataError, match="it holds the value 4294967295; give classes small"):
        read_mask(_saved(tmp_path / "big.nii.gz", array))


def test_mask_values_that_are_whole_but_for_rounding_are_rounded(tmp_path):
    array = np.resize(np.array([0, 0.9999, 2.0009, -1e-7], np.float32), SHAPE)
    mask = read_mask(_saved(tmp_path / "nearly.nii.gz", array))
    np.testing.assert_array_equal(mask.array[0], np.resize([0, 1, 2, 0], SHAPE))
    assert mask.array.dtype == np.uint8


def test_a_mask_stored_as_float_is_read_as_integers(tmp_path):
    mask = read_mask(_saved(tmp_path / "float.nii.gz", np.full(SHAPE, 2.0)))
    assert mask.array.dtype == np.uint8
    assert np.unique(mask.array).tolist() == [2]


def _compressed():
    noise = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
    return gzip.compress(nibabel.Nifti1Image(noise, np.eye(4)).to_bytes())


BROKEN = {
    "half.nii.gz": lambda: _compressed()[: len(_compressed()) * 2 // 3],
    "half.nii": lambda: gzip.decompress(_compressed())[:400],
    "header.nii": lambda: gzip.decompress(_compressed())[:200],
    "page.nii.gz": lambda: b"<html>not found</html>" * 50,
    "page.nrrd": lambda: b"<html>not found</html>" * 50,
    "page.mha": lambda: b"<html>not found</html>" * 50,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_truncated_or_foreign_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name]())
    with pytest.raises(DataError, match=rf"{name} cannot be read; it is truncated") as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_whose_gzip_length_is_unusual_but_whole_is_read(tmp_path):
    whole = gzip.decompress(_compressed())
    (tmp_path / "two.nii.gz").write_bytes(gzip.compress(whole[:100]) + gzip.compress(whole[100:]))
    (tmp_path / "one.nii.gz").write_bytes(_compressed())
    one, two = (read_volume(tmp_path / f"{name}.nii.gz").array for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_missing_empty_flat_and_unknown_files_are_named(tmp_path):
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "image.gif").write_bytes(b"x")
    _saved(tmp_path / "flat.nii", np.zeros((5, 6), np.uint8))
    SimpleITK.WriteImage(SimpleITK.Image(5, 6, SimpleITK.sitkUInt8), tmp_path / "flat.mha")
    for name, sentence in {
        "gone.nii.gz": "does not exist",
        "empty.nii.gz": "is empty",
        "image.gif": "not of a known image type",
        "flat.nii": "is not a volume; it has 2 axes",
        "flat.mha": "is not a volume; it has 2 axes",
        ".": "folder without DICOM images",
    }.items():
        for read in (read_volume, read_geometry):
            with pytest.raises(DataError, match=sentence):
                read(tmp_path / name)


def test_reading_a_broken_file_says_nothing_of_its_own(tmp_path):
    """The one sentence is the caller's to print: ITK's own chatter would come first."""
    (tmp_path / "a.nii.gz").write_bytes(BROKEN["half.nii.gz"]())
    code = (
        "import sys; from pathlib import Path; from medssl.data.volume import read_volume\n"
        "try: read_volume(Path(sys.argv[1]))\n"
        "except Exception as error: sys.exit(type(error).__name__ == 'DataError' and 3)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.nii.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def _cut_off(image, name, useCompression):  # SimpleITK's own spelling
    _WRITE(image, name, useCompression=useCompression)
    os.truncate(name, Path(name).stat().st_size - 3)


def _empty(image, name, useCompression):
    Path(name).touch()


def _refuses(image, name, useCompression):
    Path(name).write_bytes(b"half")
    raise RuntimeError("of ITK")


_WRITE = SimpleITK.WriteImage
WRITERS = {"cut off": _cut_off, "empty": _empty, "refuses": _refuses}


@pytest.mark.parametrize("name", ["mask.nrrd", "mask.mha"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_was_not_written_whole_does_not_appear(tmp_path, monkeypatch, writer, name):
    """ITK does not notice a full disk."""
    path = tmp_path / name
    path.write_bytes(b"old")

    monkeypatch.setattr(SimpleITK, "WriteImage", WRITERS[writer])
    with pytest.raises(MedsslError, match=rf"{name} could not be written whole; perhaps the disk"):
        write_mask(_numbers(kind=np.uint8), Geometry(SHAPE, np.eye(4)), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _on_full_disk(write, path):
    """A failed write to a disk of 64 kB: the sentence; nothing may be left."""
    noise = np.random.default_rng(0).random((64, 64, 64)).astype(np.float32)
    with pytest.raises(MedsslError) as caught:
        write(noise, Geometry(noise.shape, np.eye(4)), path)
    assert list(path.parent.iterdir()) == []
    return str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("name", ["map.nii.gz", "map.nii", "map.nrrd", "map.mha"])
def test_a_full_disk_is_said_and_nothing_is_left(tmp_path, name):
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        sentence = _on_full_disk(write_volume, tmp_path / name)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert sentence.startswith(str(tmp_path / name))
    assert "disk" in sentence


def test_two_file_formats_are_not_written(tmp_path):
    with pytest.raises(DataError, match="needs a second file"):
        write_mask(_numbers(kind=np.uint8), Geometry(SHAPE, np.eye(4)), tmp_path / "mask.mhd")


def test_a_volume_off_its_grid_cannot_exist():
    with pytest.raises(ValueError, match="on a grid of"):
        Volume(np.zeros((1, 2, 3, 4)), Geometry((4, 3, 2), np.eye(4)), "here")


@pytest.mark.parametrize(
    "name", ["hippocampus/imagesTr", "hippocampus/labelsTr", "left_atrium/train"]
)
def test_real_files_are_read_as_nibabel_reads_them(shared_data, name):
    for path in sorted((shared_data / name).rglob("*.nii.gz"))[:8]:
        reference = nibabel.load(path)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array[0], reference.get_fdata(dtype=np.float32))
        np.testing.assert_array_equal(volume.geometry.affine, reference.affine)
        assert read_geometry(path) == volume.geometry
