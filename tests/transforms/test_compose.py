"""Preprocessing: what the network sees lies where it lay in the patient; the record knows it."""

import re

import numpy as np
import pytest
import torch

from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.volume import Volume, read_mask, read_volume, write_volume
from medssl.errors import UsageError
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation, build

SHAPE = (16, 12, 6)


def _chain(**keys):
    return Preprocess.of({"mr": {"orientation": "RAS", "intensity": "none"} | keys})


def preprocess(volume, chain):
    prepared = Preparation(chain)(volume)
    return prepared.image, prepared.record


def _world(geometry):
    index = np.indices(geometry.shape).reshape(3, -1)
    places = geometry.affine[:3, :3] @ index + geometry.affine[:3, 3:]
    return places.reshape(3, *geometry.shape)


def _places(affine, shape=SHAPE):
    """A volume whose three channels are the RAS+ coordinates of its own voxels."""
    geometry = Geometry(shape, affine)
    return Volume(_world(geometry).astype(np.float32), geometry, "places.nii")


def test_without_resampling_every_voxel_knows_its_place(scanner_affine):
    image, record = preprocess(_places(scanner_affine), _chain())
    assert record.network.orientation == "RAS"
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image, _world(record.network), atol=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 1.5)])
def test_resampled_voxels_know_their_place_too(scanner_affine, spacing):
    """Coordinates are linear functions, so linear resampling keeps them away from the border."""
    affine = scanner_affine.copy()
    affine[:3, :3] *= [2.0, 0.8, 0.4]  # 1, 1, 1.2 mm: no thick slices
    image, record = preprocess(_places(affine), _chain(spacing=spacing))
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
    image, _ = preprocess(numbered, _chain(orientation=None, spacing=(1.0, 1.0, 1.0)))
    assert image.shape == (1, 8, 6, 18)
    assert image[0, 0, 0].tolist() == [n for n in range(6) for _ in range(3)]


def test_slices_up_to_three_times_as_thick_are_blended():
    volume = Volume(
        np.broadcast_to(np.arange(4, dtype=np.float32), (1, 5, 5, 4)).copy(),
        Geometry((5, 5, 4), np.diag([1.0, 1.0, 3.0, 1.0])),
        "",
    )
    image, _ = preprocess(volume, _chain(spacing=(1.0, 1.0, 1.5)))
    assert image[0, 0, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


def test_no_orientation_keeps_the_files_axes(scanner_affine):
    volume = _places(scanner_affine)
    image, record = preprocess(volume, _chain(orientation=None))
    np.testing.assert_array_equal(image, volume.array)
    assert record.network == volume.geometry


def test_the_crop_is_the_smallest_box_of_all_channels(scanner_affine):
    array = np.full((2, *SHAPE), -5, np.float32)
    array[0, 3:5, 2:9, 1:4] = 1
    array[1, 7, 5, 4] = 1
    volume = Volume(array, Geometry(SHAPE, scanner_affine), "")
    _, record = preprocess(volume, _chain(crop_foreground=True))
    expected = volume.geometry.cropped((3, 2, 1), (8, 9, 5)).oriented("RAS")[0]
    assert record.network.matches(expected)


def test_the_crop_of_a_ct_leaves_out_air():
    array = np.random.default_rng(0).normal(-1000, 20, (1, *SHAPE)).astype(np.float32)
    array[0, 2:6, 3:8, 1:5] = 40
    volume = Volume(array, Geometry(SHAPE, np.eye(4)), "")
    _, record = preprocess(volume, Preprocess.of({"ct": {"crop_foreground": True}}))
    assert record.network.matches(volume.geometry.cropped((2, 3, 1), (6, 8, 5)))


def test_an_empty_volume_is_not_cropped():
    volume = Volume(np.zeros((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4)), "")
    _, record = preprocess(volume, _chain(crop_foreground=True))
    assert record.network == volume.geometry


def test_channels_are_scaled_apart():
    array = np.stack([np.arange(8.0), 100 * np.arange(8.0)]).reshape(2, 2, 2, 2)
    volume = Volume(array.astype(np.float32), Geometry((2, 2, 2), np.eye(4)), "")
    image, _ = preprocess(volume, _chain(intensity="minmax"))
    np.testing.assert_allclose(image[0].ravel(), np.arange(8) / 7, rtol=1e-6)
    np.testing.assert_allclose(image[0], image[1], rtol=1e-6)


SPACED = {"spacing": (1.0, 1.0, 1.5)}
CROPPED = {"crop_foreground": True, "spacing": (1.0, 1.0, 1.0)}
WINDOWED = CROPPED | {"window": (-900.0, 300.0)}
BEFORE = [
    ("mr", {}, (2, 13, 11, 7), 1.0015603, [-0.9825324, 0.6668745, 0.5993367]),
    (
        "mr",
        {"spacing": (1.0, 1.0, 1.5)},
        (2, 10, 12, 9),
        0.6932861,
        [-0.1142421, 0.1213263, 0.4200079],
    ),
    (
        "mr",
        {"crop_foreground": True, "spacing": (1.0, 1.0, 1.0)},
        (2, 9, 11, 14),
        0.4244257,
        [0.5481895, 0.2736221, -0.2755128],
    ),
    ("mr", {"intensity": "zscore"}, (2, 13, 11, 7), 0.8091628, [-0.3947186, 0.9126778, 0.8591442]),
    ("mr", {"intensity": "minmax"}, (2, 13, 11, 7), 0.2409201, [0.1595816, 0.3924606, 0.3829249]),
    ("ct", {}, (2, 13, 11, 7), 0.1794107, [0.0, 0.5206442, 0.4548444]),
    (
        "ct",
        CROPPED | {"window": (-900.0, 300.0)},
        (2, 9, 11, 14),
        0.5661852,
        [0.7808377, 0.6916703, 0.5133356],
    ),
]
"""Word, its keys, then shape, mean amount and three voxels, by the code that had no chains."""


@pytest.mark.parametrize(("word", "keys", "shape", "amount", "voxels"), BEFORE)
def test_short_words_make_the_voxels_of_before_there_were_chains(word, keys, shape, amount, voxels):
    array = np.random.default_rng(3).gamma(4, 100, (2, 13, 11, 7)).astype(np.float32)
    if word == "ct":
        array = 2 * array - 1000
    air = -1024 if word == "ct" else 0
    array[:, :2] = air
    array[:, :, -1] = 0 if word == "mr" else -1000
    affine = np.diag([-0.8, -1.1, 2.0, 1.0])
    affine[:3, 3] = (10, -5, 3)
    found, _ = preprocess(
        Volume(array, Geometry((13, 11, 7), affine), "x.nii"), Preprocess.of({word: keys})
    )
    assert found.shape == shape
    assert np.abs(found.astype(float)).mean() == pytest.approx(amount, abs=1e-5)
    assert found[0, 4, 3, :3].tolist() == pytest.approx(voxels, abs=1e-5)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
def test_a_mask_goes_where_its_image_goes(scanner_affine, spacing):
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:9, 2:5] = 2
    volume = Volume(mask[None].astype(np.float32), Geometry(SHAPE, scanner_affine), "")
    chain = _chain(spacing=spacing, crop_foreground=False)
    prepared = Preparation(chain)(volume, Volume(mask[None], volume.geometry, ""))
    image, moved, record = prepared.image, prepared.mask, prepared.record
    assert moved.shape == record.network.shape
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) == {0, 2}
    certain = np.abs(image[0] - 1) > 0.5  # not at the border of the box
    assert certain.mean() > 0.8
    np.testing.assert_array_equal(moved[certain], np.rint(image[0][certain]))


def test_a_record_survives_the_disk_exactly(scanner_affine):
    chain = _chain(spacing=(1.0, 1.0, 1.0), crop_foreground=True, intensity="zscore")
    _, record = preprocess(_places(scanner_affine), chain)
    assert Record.from_json(record.to_json()) == record


def test_real_left_atria_keep_their_volume_in_millilitres(shared_data):
    for folder in sorted((shared_data / "left_atrium" / "test").iterdir())[:3]:
        volume, mask = read_volume(folder / "image.nii.gz"), read_mask(folder / "label.nii.gz")
        indices = Volume((mask.array > 0).astype(np.uint8), volume.geometry, "")
        chain = Preprocess.of({"mr": {"spacing": (2.0, 2.0, 2.0)}})
        prepared = Preparation(chain)(volume, indices)
        moved, record = prepared.mask, prepared.record
        assert prepared.image.shape[1:] == moved.shape
        before = (mask.array > 0).sum() * np.prod(mask.geometry.spacing)
        after = moved.sum() * np.prod(record.network.spacing)
        assert after == pytest.approx(before, rel=0.03)


def _label(mask, geometry):
    return Volume(mask[None].astype(np.uint8), geometry, "")


@pytest.fixture
def blob():
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:9, 2:5] = 1
    mask[6:9, 4:6, 3] = 2
    return mask


MONAI_CHAINS = {
    "turned": [{"Orientationd": {"axcodes": "LPI"}}],
    "finer": [{"Orientationd": {"axcodes": "RAS"}}, {"Spacingd": {"pixdim": [0.4, 0.6, 1.0]}}],
    "padded": [{"SpatialPadd": {"spatial_size": [20, 21, 11]}}],
    "cut": [{"Orientationd": {"axcodes": "SAR"}}, {"CenterSpatialCropd": {"roi_size": [5, 9, 12]}}],
    "resized": [{"Resized": {"spatial_size": [24, 24, 24]}}],
    "flipped": [{"Flipd": {"spatial_axis": [0, 2]}}],
}


@pytest.mark.parametrize("name", MONAI_CHAINS)
def test_a_mask_comes_back_as_monai_inverts_its_own_chain(scanner_affine, blob, name):
    """The way back by the two grids alone equals `Invertd`, which undoes step by step."""
    from monai.transforms import Compose, Invertd

    from medssl.infer.restore import restore_classes
    from medssl.transforms.reader import as_meta_tensor

    geometry = Geometry(SHAPE, scanner_affine)
    chain = Preprocess.of(MONAI_CHAINS[name])
    volume = Volume(blob[None].astype(np.float32), geometry, "")
    prepared = Preparation(chain)(volume, _label(blob, geometry))
    back = restore_classes(prepared.mask, prepared.record)

    steps = Compose([build(step) for step in chain.steps])
    done = steps({"image": as_meta_tensor(volume), "label": as_meta_tensor(_label(blob, geometry))})
    undone = Invertd("label", steps, orig_keys="label", nearest_interp=True)(done)
    expected = undone["label"].numpy()[0]
    assert expected.shape == back.shape == SHAPE
    assert (back == expected).mean() >= (1 if name not in ("finer", "resized") else 0.995)
    if name != "cut":
        assert (back == blob).mean() > 0.98


def test_turned_by_some_degrees_a_mask_comes_back_too(scanner_affine, blob):
    from medssl.infer.restore import restore_classes, restore_labels

    geometry = Geometry(SHAPE, scanner_affine)
    chain = Preprocess.of([{"Rotated": {"angle": [0, 0, 0.3], "keep_size": False}}])
    volume = Volume(blob[None].astype(np.float32), geometry, "")
    prepared = Preparation(chain)(volume, _label(blob, geometry))
    assert prepared.record.orientation is None
    back = restore_classes(prepared.mask, prepared.record)
    assert (back == blob).mean() > 0.94
    logits = np.stack([prepared.mask == index for index in range(3)]).astype(np.float32)
    assert (restore_labels(logits, prepared.record) == blob).mean() > 0.94


def test_ours_equal_those_of_monai_that_they_stand_for():
    from monai.data import MetaTensor
    from monai.transforms import CropForegroundd, NormalizeIntensityd

    from medssl.transforms import CropMarkedd, MarkForegroundd, ZScored

    array = torch.zeros(2, *SHAPE)
    array[:, 3:9, 2:7, 1:5] = 1 + torch.rand(2, 6, 5, 4)
    image = MetaTensor(array, affine=torch.eye(4))
    scaled = ZScored("image")({"image": image})["image"]
    theirs = NormalizeIntensityd("image", channel_wise=True)({"image": image})["image"]
    torch.testing.assert_close(scaled.as_tensor(), theirs.as_tensor(), atol=1e-5, rtol=1e-5)
    ours = CropMarkedd("image")(MarkForegroundd("image")({"image": image}))["image"]
    theirs = CropForegroundd("image", source_key="image")({"image": image})["image"]
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor())
    torch.testing.assert_close(ours.affine, theirs.affine)


def test_ours_lead_back_within_anyones_compose(scanner_affine, blob):
    from monai.transforms import Compose

    from medssl.transforms import CropMarkedd, FieldSpacingd, MarkForegroundd
    from medssl.transforms.reader import as_meta_tensor

    image = as_meta_tensor(_label(blob, Geometry(SHAPE, scanner_affine)))
    steps = Compose([MarkForegroundd("m"), CropMarkedd("m"), FieldSpacingd("m", (0.25, 0.4, 0.5))])
    there = steps({"m": image})
    spacing = np.linalg.norm(there["m"].affine.numpy()[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, (0.25, 0.4, 0.5), rtol=0.2)
    back = steps.inverse(there)["m"]
    torch.testing.assert_close(back.affine, image.affine)
    assert back.as_tensor()[0].numpy().tolist() == blob.tolist()


def test_our_reader_serves_monais_loader(tmp_path, scanner_affine):
    from monai.transforms import LoadImaged

    from medssl.transforms import VolumeReader

    geometry = Geometry(SHAPE, scanner_affine)
    array = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    write_volume(array, geometry, tmp_path / "scan.nii.gz")
    found = LoadImaged("image", reader=VolumeReader())({"image": tmp_path / "scan.nii.gz"})["image"]
    np.testing.assert_allclose(found.numpy()[0], array)
    np.testing.assert_allclose(found.affine.numpy(), scanner_affine, atol=1e-5)
    assert VolumeReader().verify_suffix(["a.nii.gz", "b.mha"])
    assert not VolumeReader().verify_suffix("table.csv")


FAULTS = {
    "Halvedd": "changes the grid without a record; 1x16x12x6 becomes 1x8x12x6",
    "Forgetfuld": "drops the image",
    "Barend": "makes something else of the image",
    "Dividedd": "makes values of scan.nii that are not finite",
    "Failingd": "failed; KeyError: 'no such thing'",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_transform_is_told_in_a_sentence(monkeypatch, name):
    from medssl.registry import Registry

    offered = Registry("", "transform", {name: f"tests.transforms.faulty:{name}"})
    for module in ("chain", "compose", "step"):
        monkeypatch.setattr(f"medssl.transforms.{module}.TRANSFORMS", offered)
    volume = Volume(np.ones((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4)), "scan.nii")
    prepare = Preparation(Preprocess.of(name))
    with pytest.raises(UsageError, match=re.escape(f"transform {name} {FAULTS[name]}")):
        prepare(volume)


def test_an_error_is_the_one_that_was_raised_not_monais_about_it(monkeypatch):
    def out_of_memory(*_):
        raise MemoryError("not enough")

    monkeypatch.setattr("medssl.transforms.reader.as_meta_tensor", out_of_memory)
    volume = Volume(np.ones((1, *SHAPE), np.float32), Geometry(SHAPE, np.eye(4)), "scan.nii")
    with pytest.raises(MemoryError, match="not enough"):
        Preparation(Preprocess.of("mr"))(volume)


def test_arguments_that_a_transform_refuses_are_told_before_an_image_is_read():
    with pytest.raises(UsageError, match="the transform medssl:FieldSpacingd cannot be made of"):
        Preparation(Preprocess.of([{"medssl:FieldSpacingd": {"pixdim": [1]}}]))


FLAT = (17, 12, 1)

FLAT_CHAINS = {
    "turned": [{"Orientationd": {"axcodes": "RAS"}}],
    "padded": [{"SpatialPadd": {"spatial_size": [24, 20, 1]}}],
    "cut": [{"CenterSpatialCropd": {"roi_size": [9, 8, 1]}}],
    "resized": [{"Resized": {"spatial_size": [34, 24, 1]}}],
    "flipped": [{"Flipd": {"spatial_axis": [0, 1]}}],
    "ours": ["radiograph", {"medssl:FieldSpacingd": {"pixdim": [0.1, 0.15, 1]}}],
}


@pytest.mark.parametrize("name", FLAT_CHAINS)
def test_a_mask_of_a_picture_comes_back_as_monai_inverts_its_chain(name):
    from monai.transforms import Compose, Invertd

    from medssl.data.picture.picture import Picture
    from medssl.infer.restore import restore_classes
    from medssl.transforms.reader import as_meta_tensor

    rng = np.random.default_rng(0)
    geometry = Picture("", np.zeros((1, *FLAT[1::-1], 1)), (0.3, 0.2)).geometry
    assert geometry.shape == FLAT
    places = np.indices(FLAT)
    disc = ((places[0] - 8) ** 2 + (places[1] - 6) ** 2 < 12).astype(np.uint8)
    volume = Volume((disc + rng.random(FLAT))[None].astype(np.float32), geometry, "")
    label = Volume(disc[None], geometry, "")
    chain = Preprocess.of(FLAT_CHAINS[name])
    prepared = Preparation(chain)(volume, label)
    assert prepared.image.shape[-1] == 1
    back = restore_classes(prepared.mask, prepared.record)

    steps = Compose([build(step) for step in chain.steps])
    done = steps({"image": as_meta_tensor(volume), "label": as_meta_tensor(label)})
    undone = Invertd("label", steps, orig_keys="label", nearest_interp=True)(done)
    assert back.shape == FLAT
    assert (back == undone["label"].numpy()[0]).mean() >= (0.98 if name == "resized" else 1)
    assert (back == disc).mean() > 0.98
