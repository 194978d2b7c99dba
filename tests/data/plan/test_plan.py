"""From scans to a plan: crops and intensities, axes in the order of the scans, budgets."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from medssl.data.plan.budget import CPU, LEAST, PLAIN, RESIDUAL_L, RESIDUAL_XL, Budget, budget_for
from medssl.data.plan.fingerprint import CaseFacts, Fingerprint
from medssl.data.plan.key import Planned
from medssl.data.plan.plan import SizePlan, plan_sizes
from medssl.data.plan.reasons import Names, planned_keys
from medssl.data.plan.request import Fixed

Triple = tuple[int, int, int]
NOTHING = np.empty(0, np.float32)


def scans(
    count: int,
    shape: Triple,
    spacing: tuple[float, float, float],
    box: Triple | None = None,
    inside: np.ndarray = NOTHING,
    body: tuple[float, float] = (-100.0, 200.0),
    across: float = 0.0,
) -> Fingerprint:
    """Equal cases; with `across` a mask of each has small parts of so many mm."""
    parts = {1: across} if across else {}
    return Fingerprint((CaseFacts(shape, spacing, box or shape, body, inside, parts),) * count)


def keys(plan: SizePlan, budget: Budget = PLAIN, chain: str = "mr") -> dict[str, Planned]:
    return {one.key: one for one in planned_keys(plan, budget, Names(chain))}


def test_axes_come_back_in_the_order_of_the_scans() -> None:
    """Prostates of 20 slices: the axis of the slices may stand anywhere."""
    found = plan_sizes(scans(32, (319, 320, 20), (0.625, 0.625, 3.6)), 3, False, PLAIN, Fixed())
    assert found.network.patch == (256, 320, 20)
    assert found.network.topology.poolings == (6, 6, 2)
    assert found.network.topology.strides[1] == (2, 2, 1)
    assert found.network.topology.kernels[0] == (3, 3, 1)
    assert found.spacing == (0.625, 0.625, 3.6)


def test_images_of_one_slice_are_planned_in_their_plane() -> None:
    found = plan_sizes(scans(20, (565, 584, 1), (1, 1, 1)), 2, False, PLAIN, Fixed())
    assert found.planar
    assert found.network.patch == (640, 640, 1)
    assert {row[2] for row in found.network.topology.kernels} == {1}
    assert max(keys(found)["network.features"].value) == 512


@pytest.mark.parametrize(
    ("box", "crop", "intensity"),
    [
        ((100, 100, 100), False, "zscore"),
        ((100, 100, 90), True, "zscore_box"),
        ((74, 74, 73), True, "zscore_inside"),  # 0.4 of a brain's scan, as in BrainTumour
    ],
)
def test_what_a_crop_leaves_decides_on_intensities(box: Triple, crop: bool, intensity: str) -> None:
    found = plan_sizes(scans(5, (100, 100, 100), (1, 1, 1), box), 2, False, PLAIN, Fixed())
    assert (found.crop, found.intensity) == (crop, intensity)
    assert found.median == (box if crop else (100, 100, 100))
    planned = keys(found)
    assert planned["preprocess.mr.intensity"].value == intensity
    assert planned["preprocess.mr.crop_foreground"].value is crop


def test_ct_takes_its_window_from_the_masks_alone() -> None:
    inside = np.arange(1001, dtype=np.float32)
    labelled = scans(2, (64, 64, 64), (1, 1, 1), (32, 32, 32), inside)
    found = plan_sizes(labelled + scans(6, (64, 64, 64), (1, 1, 1)), 2, True, PLAIN, Fixed())
    planned = keys(found, chain="ct")
    assert planned["preprocess.ct.window"].value == [5.0, 995.0]
    assert planned["preprocess.ct.zscore"].value == [500.0, round(float(inside.std()), 2)]
    assert not found.crop  # air is no margin of a CT
    without = plan_sizes(scans(6, (64, 64, 64), (1, 1, 1)), 2, True, PLAIN, Fixed())
    assert "preprocess.ct.window" not in keys(without, chain="ct")


def test_labelled_scans_beyond_the_range_of_the_others_are_counted() -> None:
    marked = np.ones(3, np.float32)
    alike = scans(4, (8, 8, 8), (1, 1, 1), body=(-100, 200))
    within = scans(2, (8, 8, 8), (1, 1, 1), inside=marked, body=(-90, 220))
    beyond = scans(3, (8, 8, 8), (1, 1, 1), inside=marked, body=(-90, 900))
    assert (alike + within).apart() == 0
    assert (alike + within + beyond).apart() == 3
    assert beyond.apart() == 0  # nothing to compare with


def test_all_training_scans_count_for_the_batch() -> None:
    """Eight hippocampi give the least batch, two hundred seven patches."""
    shape = (35, 50, 36)
    eight = plan_sizes(scans(8, shape, (1, 1, 1)), 3, False, PLAIN, Fixed())
    all_of_them = plan_sizes(scans(200, shape, (1, 1, 1)), 3, False, PLAIN, Fixed())
    assert eight.network.patch == all_of_them.network.patch
    assert (eight.network.batch, eight.network.limited_by) == (2, "least")
    assert (all_of_them.network.batch, all_of_them.network.limited_by) == (7, "data")
    assert "5 %" in keys(all_of_them)["train.batch_labelled"].why


def test_given_sizes_are_taken_for_what_follows_from_them() -> None:
    found = scans(10, (64, 64, 64), (1, 1, 1))
    finer = plan_sizes(found, 2, False, PLAIN, Fixed(spacing=(0.5, 1, 1)))
    assert finer.median == (128, 64, 64)
    kept = plan_sizes(found, 2, False, PLAIN, Fixed(keeps_spacing=True))
    assert kept.median == (64, 64, 64)
    given = plan_sizes(found, 2, False, PLAIN, Fixed(patch=(32, 16, 32)))
    assert given.network.patch == (32, 16, 32)


def test_every_key_has_a_reason() -> None:
    for chain in ("mr", "ct"):
        found = plan_sizes(scans(10, (64, 64, 64), (1, 1, 1)), 2, chain == "ct", CPU, Fixed())
        for one in planned_keys(found, CPU, Names(chain)):
            assert one.why.endswith("."), one.key


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("ball",), [0, 1, 2]),
        (("left kidney", "right kidney"), [1, 2]),
        (("Kidney_L", "Kidney_R"), [1, 2]),
        (("anterior hippocampus", "posterior hippocampus"), [0, 2]),
        (("lung_upper_lobe_left", "lung_lower_lobe_left"), [1]),
        (("leftover", "clot"), [0, 1, 2]),
    ],
)
def test_sides_that_labels_tell_apart_are_not_exchanged(
    labels: tuple[str, ...], axes: list[int]
) -> None:
    found = plan_sizes(scans(3, (64, 64, 64), (1, 1, 1)), 3, False, PLAIN, Fixed())
    keys = planned_keys(found, PLAIN, Names("mr", labels))
    (mirrored,) = [one for one in keys if one.key == "augment.standard.mirror_axes"]
    assert mirrored.value == axes


@pytest.mark.parametrize(
    ("settled", "steps", "labels", "axes"),
    [
        (0.6, 1200, ("ball",), []),
        (0.6, 1200, ("left kidney", "right kidney"), []),
        (0.25, 1200, ("ball",), []),
        (0.2, 1200, ("lesion",), [0, 1, 2]),
        (0.2, 1200, ("left tumour", "right tumour"), [1, 2]),
        (None, 1200, ("ball",), [0, 1, 2]),
        (0.6, 25000, ("ball",), [0, 1, 2]),
    ],
)
def test_in_few_steps_what_keeps_to_its_place_is_not_mirrored(
    settled: float | None, steps: int, labels: tuple[str, ...], axes: list[int]
) -> None:
    found = plan_sizes(scans(3, (64, 64, 64), (1, 1, 1)), 3, False, PLAIN, Fixed())
    found, budget = replace(found, settled=settled), replace(PLAIN, steps=steps)
    keys = planned_keys(found, budget, Names("mr", labels))
    (mirrored,) = [one for one in keys if one.key == "augment.standard.mirror_axes"]
    assert mirrored.value == axes
    assert ("shown as they lie" in mirrored.why) is (axes == [])


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (8, PLAIN.volumes),
        (12, 1.5 * PLAIN.volumes),
        (24, RESIDUAL_L.volumes),
        (32, RESIDUAL_L.volumes * 32 / 24),
        (40, RESIDUAL_XL.volumes),
        (80, 2 * RESIDUAL_XL.volumes),
    ],
)
def test_a_gpu_has_the_table_in_proportion(memory: float, expected: float) -> None:
    found = budget_for("cuda", memory)
    assert found.volumes == pytest.approx(expected)
    assert found.residual == (memory >= 24)


def test_a_cpu_has_a_quarter_of_the_features_and_few_steps() -> None:
    found = budget_for("cpu", float("inf"))
    assert found.feature_counts(6, 3) == (8, 16, 32, 64, 80, 80)
    assert found.steps < budget_for("cuda", 8).steps / 10
    assert budget_for("cpu", LEAST) == found  # a patch takes little beside all else


def test_a_cpu_trains_with_small_patches() -> None:
    found = plan_sizes(scans(40, (44, 71, 96), (1.25, 1.25, 1.25)), 2, False, CPU, Fixed())
    assert prod(found.network.patch) < 40**3
    assert found.network.batch == 2


def test_a_cpu_sees_most_of_a_small_organ() -> None:
    """Hippocampi of 35 x 50 x 36 voxels, all but their margin."""
    found = plan_sizes(scans(160, (35, 50, 36), (1, 1, 1)), 3, False, CPU, Fixed())
    assert found.network.patch == (32, 48, 32)
    assert found.larger == 1
    assert len(found.network.topology.strides) == 4
    assert found.network.batch == 2


def test_a_cpu_takes_larger_voxels_until_a_patch_shows_most_of_a_scan() -> None:
    """Left atria of 1.25 mm; a patch would show less than a fifth of one."""
    given = scans(40, (44, 71, 96), (1.25, 1.25, 1.25)), 2, False
    found = plan_sizes(*given, CPU, Fixed())
    assert found.spacing == pytest.approx((1.25 * found.larger,) * 3)
    assert 1.4 < found.larger < 1.7
    assert prod(found.network.patch) >= 0.6 * prod(found.median)
    reason = keys(found, CPU)["preprocess.mr.spacing"].why
    assert f"Made up to {found.larger:.3g} times larger" in reason
    assert plan_sizes(*given, PLAIN, Fixed()).larger == 1
    fixed = plan_sizes(*given, CPU, Fixed(spacing=(1.25, 1.25, 1.25)))
    assert (fixed.larger, fixed.spacing) == (1, (1.25, 1.25, 1.25))


def test_voxels_become_no_more_than_twice_as_large() -> None:
    found = plan_sizes(scans(40, (200, 200, 200), (1, 1, 1)), 2, False, CPU, Fixed())
    assert found.spacing == (2, 2, 2)


@pytest.mark.parametrize(
    ("across", "spacing", "why"),
    [
        (8.1, 2.0, "twice as large is 2 mm, of which a lesion has four"),
        (6.0, 1.5, "a quarter of it"),
        (3.0, 1.0, "the scans' own are too large already"),
    ],
)
def test_voxels_become_no_larger_than_small_structures_bear(
    across: float, spacing: float, why: str
) -> None:
    given = scans(40, (200, 200, 200), (1, 1, 1), across=across)
    found = plan_sizes(given, 2, False, CPU, Fixed())
    assert found.spacing == pytest.approx((spacing,) * 3), why
    reason = keys(found, CPU)["preprocess.mr.spacing"].why
    held = f"small parts of the masks, {across:.3g} mm across, are to stay 4 voxels across"
    assert (held in reason) is (spacing < 2)
    assert ("Made up to" in reason) is (spacing > 1)
    assert plan_sizes(given, 2, False, PLAIN, Fixed()).held == 0


def test_an_axis_whose_voxels_are_small_may_still_become_larger() -> None:
    """A lesion of 8 mm bears voxels of 2 mm; slices of 5 mm are as they are."""
    given = scans(40, (200, 200, 60), (1, 1, 5), across=8.0)
    found = plan_sizes(given, 2, False, CPU, Fixed())
    assert found.spacing == pytest.approx((2, 2, 5))


def test_where_slices_are_thick_voxels_become_larger_within_them_first() -> None:
    found = plan_sizes(scans(40, (90, 90, 20), (1, 1, 5)), 2, False, CPU, Fixed())
    assert found.larger > 1
    assert found.spacing[0] == found.spacing[1] > 1
    assert found.spacing[2] == 5


@pytest.mark.parametrize("shape", [(120, 120, 1), (512, 512, 1), (2048, 1024, 1), (30, 30, 1)])
def test_a_step_on_images_costs_a_cpu_no_more_than_one_on_volumes(shape: Triple) -> None:
    """In two dimensions an activation costs about two thirds of one in three; batches are whole."""
    found = plan_sizes(scans(400, shape, (1, 1, 1)), 2, False, CPU, Fixed())
    assert found.network.batch * found.network.cost <= 1.7 * 2 * CPU.volumes


def test_channels_lie_last_where_a_cpu_has_few_of_them() -> None:
    volumes = plan_sizes(scans(10, (64, 64, 64), (1, 1, 1)), 2, False, CPU, Fixed())
    images = plan_sizes(scans(10, (64, 64, 1), (1, 1, 1)), 2, False, CPU, Fixed())
    assert keys(volumes, CPU)["train.channels_last"].value is True
    for plan, budget in ((volumes, replace(CPU, given=(16, 32))), (volumes, PLAIN), (images, CPU)):
        assert keys(plan, budget)["train.channels_last"].value is False
