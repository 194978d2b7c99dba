"""Preprocessing: what the network sees lies where it lay in the patient; the record knows it."""

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.intensity import Intensity
from medssl.data.preprocess import Record, preprocess, preprocess_mask
from medssl.data.volume import Volume, read_mask, read_volume
from medssl.settings import PreprocessSettings

SHAPE = (16, 12, 6)


def _settings(**keys):
    return PreprocessSettings(**{"orientation": "RAS", "intensity": "none"} | keys)


def _world(geometry):
    index = np.indices(geometry.shape).reshape(3, -1)
    places = geometry.affine[:3, :3] @ index + geometry.affine[:3, 3:]
    return places.reshape(3, *geometry.shape)


def _places(affine, shape=SHAPE):
    """A volume whose three channels are the RAS+ coordinates of its own voxels."""
    geometry = Geometry(shape, affine)
    return Volume(_world(geometry).astype(np.float32), geometry, "places.nii")


def test_without_resampling_every_voxel_knows_its_place(scanner_affine):
    image, record = preprocess(_places(scanner_affine), _settings())
    assert record.network.orientation == "RAS"
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image, _world(record.network), atol=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 1.5)])
def test_resampled_voxels_know_their_place_too(scanner_affine, spacing):
    """Coordinates are linear functions, so linear resampling keeps them away from the border."""
    affine = scanner_affine.copy()
    affine[:3, :3] *= [2.0, 0.8, 0.4]  # 1, 1, 1.2 mm: no thick slices
    image, record = preprocess(_places(affine), _settings(spacing=spacing))
    inner = (slice(None), *(slice(2, -2),) * 3)
    np.testing.assert_allclose(image[inner], _world(record.network)[inner], atol=1e-3)
    np.testing.assert_allclose(record.network.spacing, spacing, rtol=0.15)


def test_thick_slices_are_repeated_not_blended(scanner_affine):
    """0.5 x 0.5 x 3 mm: linear within slices, the nearest slice across them."""
    affine = scanner_affine.copy()
    affine[:3, 1] *= 0.5 / 1.25
    volume = _places(affine)
    slices = np.broadcast_to(np.arange(6, dtype=np.float32), SHAPE)
    numbered = Volume(slices[None].copy(), volume.geometry, "slices.nii")
    image, _ = preprocess(numbered, _settings(orientation=None, spacing=(1.0, 1.0, 1.0)))
    assert image.shape == (1, 8, 6, 18)
    assert image[0, 0, 0].tolist() == [n for n in range(6) for _ in range(3)]


def test_slices_up_to_three_times_as_thick_are_blended():
    volume = Volume(
        np.broadcast_to(np.arange(4, dtype=np.float32), (1, 5, 5, 4)).copy(),
        Geometry((5, 5, 4), np.diag([1.0, 1.0, 3.0, 1.0])),
        "",
    )
    image, _ = preprocess(volume, _settings(spacing=(1.0, 1.0, 1.5)))
    assert image[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


def test_no_orientation_keeps_the_files_axes(scanner_affine):
    volume = _places(scanner_affine)
    image, record = preprocess(volume, _settings(orientation=None))
    np.testing.assert_array_equal(image, volume.array)
    assert record.network == volume.geometry


def test_the_crop_is_the_smallest_box_of_all_channels(scanner_affine):
    array = np.full((2, *SHAPE), -5, np.float32)
    array[0, 3:5, 2:9, 1:4] = 1
    array[1, 7, 5, 4] = 1
    volume = Volume(array, Geometry(SHAPE, scanner_affine), "")
    _, record = preprocess(volume, _settings(crop_foreground=True))
    assert (record.start, record.stop) == ((3, 2, 1), (8, 9, 5))
    expected = volume.geometry.cropped(record.start, record.stop).oriented("RAS")[0]
    assert record.network == expected


def test_the_crop_of_a_ct_leaves_out_air():
    array = np.random.default_rng(0).normal(-1000, 20, (1, *SHAPE)).astype(np.float32)
    array[0, 2:6, 3:8, 1:5] = 40
    volume = Volume(array, Geometry(SHAPE, np.eye(4)), "")
    _, record = preprocess(volume, _settings(crop_foreground=True, intensity="ct_window"))
    assert (record.start, record.stop) == ((2, 3, 1), (6, 8, 5))


def test_an_empty_volume_is_not_cropped():
    volume = Volume(np.zeros((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4)), "")
    _, record = preprocess(volume, _settings(crop_foreground=True))
    assert record.stop == SHAPE


def test_channels_are_scaled_apart():
    array = np.stack([np.arange(8.0), 100 * np.arange(8.0)]).reshape(2, 2, 2, 2)
    volume = Volume(array.astype(np.float32), Geometry((2, 2, 2), np.eye(4)), "")
    image, record = preprocess(volume, _settings(intensity="minmax"))
    np.testing.assert_allclose(image[0], image[1])
    assert [channel.scale for channel in record.intensity] == [7, 700]


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
def test_a_mask_goes_where_its_image_goes(scanner_affine, spacing):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:9, 2:5] = 2
    volume = Volume(mask[None].astype(np.float32), Geometry(SHAPE, scanner_affine), "")
    settings = _settings(spacing=spacing, crop_foreground=False)
    image, record = preprocess(volume, settings)
    moved = preprocess_mask(mask, record)
    assert moved.shape == record.network.shape
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) == {0, 2}
    certain = np.abs(image[0] - 1) > 0.5  # not at the border of the box
    assert certain.mean() > 0.8
    np.testing.assert_array_equal(moved[certain], np.rint(image[0][certain]))


def test_a_record_survives_the_disk_exactly(scanner_affine):
    settings = _settings(spacing=(1.0, 1.0, 1.0), crop_foreground=True, intensity="zscore")
    _, record = preprocess(_places(scanner_affine), settings)
    assert Record.from_json(record.to_json()) == record


def test_a_record_keeps_clips_and_their_absence():
    _, record = preprocess(_places(np.eye(4)), _settings(intensity="ct_window"))
    assert record.intensity[0] == Intensity(-125, 275, -125, 400)
    assert Record.from_json(record.to_json()).intensity == record.intensity


def test_real_left_atria_keep_their_volume_in_millilitres(shared_data):
    for folder in sorted((shared_data / "left_atrium" / "test").iterdir())[:3]:
        volume, mask = read_volume(folder / "image.nii.gz"), read_mask(folder / "label.nii.gz")
        image, record = preprocess(volume, PreprocessSettings(spacing=(2.0, 2.0, 2.0)))
        moved = preprocess_mask((mask.array[0] > 0).astype(np.uint8), record)
        assert image.shape[1:] == moved.shape
        before = (mask.array > 0).sum() * np.prod(mask.geometry.spacing)
        after = moved.sum() * np.prod(record.network.spacing)
        assert after == pytest.approx(before, rel=0.03)
