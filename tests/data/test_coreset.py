"""Coresets against hand-computed orders and brute force; by their sheet."""

from itertools import combinations

import numpy as np
import pytest

from medssl.data.coreset import (
    SELECTORS,
    by_cut,
    by_facility,
    by_k_center,
    by_row_sum,
    likeness,
    select,
)

ALIKE = np.array(
    [[1, 0.9, 0.8, 0.1], [0.9, 1, 0.7, 0.1], [0.8, 0.7, 1, 0.1], [0.1, 0.1, 0.1, 1]], np.float32
)
RNG = np.random.default_rng(0)


def unit_rows(count, width=8, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_released_order_takes_near_copies_first():
    assert by_row_sum(ALIKE, 4, RNG) == [0, 1, 2, 3]


def test_the_intended_order_takes_what_is_not_covered():
    assert by_cut(ALIKE, 4, RNG) == [0, 3, 2, 1]


def cut_value(alike, kept):
    return sum(alike[i, j] for i in range(len(alike)) if i not in kept for j in kept)


def test_gains_are_those_of_the_cut_by_brute_force():
    alike = likeness(unit_rows(12)).astype(float)
    for size in range(4):
        for kept in combinations(range(12), size):
            for one in set(range(12)) - set(kept):
                gain = alike[one].sum() - alike[one, one] - 2 * alike[one, list(kept)].sum()
                grown = cut_value(alike, {*kept, one}) - cut_value(alike, set(kept))
                assert gain == pytest.approx(grown)


def covers(alike, kept):
    return alike[:, sorted(kept)].max(1).sum()


def test_facility_location_is_the_plain_greedy():
    alike = likeness(unit_rows(40))
    kept: list[int] = []
    for _ in range(15):
        rest = [i for i in range(40) if i not in kept]
        kept.append(max(rest, key=lambda one: (round(float(covers(alike, [*kept, one])), 4), -one)))
    assert by_facility(alike, 15, RNG) == kept


def test_k_center_takes_the_farthest():
    places = np.array([0.0, 0.1, 0.2, 1.5])  # radians; 0.1 is the most central
    rows = np.stack([np.cos(places), np.sin(places)], 1)
    assert by_k_center(likeness(rows), 3, RNG)[1] == 3


def test_of_exact_copies_facility_location_keeps_one_each():
    rows = unit_rows(50)
    alike = likeness(np.concatenate([rows, rows]))
    distinct = {name: len({i % 50 for i in SELECTORS[name](alike, 50, RNG)})
                for name in ("rowsum", "cut", "facility")}  # fmt: skip
    assert distinct["facility"] == 50
    assert distinct["rowsum"] == 25
    assert 25 < distinct["cut"] < 50


def test_noise_comes_last_by_row_sum():
    centre = np.ones(32)
    near = centre + 0.3 * np.random.default_rng(0).normal(size=(20, 32))
    rows = np.concatenate([unit_rows(5, 32), near])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert set(by_row_sum(likeness(rows), 25, RNG)[-5:]) == set(range(5))


@pytest.mark.parametrize("name", SELECTORS)
def test_every_class_keeps_its_share_and_small_ones_all(name):
    rows, classes = unit_rows(57), np.repeat([0, 1, 2], [30, 20, 7])
    kept = select(rows, classes, 0.6, name, 0)
    assert [sum(classes[one] == number for one in kept) for number in range(3)] == [18, 12, 7]
    assert kept == select(rows, classes, 0.6, name, 0)


@pytest.mark.parametrize("name", [name for name in SELECTORS if name != "random"])
def test_the_order_of_examples_does_not_matter(name):
    rows, classes = unit_rows(40), np.zeros(40, int)
    order = np.random.default_rng(1).permutation(40)
    kept = select(rows, classes, 0.5, name, 0)
    moved = select(rows[order], classes, 0.5, name, 0)
    assert {int(order[one]) for one in moved} == set(kept)


def test_opposite_examples_are_not_alike():
    assert likeness(np.array([[1.0, 0], [-1, 0]])).tolist() == [[1, 0], [0, 1]]
