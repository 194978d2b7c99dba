"""The target spacing; numbers of the planning sheet, 6.1 and 6.3."""

import numpy as np
import pytest

from medssl.data.plan.spacing import median_shape, target_spacing

Triples = list[tuple[float, float, float]]


def slices(*groups: tuple[int, float]) -> Triples:
    """So many cases with slices so many mm apart."""
    return [(z, 1.5, 1.5) for count, z in groups for _ in range(count)]


def shapes(*counts: int) -> list[tuple[int, int, int]]:
    return [(count, 256, 216) for count in counts]


def test_thick_slices_of_differing_distance_take_a_fine_one() -> None:
    given = slices((6, 10), (2, 6), (2, 5))
    assert target_spacing(given, shapes(*range(9, 19))) == (5, 1.5, 1.5)


def test_many_slices_keep_their_median() -> None:
    given = slices((6, 10), (2, 6), (2, 5))
    assert target_spacing(given, shapes(*[100] * 10))[0] == 10


def test_it_is_not_finer_than_within_a_slice() -> None:
    given = slices((6, 10), (4, 1))
    assert target_spacing(given, shapes(*[9] * 10))[0] == pytest.approx(1.50001, abs=1e-9)


def test_equal_distances_stay() -> None:
    assert target_spacing([(0.9, 0.9, 3.0)] * 5, [(256, 256, 40)] * 5) == (0.9, 0.9, 3.0)


def test_hearts_of_two_thicknesses() -> None:
    """Two of ten at 5 mm among 10 mm: the target is 5, and the median scan has 18 slices."""
    spacings = [(5.0 if case % 5 == 0 else 10.0, 1.5625, 1.5625) for case in range(200)]
    grids = [(9, 237, 208)] * 200
    target = target_spacing(spacings, grids)
    assert target == (5, 1.5625, 1.5625)
    assert median_shape(spacings, grids, target) == (18, 237, 208)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_axes_does_not_matter(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(3)
    given, grid = slices((6, 10), (2, 6), (2, 5)), shapes(*range(9, 19))
    turned = target_spacing(np.array(given)[:, order], np.array(grid)[:, order])
    assert turned == tuple(np.array(target_spacing(given, grid))[order])
