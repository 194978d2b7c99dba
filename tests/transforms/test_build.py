"""Transforms of MONAI in chains do what they do for MONAI's own users, and masks follow images."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from monai import transforms as monai
from monai.data import MetaTensor

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.errors import UsageError
from medssl.infer.restore import restore_classes
from medssl.registry import Registry
from medssl.transforms.chain import Augment, Preprocess
from medssl.transforms.compose import Preparation, build
from medssl.transforms.radiograph_chain import RadiographAugment, RadiographPreprocess

SHAPE = (16, 12, 8)
GRID = Geometry(SHAPE, np.diag([0.5, 1.25, 2.5, 1.0]))


def made(chain, image, mask=None):
    label = None if mask is None else Volume(mask[None].astype(np.uint8), GRID, "")
    return Preparation(Preprocess.of(chain))(Volume(image[None], GRID, "scan.nii"), label)


@pytest.fixture
def noise():
    return np.random.default_rng(0).random(SHAPE, np.float32)


@pytest.fixture
def blob():
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 3:9, 2:5] = 1
    mask[6:9, 4:6, 3] = 2
    return mask


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Resized", {"spatial_size": [9, 7, 5]}),
        ("Zoomd", {"zoom": 0.7, "keep_size": False}),
        ("Rotated", {"angle": [0.2, 0, 0.1]}),
        ("Spacingd", {"pixdim": [1, 1, 1]}),
    ],
)
def test_what_is_not_said_is_what_monai_takes(name, args, noise, blob):
    ours = made([{name: args}], noise, blob).image
    image = MetaTensor(torch.tensor(noise[None]), affine=torch.tensor(GRID.affine))
    theirs = getattr(monai, name)("image", **args)({"image": image})["image"]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
    assert made([{name: args}], noise).image.tolist() == ours.tolist()


def test_a_radiograph_is_resized_by_area_as_monai_does():
    (step,) = RadiographPreprocess.of([{"Resized": {"spatial_size": [8, 8]}}]).steps
    image = torch.rand(1, 64, 64)
    theirs = monai.Resized("image", (8, 8))({"image": image})["image"]
    torch.testing.assert_close(build(step)({"image": image})["image"], theirs)


@pytest.mark.parametrize(
    "step",
    [
        {"Resized": {"spatial_size": [20, 15, 10]}},
        {"Zoomd": {"zoom": 1.25, "keep_size": False}},
        {"Zoomd": {"zoom": [1.5, 1, 1.5], "keep_size": False}},
    ],
)
def test_a_scaled_mask_lies_where_its_image_does(step, blob):
    """Half a voxel beside it, as torch's "nearest" puts it, 5 % of the voxels came back wrong."""
    prepared = made([step], blob.astype(np.float32), blob)
    assert (restore_classes(prepared.mask, prepared.record) == blob).mean() > 0.995
    certain = np.abs(prepared.image[0] - np.rint(prepared.image[0])) < 0.1
    assert (np.rint(prepared.image[0]) == prepared.mask)[certain].mean() > 0.995


def test_a_zoomed_patch_and_its_mask_stay_together():
    (step,) = Augment.of([{"RandZoomd": {"prob": 1, "min_zoom": 1.25, "max_zoom": 1.25}}]).steps
    edge = (torch.arange(24) >= 10).float().expand(1, 24, 24, 24).clone()
    done = build(step).set_random_state(0)({"image": edge, "label": edge.clone()})
    seen, mask = done["image"][0, 12, 12], done["label"][0, 12, 12]
    assert (seen >= 0.5).float().tolist() == mask.tolist()


def test_an_array_is_a_list_in_a_pipeline(noise, blob):
    moved = np.eye(4)
    moved[:3, 3] = (2, 1, 0)
    ours = made([{"Affined": {"affine": moved.tolist()}}], noise, blob)
    image = MetaTensor(torch.tensor(noise[None]), affine=torch.tensor(GRID.affine))
    theirs = monai.Affined("image", affine=moved)({"image": image})["image"]
    np.testing.assert_allclose(ours.image, theirs.numpy(), atol=1e-6)


def test_arguments_that_a_transform_does_not_take_are_not_given_to_it(noise):
    with pytest.raises(UsageError, match="the transform DeleteItemsd drops the image"):
        made(["DeleteItemsd"], noise)
    copied = [{"CopyItemsd": {"names": "raw"}}, {"DeleteItemsd": {"keys": "raw"}}]
    assert made(copied, noise).image[0].tolist() == noise.tolist()


def test_a_mask_that_is_not_there_is_not_missed():
    """RandSmoothDeformd does not take `allow_missing_keys`, and acts on images and masks."""
    args = {"spatial_size": [9, 9], "rand_size": [3, 3], "prob": 1}
    (step,) = RadiographAugment.of([{"RandSmoothDeformd": args}]).steps
    assert build(step)({"image": torch.rand(1, 9, 9)})["image"].shape == (1, 9, 9)


def test_transforms_of_torchvision_take_their_arguments_by_name(monkeypatch, noise):
    class Normalize(torch.nn.Module):
        def __init__(self, mean, std):
            super().__init__()
            self.mean, self.std = mean, std

        def forward(self, image):
            return (image - self.mean) / self.std

    offered = ModuleType("torchvision.transforms")
    offered.Normalize = Normalize
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.transforms", offered)
    found = made([{"TorchVisiond": {"name": "Normalize", "mean": 0.5, "std": 2}}], noise)
    np.testing.assert_allclose(found.image[0], (noise - 0.5) / 2, atol=1e-6)


def test_an_image_of_which_nothing_is_left_is_told(noise):
    cut = {"SpatialCropd": {"roi_center": [8, 6, 90], "roi_size": [8, 8, 4]}}
    told = "the transform SpatialCropd leaves no voxel of the image; 1x16x12x8 becomes 1x8x8x0"
    with pytest.raises(UsageError, match=told):
        made([cut], noise)


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ({"NormalizeIntensityd": {"keys": ["image", "label"]}}, "-0.3"),
        ({"GaussianSmoothd": {"keys": ["image", "label"], "sigma": 1.0}}, "9.5"),
        ({"Spacingd": {"pixdim": [1, 1, 1], "mode": ["bilinear", "bilinear"]}}, "0"),
    ],
)
def test_a_mask_that_is_no_longer_of_classes_is_told(step, value, noise, blob):
    told = f"preprocess makes other values of a mask than class indices; such as {value}"
    with pytest.raises(UsageError, match=told):
        made([step], noise, blob)


def test_channels_of_a_mask_are_regions_of_the_data_spec(noise, blob):
    step = {"ConvertToMultiChannelBasedOnBratsClassesd": {"keys": "label"}}
    with pytest.raises(UsageError, match="`regions` of the data spec names unions of labels"):
        made([step], noise, blob)


def test_what_draws_and_takes_no_seed_is_refused(monkeypatch, noise):
    offered = Registry("", "transform", {"Looselyd": "tests.transforms.faulty:Looselyd"})
    for module in ("chain", "compose", "step"):
        monkeypatch.setattr(f"medssl.transforms.{module}.TRANSFORMS", offered)
    told = "the transform Looselyd draws what no seed of an item decides"
    with pytest.raises(UsageError, match=told):
        made(["Looselyd"], noise)
