"""Masks against the sheet of modality-invariant learning, sections 5 (step 6) and 10.1."""

import pytest
import torch
from pydantic import ValidationError

from medssl.errors import UsageError
from medssl.methods.pretrain.masking import draw_cells, enlarge
from medssl.methods.settings.masked_image_modelling import Masking

PAPER = Masking(cell=32)


def drawn(count, side, settings, seed=0):
    like = torch.zeros(1, 1, 1, 1, 1).expand(count, 1, side, side, side)
    return draw_cells(like, settings, torch.Generator().manual_seed(seed))


def test_at_paper_size_14_to_20_of_27_cubes_are_hidden():
    cells = drawn(2000, 96, PAPER)
    assert cells.shape == (2000, 1, 3, 3, 3)
    counts = cells.sum((1, 2, 3, 4))
    assert set(counts.tolist()) == set(range(14, 21))
    share = counts / 27
    assert share.min() >= 0.51
    assert share.max() <= 0.75


def test_the_ratio_is_uniform():
    """Mean and standard deviation of U(0.5, 0.75)."""
    share = drawn(1000, 40, Masking(cell=4)).float().mean((1, 2, 3, 4))
    assert share.mean().item() == pytest.approx(0.625, abs=0.01)
    assert share.std().item() == pytest.approx(0.25 / 12**0.5, abs=0.005)


def test_every_cube_is_hidden_equally_often():
    often = drawn(4000, 96, PAPER).float().mean(0)
    assert often.min() > 0.59
    assert often.max() < 0.66


def test_scans_have_masks_of_their_own():
    cells = drawn(20, 96, PAPER)
    assert len({tuple(one.flatten().tolist()) for one in cells}) == 20


def test_a_mask_is_constant_within_each_cube():
    cells = drawn(2, 96, PAPER)
    voxels = enlarge(cells, torch.Size((96, 96, 96)))
    cubes = voxels.view(2, 3, 32, 3, 32, 3, 32).permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
    assert torch.equal(cubes.all(4), cubes.any(4))
    assert torch.equal(cubes.all(4), cells[:, 0])
    tokens = enlarge(cells, torch.Size((48, 48, 48)))
    assert torch.equal(enlarge(tokens, torch.Size((96, 96, 96))), voxels)


def test_windows_need_not_be_cubes():
    like = torch.zeros(2, 1, 8, 16, 24)
    cells = draw_cells(like, Masking(cell=8, ratio=(0.5, 0.5)), torch.Generator())
    assert cells.shape == (2, 1, 1, 2, 3)
    assert cells.sum((1, 2, 3, 4)).tolist() == [3, 3]
    assert enlarge(cells, torch.Size((8, 16, 24))).sum().item() == 6 * 8**3


def test_the_generator_decides():
    first, same, other = (drawn(4, 96, PAPER, seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("cell", [5, 6, 24])
def test_cubes_that_do_not_fit_are_refused_with_those_that_do(cell):
    """5 does not divide the window, 6 splits cells of 4, 24 would hide all or nothing."""
    with pytest.raises(UsageError, match=rf"masking\.cell={cell} .*choose one of 4, 8, 12$"):
        Masking(cell=cell).must_fit((24, 24, 24), 4)


def test_a_window_without_fitting_cubes_is_refused():
    with pytest.raises(UsageError, match=r"give a larger train\.patch"):
        Masking(cell=4).must_fit((6, 6, 6), 4)


@pytest.mark.parametrize("ratio", [(0.8, 0.5), (0.0, 0.5), (0.5, 1.0)])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(ValidationError, match="ratio goes from"):
        Masking(ratio=ratio)
