"""What is left of a mask says the truth, and costs what it is said to cost."""

import numpy as np

from tests.benchmarks.partial_truth import UNKNOWN, in_scribbles, in_slices


def atrium() -> np.ndarray:
    """A ball [60, 50, 40] in which some slices show nothing."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (60, 50, 40)), indexing="ij"))
    return (np.hypot(np.hypot(grid[0] - 30, grid[1] - 25), grid[2] - 20) < 15).astype(np.uint8)


def test_a_tenth_of_the_slices_is_known_as_it_is() -> None:
    mask, known = atrium(), []
    for seed in range(40):
        cut = in_slices(mask, np.random.default_rng(seed))
        seen = cut != UNKNOWN
        assert (cut[seen] == mask[seen]).all()
        assert set(seen.mean((0, 1))) == {0, 1}  # whole slices
        known.append(seen.mean())
    assert np.mean(known) == 0.1


def test_scribbles_are_lines_on_the_right_side_of_the_border() -> None:
    mask = atrium()
    cut = in_scribbles(mask, np.random.default_rng(0))
    seen = cut != UNKNOWN
    assert (cut[seen] == mask[seen]).all()
    assert {0, 1} <= set(np.unique(cut))
    assert seen.mean() < 0.02
    assert set(seen.any((0, 1)).reshape(-1, 2).all(1)) == {True, False}  # every second of the grid
