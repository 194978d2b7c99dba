"""How small the structures of masks are; numbers by hand."""

from math import pi

import numpy as np
import pytest

from medssl.data.plan.fingerprint import CaseFacts, Fingerprint
from medssl.data.plan.parts import small_parts


def across(volume: float) -> float:
    """Diameter of a ball."""
    return float((6 * volume / pi) ** (1 / 3))


def mask(*sides: int) -> np.ndarray:
    """Cubes of these sides in a row, two voxels apart."""
    found = np.zeros((max(sides), max(sides), sum(sides) + 2 * len(sides)), np.uint8)
    start = 0
    for side in sides:
        found[:side, :side, start : start + side] = 1
        start += side + 2
    return found


def test_a_part_is_as_far_across_as_a_ball_of_its_volume() -> None:
    """27 voxels of 2 cubic millimetres are a ball of 4.69 mm."""
    found = small_parts(mask(3), [1], 2.0)
    assert found == {1: pytest.approx(4.69, abs=0.005)}


@pytest.mark.parametrize(
    ("sides", "counts"),
    [
        ((4, 3, 1), 3),  # 1 of 92 voxels is a speck, 28 are not
        ((4, 2, 2), 2),  # each 8 of 80 is a tenth at most; both are a fifth
        ((4, 1, 1, 1, 1), 4),  # 4 of 68
        ((5, 2, 1), 5),  # 9 of 134
    ],
)
def test_parts_that_hold_a_tenth_at_most_are_specks(sides: tuple[int, ...], counts: int) -> None:
    assert small_parts(mask(*sides), [1], 1.0)[1] == pytest.approx(across(counts**3))


def test_each_label_has_its_own_parts_and_other_values_have_none() -> None:
    both = np.zeros((3, 3, 9), np.int32)
    both[:3, :3, :3], both[:2, :2, 4:6], both[0, 0, 8] = 7, 2, 255
    found = small_parts(both, [2, 7, 9], 1.0)
    assert found == {2: pytest.approx(across(8)), 7: pytest.approx(across(27))}


def test_voxels_that_touch_at_a_corner_are_one_part() -> None:
    two = np.zeros((2, 2, 2), np.uint8)
    two[0, 0, 0] = two[1, 1, 1] = 1
    assert small_parts(two, [1], 1.0)[1] == pytest.approx(across(2))


def test_of_a_set_the_label_counts_that_is_smallest_in_a_tenth_of_the_cases() -> None:
    """Of eleven cases the second smallest is at the tenth percentile."""

    def case(**parts: float) -> CaseFacts:
        known = {int(name[1:]): size for name, size in parts.items()}
        return CaseFacts((8, 8, 8), (1, 1, 1), (8, 8, 8), (0, 1), np.empty(0), known)

    organs = [case(v1=float(size), v2=40.0) for size in range(20, 31)]
    assert Fingerprint(tuple(organs)).finest == pytest.approx(21)
    assert Fingerprint((*organs, case(v3=5.0))).finest == pytest.approx(5)
    assert Fingerprint((case(),)).finest is None
