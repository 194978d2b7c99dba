"""Patches, batches and networks that nnU-Net's own planner gives; numbers of the planning sheet."""

from math import prod

import pytest

from medssl.data.plan.budget import PLAIN, RESIDUAL_L, RESIDUAL_M, RESIDUAL_XL, Budget, cost
from medssl.data.plan.patch import TooLittle, plan_patch
from medssl.data.plan.topology import topology

SETS = {
    "hippocampus": (260, 3, (36, 50, 35), (1, 1, 1)),
    "hippocampus of the repository": (200, 3, (36, 50, 35), (1, 1, 1)),
    "heart": (20, 2, (115, 320, 232), (1.37, 1.25, 1.25)),
    "brain tumour": (484, 4, (138, 169, 138), (1, 1, 1)),
    "liver": (131, 3, (432, 512, 512), (1, 0.7676, 0.7676)),
    "prostate": (32, 3, (20, 320, 319), (3.6, 0.625, 0.625)),
    "hearts of thick slices": (200, 4, (18, 237, 208), (5, 1.5625, 1.5625)),
    "left atrium, half": (80, 2, (44, 71, 96), (1.25, 1.25, 1.25)),
    "left atrium, 8": (8, 2, (44, 71, 96), (1.25, 1.25, 1.25)),
    "photographs": (20, 2, (1, 584, 565), (999, 1, 1)),
}
"""Cases, classes with background, median shape at the target spacing, that spacing; z, y, x."""

VOLUMES = [
    ("hippocampus", PLAIN, (40, 56, 40), 9, (3, 3, 3)),
    ("hippocampus of the repository", PLAIN, (40, 56, 40), 7, (3, 3, 3)),
    ("heart", PLAIN, (80, 192, 160), 2, (4, 5, 5)),
    ("heart", RESIDUAL_M, (80, 192, 160), 2, (4, 5, 5)),
    ("heart", RESIDUAL_L, (112, 288, 224), 2, None),
    ("heart", RESIDUAL_XL, (128, 320, 256), 3, None),
    ("brain tumour", PLAIN, (128, 128, 128), 2, (5, 5, 5)),
    ("brain tumour", RESIDUAL_L, (160, 192, 160), 3, None),
    ("brain tumour", RESIDUAL_XL, (160, 192, 160), 5, None),
    ("liver", PLAIN, (128, 128, 128), 2, (5, 5, 5)),
    ("prostate", PLAIN, (20, 320, 256), 2, (2, 6, 6)),
    ("prostate", RESIDUAL_M, (20, 256, 256), 2, None),
    ("prostate", RESIDUAL_L, (20, 320, 320), 5, None),
    ("hearts of thick slices", PLAIN, (20, 256, 224), 4, (2, 5, 5)),
    ("left atrium, half", PLAIN, (48, 80, 96), 3, (3, 4, 4)),
    ("left atrium, 8", PLAIN, (48, 80, 96), 2, (3, 4, 4)),
]

IMAGES = [
    ("hippocampus", (56, 40), 366),
    ("hippocampus of the repository", (56, 40), 281),
    ("heart", (320, 256), 40),
    ("brain tumour", (192, 160), 105),
    ("liver", (512, 512), 12),
    ("photographs", (640, 640), 2),
]


@pytest.mark.parametrize(("name", "budget", "patch", "batch", "poolings"), VOLUMES)
def test_patch_and_batch_are_those_of_nnunet(
    name: str, budget: Budget, patch: tuple[int, ...], batch: int, poolings: tuple[int, ...] | None
) -> None:
    count, classes, shape, spacing = SETS[name]
    plan = plan_patch(spacing, shape, prod(shape) * count, classes, budget)
    assert (plan.patch, plan.batch) == (patch, batch)
    assert poolings is None or plan.topology.poolings == poolings


@pytest.mark.parametrize(("name", "patch", "batch"), IMAGES)
def test_slices_are_planned_as_images(name: str, patch: tuple[int, ...], batch: int) -> None:
    count, classes, shape, spacing = SETS[name]
    plan = plan_patch(spacing[1:], shape[1:], prod(shape) * count, classes, PLAIN)
    assert (plan.patch, plan.batch) == (patch, batch)


def test_photographs_are_padded_to_what_seven_halvings_divide() -> None:
    count, classes, shape, spacing = SETS["photographs"]
    plan = plan_patch(spacing[1:], shape[1:], prod(shape) * count, classes, PLAIN)
    assert plan.topology.poolings == (7, 7)


def test_features_double_to_a_limit() -> None:
    assert PLAIN.feature_counts(4, 3) == (32, 64, 128, 256)
    assert PLAIN.feature_counts(6, 3) == (32, 64, 128, 256, 320, 320)
    assert PLAIN.feature_counts(6, 2) == (32, 64, 128, 256, 512, 512)


def test_the_cost_of_the_hippocampus_by_hand() -> None:
    """Encoder 85 and decoder 129 activations for each of 89,600 voxels."""
    count, classes, shape, spacing = SETS["hippocampus"]
    plan = plan_patch(spacing, shape, prod(shape) * count, classes, PLAIN)
    assert plan.cost == 214 * 89_600 == 19_174_400
    assert plan.limited_by == "data"  # 58 would fit, and 5 % of the voxels are nine patches


@pytest.mark.parametrize(("budget", "expected"), [(PLAIN, 450_699_264), (RESIDUAL_M, 555_323_392)])
def test_the_cost_of_a_large_cube(budget: Budget, expected: int) -> None:
    assert cost(budget, topology((1, 1, 1), (128, 128, 128)), 2) == expected


def test_a_budget_below_the_smallest_patch_says_how_much_is_missing() -> None:
    with pytest.raises(TooLittle) as raised:
        plan_patch((1, 1, 1), (64, 64, 64), 1e6, 2, PLAIN.scaled(1e-6, "nothing"))
    enough = PLAIN.scaled(1e-6 * raised.value.factor * 1.001, "enough")
    assert plan_patch((1, 1, 1), (64, 64, 64), 1e6, 2, enough).patch == (8, 8, 8)


def test_a_patch_that_is_given_is_kept_and_padded() -> None:
    plan = plan_patch((1, 1, 1), (36, 50, 35), 1e7, 3, PLAIN, wanted=(30, 32, 32))
    assert plan.patch == (32, 32, 32)
