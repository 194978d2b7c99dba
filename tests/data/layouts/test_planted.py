from pathlib import Path

import numpy as np
import pytest

from medssl.data.layouts.planted import PlantedBag, cases, planted_bag
from medssl.data.spec import DataSpec, load_spec

SMALL = {
    "classes": ["negative", "positive"],
    "bags": 8,
    "patches": 50,
    "keys": [2, 3],
    "width": 16,
    "shift": 8,
}


def spec_of(**options: object) -> DataSpec:
    layout = {"kind": "planted", "classes": ["negative", "positive"], **SMALL, **options}
    plain = load_spec("planted_keys").model_dump() | {"layout": layout}
    return DataSpec.model_validate(plain)


def bags_of(**options: object) -> list[PlantedBag]:
    spec = spec_of(**options)
    return [planted_bag(spec, case) for case in cases(spec, Path())]


def test_positive_bags_hold_keys_and_negative_bags_none() -> None:
    for bag in bags_of():
        assert bag.features.shape == (50, 16)
        keys = int(bag.instances.sum())
        assert keys == 0 if bag.label == 0 else keys in (2, 3)


def test_keys_differ_from_background_along_one_direction() -> None:
    positive = [bag for bag in bags_of(bags=40) if bag.label]
    keys = np.concatenate([bag.features[bag.instances] for bag in positive])
    background = np.concatenate([bag.features[~bag.instances] for bag in positive])
    gap = keys.mean(0) - background.mean(0)
    assert np.linalg.norm(gap) == pytest.approx(8, rel=0.1)
    along = (keys @ gap) / np.linalg.norm(gap)
    assert along.std() == pytest.approx(1, abs=0.25)


def test_a_bag_is_the_same_whenever_it_is_read_and_another_with_another_seed() -> None:
    one, again, other = (bags_of(**more)[1] for more in ({}, {}, {"seed": 1}))
    np.testing.assert_array_equal(one.features, one.features)
    np.testing.assert_array_equal(one.features, again.features)
    assert not np.array_equal(one.features, other.features)
