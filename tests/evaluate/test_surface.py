import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medssl.evaluate.surface import border, surface_distances


def brute_border(mask: np.ndarray) -> np.ndarray:
    """Voxel by voxel: inside, with one of six neighbours outside the mask or the volume."""
    result = np.zeros_like(mask)
    steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    for voxel in np.argwhere(mask):
        for step in steps:
            near = voxel + step
            outside = (near < 0).any() or (near >= mask.shape).any()
            if outside or not mask[tuple(near)]:
                result[tuple(voxel)] = True
    return result


def brute_distances(origin, target, spacing) -> np.ndarray:
    """Each border voxel of `origin` against each of `target`."""
    here = np.argwhere(brute_border(origin)) * spacing
    there = np.argwhere(brute_border(target)) * spacing
    return np.linalg.norm(here[:, None] - there[None], axis=-1).min(axis=1)


def cube(start: int, shape=(16, 14, 12)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[start : start + 6, 4:10, 3:9] = True
    return mask


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping ragged masks that touch the faces of the volume."""
    generator = np.random.default_rng(seed)
    prediction, truth = generator.random((2, 9, 8, 7)) < generator.uniform(0.05, 0.9)
    prediction[0, 0, 0] = truth[-1, -1, -1] = True
    return prediction, truth


def test_a_border_voxel_has_a_face_neighbour_outside():
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    found = border(mask)
    assert found.sum() == 26  # all but the centre
    assert not found[2, 2, 2]


def test_what_lies_beyond_the_volume_is_outside():
    assert border(np.ones((3, 3, 3), bool)).sum() == 26


def test_a_diagonal_gap_is_no_border():
    mask = np.ones((5, 5, 5), bool)
    mask[1, 1, 1] = False
    assert not border(mask)[2, 2, 1]
    assert border(mask)[2, 1, 1]


def test_cubes_three_voxels_apart():
    """Two 6-cubes shifted by 3 voxels of 0.5 mm: no voxel is further off than the shift."""
    distances = surface_distances(cube(6), cube(3), (0.5, 1.0, 1.0))
    assert distances.hd95() == pytest.approx(1.5)
    assert distances.to_truth.max() == pytest.approx(1.5)
    assert len(distances.to_truth) == 6**3 - 4**3
    ours = np.sort(distances.to_truth)
    np.testing.assert_allclose(ours, np.sort(brute_distances(cube(6), cube(3), (0.5, 1.0, 1.0))))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.tuples(*[st.floats(0.2, 5.0)] * 3))
def test_agrees_with_brute_force(seed, spacing):
    prediction, truth = random_pair(seed)
    to_truth = brute_distances(prediction, truth, spacing)
    to_prediction = brute_distances(truth, prediction, spacing)
    pooled = np.concatenate((to_truth, to_prediction))
    found = surface_distances(prediction, truth, spacing)
    assert found.hd95() == pytest.approx(np.percentile(pooled, 95), abs=1e-9)
    assert found.asd() == pytest.approx(to_truth.mean(), abs=1e-9)
    assert found.assd() == pytest.approx(pooled.mean(), abs=1e-9)
    assert found.nsd(1.0) == pytest.approx((pooled <= 1.0 + 1e-6).mean(), abs=1e-9)


def test_equals_medpy_on_a_ragged_pair():
    """Values that medpy 0.5.2 returned for this pair (hd95, asd and assd, this spacing)."""
    prediction, truth = random_pair(7)
    found = surface_distances(prediction, truth, (0.7, 1.0, 2.5))
    assert found.hd95() == pytest.approx(2.118962010, abs=1e-6)
    assert found.asd() == pytest.approx(0.992651028, abs=1e-6)
    assert found.assd() == pytest.approx(1.037577527, abs=1e-6)


def test_pools_both_directions_where_monai_takes_the_maximum():
    truth = np.zeros((30, 3, 3), bool)
    truth[0:20] = True
    prediction = truth.copy()
    prediction[28, 1, 1] = True  # one far voxel of 188 surface voxels
    found = surface_distances(prediction, truth, (1.0, 1.0, 1.0))
    assert found.to_truth.max() == pytest.approx(9.0)
    assert found.hd95() == 0.0


def test_asd_is_directed_from_prediction_to_truth():
    inner, outer = np.zeros((2, 12, 12, 12), bool)
    outer[1:11, 1:11, 1:11] = True
    inner[5, 5, 5] = True
    assert surface_distances(inner, outer, (1.0, 1.0, 1.0)).asd() == pytest.approx(4.0)
    assert surface_distances(outer, inner, (1.0, 1.0, 1.0)).asd() > 5.5  # corners are 7 or more


def test_equal_masks_are_at_distance_zero():
    found = surface_distances(cube(3), cube(3), (1.0, 1.0, 1.0))
    assert (found.hd95(), found.asd(), found.assd(), found.nsd(0.01)) == (0.0, 0.0, 0.0, 1.0)


def test_spacing_is_the_unit_of_the_result():
    near = surface_distances(cube(6), cube(3), (1.0, 1.0, 1.0))
    far = surface_distances(cube(6), cube(3), (3.0, 3.0, 3.0))
    np.testing.assert_allclose(3 * near.to_truth, far.to_truth)


def test_an_empty_mask_has_no_surface():
    with pytest.raises(ValueError, match="no surface"):
        surface_distances(cube(3), np.zeros_like(cube(3)), (1.0, 1.0, 1.0))


def test_the_surface_of_a_2d_mask_is_its_outline():
    square = np.zeros((7, 7, 1), bool)
    square[1:6, 1:6] = True
    assert np.count_nonzero(border(square)) == 25
    assert np.count_nonzero(border(square, flat=True)) == 16
    inner = np.zeros_like(square)
    inner[2:5, 2:5] = True
    found = surface_distances(square, inner, (0.5, 0.5, 1.0), flat=True)
    # Of 16 outline pixels 12 are a side away from the smaller square, and 4 corners a diagonal.
    assert sorted(found.to_truth) == pytest.approx([0.5] * 12 + [0.5 * 2**0.5] * 4)
    assert found.to_prediction.tolist() == pytest.approx([0.5] * 8)
