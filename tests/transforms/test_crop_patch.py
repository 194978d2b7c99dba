"""A box cut from memory maps and from images with a grid."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import BorderPadd, Compose, SpatialCropd

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.infer.restore import restore_classes
from medssl.transforms import CropPatchd
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation

WIDE = 9


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(size=(2, 7, 8, 9)).astype(np.float32)


@pytest.mark.parametrize("start", [(0, 0, 0), (2, 3, 4), (-3, 6, 2), (5, -4, 8)])
def test_it_equals_monais_padding_and_crop_in_values_and_affine(array, start):
    image = MetaTensor(torch.from_numpy(array), affine=torch.diag(torch.tensor([2.0, -1, 3, 1])))
    ours = CropPatchd("image", (4, 5, 6), start, fill=-7)({"image": image})["image"]
    first = [at + WIDE for at in start]
    last = [at + side for at, side in zip(first, (4, 5, 6), strict=True)]
    padded = BorderPadd("image", WIDE, value=-7)
    theirs = Compose([padded, SpatialCropd("image", roi_start=first, roi_end=last)])
    wanted = theirs({"image": image})["image"]
    torch.testing.assert_close(ours.as_tensor(), wanted.as_tensor(), atol=0, rtol=0)
    torch.testing.assert_close(ours.affine, wanted.affine)


def test_of_a_memory_map_no_more_than_the_box_is_read(tmp_path):
    """The file holds 256 GiB, most of them a hole: it would not fit into memory."""
    shape = (1, 4096, 4096, 4096)
    stored = np.lib.format.open_memmap(tmp_path / "case.npy", "w+", np.float32, shape)
    stored[0, 4095, 3, 3:5] = 2, 3
    stored.flush()
    start = [4094, 3, 2]
    read = np.load(tmp_path / "case.npy", mmap_mode="r")
    found = CropPatchd("image", (3, 1, 4), fill=-1)({"image": read, "start": start})["image"]
    assert found[0, :, 0].tolist() == [[0, 0, 0, 0], [0, 2, 3, 0], [-1, -1, -1, -1]]


def test_each_image_keeps_its_type_and_has_its_own_fill(array):
    cut = CropPatchd(["image", "label"], (1, 1, 2), (0, 0, 8), fill=(0.5, 255))
    found = cut({"image": array, "label": array[:1].astype(np.uint8)})
    assert found["image"].dtype == torch.float32
    assert found["label"].dtype == torch.uint8
    assert found["image"][:, 0, 0, 1].tolist() == [0.5, 0.5]
    assert found["label"][0, 0, 0, 1] == 255


def test_an_image_of_two_dimensions_is_cut_likewise(array):
    found = CropPatchd("image", (2, 3), (1, 2))({"image": array[..., 0]})["image"]
    assert torch.equal(found, torch.from_numpy(array[:, 1:3, 2:5, 0]))


def test_a_start_of_other_dimensions_is_refused(array):
    with pytest.raises(ValueError, match="zip"):
        CropPatchd("image", (2, 3), (1, 2))({"image": array})


def test_a_pipeline_may_cut_and_results_find_their_way_back(array):
    grid = Geometry((7, 8, 9), np.diag([2.0, 2.0, 3.0, 1.0]))
    step = {"medssl:CropPatchd": {"size": [4, 4, 4], "start": [2, 3, 1]}}
    prepared = Preparation(Preprocess.of([step]))(Volume(array, grid, "scan.nii"))
    assert np.array_equal(prepared.image, array[:, 2:6, 3:7, 1:5])
    labels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) + 1
    restored = restore_classes(labels, prepared.record)
    assert restored.shape == (7, 8, 9)
    assert np.array_equal(restored[2:6, 3:7, 1:5], labels)
    assert np.count_nonzero(restored) == 64
