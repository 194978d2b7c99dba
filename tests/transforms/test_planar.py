"""Pictures go through transforms of MONAI as images of two axes, as for MONAI's own users."""

import numpy as np
import pytest
import torch
from monai import transforms as monai
from monai.data import MetaTensor

from medssl.data.geometry import Geometry
from medssl.data.picture.picture import Picture
from medssl.data.rest import Rest
from medssl.data.volume import Volume
from medssl.infer.restore import restore_classes
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation

SHAPE = (30, 22, 1)
PICTURE = Picture("", np.zeros((1, 22, 30, 1)), (0.4, 0.3)).geometry
SAGITTAL = Geometry(
    SHAPE, np.array([[0, 0, 4.0, 7], [-0.5, 0, 0, 3], [0, -0.8, 0, 2], [0, 0, 0, 1]])
)
STEPS = [
    {"GaussianSmoothd": {"sigma": 1.0}},
    {"MedianSmoothd": {"radius": 1}},
    {"ImageFilterd": {"kernel": "mean", "kernel_size": 3}},
    {"DivisiblePadd": {"k": 16}},
    {"BorderPadd": {"spatial_border": 2}},
    {"BorderPadd": {"spatial_border": [1, 2, 3, 4]}},
    {"SpatialPadd": {"spatial_size": [40, 32]}},
    {"CenterSpatialCropd": {"roi_size": [26, 18]}},
    {"Resized": {"spatial_size": [45, 33]}},
    {"Zoomd": {"zoom": 1.3, "keep_size": False}},
    {"Zoomd": {"zoom": 0.9}},
    {"Rotated": {"angle": 0.3, "keep_size": False}},
    {"Rotate90d": {"k": 3}},
    {"Flipd": {}},
    {"Affined": {"rotate_params": 0.2, "translate_params": [2, 1]}},
    {"ResizeWithPadOrCropd": {"spatial_size": 24}},
]


def named(step):
    return next(iter(step))


@pytest.fixture
def disc():
    x, y, _ = np.indices(SHAPE)
    return ((x - 14) ** 2 + (y - 10) ** 2 < 40).astype(np.uint8)


def prepared(steps, mask, grid):
    image = mask + np.random.default_rng(0).random(SHAPE, np.float32)
    volume = Volume(image[None].astype(np.float32), grid, "scan.png")
    return Preparation(Preprocess.of(steps))(volume, Volume(mask[None], grid, ""))


@pytest.mark.parametrize("step", STEPS, ids=named)
def test_a_picture_becomes_what_monai_makes_of_two_axes(step, disc):
    found = prepared([step], disc, PICTURE).image
    image = disc + np.random.default_rng(0).random(SHAPE, np.float32)
    flat = MetaTensor(
        torch.tensor(image[None, :, :, 0]), affine=torch.diag(torch.tensor([0.3, 0.4, 1]))
    )
    name, args = next(iter(step.items()))
    theirs = getattr(monai, name)("image", **args)({"image": flat})["image"]
    np.testing.assert_allclose(found[..., 0], theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("grid", [PICTURE, SAGITTAL], ids=["picture", "sagittal slice"])
@pytest.mark.parametrize("step", [*STEPS, {"Spacingd": {"pixdim": [0.25, 0.3]}}], ids=named)
def test_its_mask_comes_back(step, grid, disc):
    done = prepared([step], disc, grid)
    assert done.image.shape[1:] == done.mask.shape == done.record.network.shape
    assert done.mask.shape[2] == 1
    assert (restore_classes(done.mask, done.record) == disc).mean() > 0.98


def test_arguments_of_three_axes_stay_what_they_say(disc):
    chain = [{"SpatialPadd": {"spatial_size": [32, 32, 4]}}]
    assert prepared(chain, disc, PICTURE).image.shape == (1, 32, 32, 4)
    turned = [{"Orientationd": {"axcodes": "SAL"}}]
    done = prepared(turned, disc, PICTURE)
    assert (restore_classes(done.mask, done.record) == disc).all()


def test_random_steps_of_preprocess_see_two_axes_too():
    (step,) = Preprocess.of([{"RandGaussianSmoothd": {"prob": 1}}]).steps
    seen = Rest((step,))(np.ones((1, *SHAPE), np.float32), "seven", 0)
    assert seen.shape == (1, *SHAPE)
    assert seen[0, 15, 11, 0] == pytest.approx(1, abs=0.01)
