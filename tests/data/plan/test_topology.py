"""Strides and kernels follow from spacing and patch; numbers of the planning sheet, 6.1 and 6.4."""

import pytest

from medssl.data.plan.topology import topology


def words(rows: tuple[tuple[int, ...], ...]) -> list[str]:
    """Each row as a word, e.g. "122"."""
    return ["".join(map(str, row)) for row in rows]


@pytest.mark.parametrize(
    ("spacing", "patch", "poolings", "strides", "flat"),
    [
        ((5, 0.78, 0.78), (40, 224, 224), (3, 5, 5), "111 122 122 222 222 222", 2),
        ((2.5, 0.8, 0.8), (40, 224, 224), (3, 5, 5), "111 122 222 222 222 122", 1),
        ((3.6, 0.625, 0.625), (20, 320, 256), (2, 6, 6), "111 122 122 222 222 122 122", 2),
        ((5, 1.5625, 1.5625), (20, 256, 224), (2, 5, 5), "111 122 222 222 122 122", 1),
        ((1.37, 1.25, 1.25), (80, 192, 160), (4, 5, 5), "111 222 222 222 222 122", 0),
    ],
)
def test_thick_slices_are_halved_and_joined_later(
    spacing: tuple[float, ...],
    patch: tuple[int, ...],
    poolings: tuple[int, ...],
    strides: str,
    flat: int,
) -> None:
    """`flat` levels have kernels of one voxel across the slices, all others of three."""
    found = topology(spacing, patch)
    assert found.poolings == poolings
    assert words(found.strides) == strides.split()
    levels = len(found.strides)
    assert words(found.kernels) == ["133"] * flat + ["333"] * (levels - flat)


def test_cubes_are_halved_alike() -> None:
    assert topology((1, 1, 1), (96, 96, 96)).poolings == (4, 4, 4)


def test_a_side_below_eight_is_never_halved() -> None:
    found = topology((1, 1, 1), (7, 40, 40))
    assert found.poolings == (0, 3, 3)
    assert found.patch == (7, 40, 40)


def test_a_small_cube_has_two_levels() -> None:
    assert len(topology((1, 1, 1), (12, 12, 12)).strides) == 2


def test_sides_are_padded_to_what_the_halvings_divide() -> None:
    assert topology((1, 1, 1), (36, 50, 35)).patch == (40, 56, 40)
