import numpy as np
import torch
from torch import nn

from medssl.data.bags.bag import Bag
from medssl.train.feature_scaling import Scale, Scaled, ScaledBag


def bags() -> list[Bag]:
    rng = np.random.default_rng(0)
    rows = [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 9, 1)]
    for one in rows:
        one[:, 2] = 2400.0  # constant, as some columns of real sets are
    return [Bag(f"b{n}", f"p{n}", 0, one) for n, one in enumerate(rows)]


def test_training_instances_get_mean_0_and_deviation_1() -> None:
    found = bags()
    scale = Scale.of(found)
    scaled = np.concatenate([ScaledBag(bag, scale).features for bag in found])
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0)[[0, 1, 3]], 1, rtol=1e-5)


def test_a_constant_feature_becomes_0_and_stays_finite() -> None:
    found = bags()
    scale = Scale.of(found)
    assert scale.deviation[2] == 1
    assert not ScaledBag(found[0], scale).features[:, 2].any()


def test_the_predictor_scales_as_training_did_and_carries_the_scale_with_it() -> None:
    found = bags()
    scale = Scale.of(found)
    predictor = Scaled(nn.Identity(), scale)
    raw = torch.from_numpy(found[1].features)
    np.testing.assert_allclose(predictor(raw), ScaledBag(found[1], scale).features, rtol=1e-6)
    assert set(predictor.state_dict()) == {"mean", "deviation"}


def test_no_scale_changes_nothing() -> None:
    bag = bags()[0]
    np.testing.assert_array_equal(ScaledBag(bag, Scale.none(4)).features, bag.features)
