"""Axes are turned by MONAI's Orientationd, which is not asked where they run so already."""

import numpy as np
import pytest
import torch
from monai.transforms import Orientationd

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation
from medssl.transforms.reader import as_meta_tensor

SHAPE = (5, 6, 7)


def askew(degrees: float) -> np.ndarray:
    """RAS, turned about the third axis."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0, 1], [sine, cosine, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1.0]])


def volume_on(affine: np.ndarray) -> Volume:
    array = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    return Volume(array, Geometry(SHAPE, affine), "scan.nii")


@pytest.mark.parametrize("code", ["RAS", "LPS", "SRA"])
@pytest.mark.parametrize("degrees", [0, 30, 40, 44.9, 45.1, 100, 180])
def test_voxels_and_grid_are_those_of_monai(degrees, code):
    volume = volume_on(askew(degrees))
    prepared = Preparation(Preprocess.of([{"Orientationd": {"axcodes": code}}]))(volume)
    turn = Orientationd("image", axcodes=code, labels=None)
    theirs = turn({"image": as_meta_tensor(volume)})["image"]
    assert np.array_equal(prepared.image, theirs.numpy())
    torch.testing.assert_close(torch.from_numpy(prepared.record.network.affine), theirs.affine)


@pytest.mark.parametrize(("degrees", "asked"), [(0, False), (36, False), (38, True), (180, True)])
def test_monai_is_asked_where_something_may_turn(monkeypatch, degrees, asked):
    seen, plain = [], Orientationd.__call__
    counted = lambda *given, **keys: seen.append(1) or plain(*given, **keys)  # noqa: E731
    monkeypatch.setattr(Orientationd, "__call__", counted)
    Preparation(Preprocess.of([{"Orientationd": {"axcodes": "RAS"}}]))(volume_on(askew(degrees)))
    assert bool(seen) == asked
