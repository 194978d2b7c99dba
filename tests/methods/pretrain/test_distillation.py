"""Losses of self-distillation: hand-computed numbers of the sheet of Alice, section 14, no. 11."""

from math import exp, log

import pytest
import torch

from medssl.methods.pretrain.distillation import (
    balanced,
    between_volumes,
    contrast,
    cross_entropy,
    sharpened,
)


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_11_hand_numbers_of_the_term_between_volumes():
    teacher = sharpened(rows((0.02, 0.0), (0.0, 0.01)), torch.zeros(2), 0.01)  # of Q, of K
    student = rows((0.1, 0.0), (0.0, 0.2))
    q_to_k = cross_entropy(teacher[:1], student[1:], 0.1).item()
    k_to_q = cross_entropy(teacher[1:], student[:1], 0.1).item()
    assert q_to_k == pytest.approx(1.888522, abs=1e-6)
    assert k_to_q == pytest.approx(1.044320, abs=1e-6)
    assert between_volumes(teacher, student, 0.1).item() == pytest.approx(1.466421, abs=1e-6)


def test_11_hand_numbers_of_the_term_within_a_volume():
    target = sharpened(rows((0.01, -0.01), (0.01, -0.01)), torch.zeros(2), 0.01)
    student = rows((0.1, -0.1), (-0.1, 0.1))
    assert cross_entropy(target, student, 0.1).item() == pytest.approx(1.126928, abs=1e-6)


def test_8_swapping_the_crops_leaves_the_term_between_volumes():
    g = torch.Generator().manual_seed(0)
    target, student = torch.rand(6, 5, generator=g).softmax(1), torch.randn(6, 5, generator=g)
    swapped = between_volumes(target.roll(3, 0), student.roll(3, 0), 0.1)
    torch.testing.assert_close(swapped, between_volumes(target, student, 0.1))


def test_a_crop_answers_as_its_partner_not_as_itself():
    g = torch.Generator().manual_seed(0)
    target, student = torch.rand(4, 5, generator=g).softmax(1), torch.randn(4, 5, generator=g)
    logs = (student / 0.1).log_softmax(1)
    pairs = [(0, 2), (1, 3), (2, 0), (3, 1)]
    expected = -sum((target[t] * logs[s]).sum() for t, s in pairs) / 4
    torch.testing.assert_close(between_volumes(target, student, 0.1), expected)


def test_centring_takes_what_all_rows_share():
    scores = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    centre = torch.tensor([0.5, 0.0, -0.5])
    torch.testing.assert_close(sharpened(scores + centre, centre, 0.1), (scores / 0.1).softmax(1))


def test_balanced_targets_use_all_prototypes_alike_and_each_row_sums_to_one():
    scores = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0)) / 10
    scores[..., 0] += 1  # which centring by this batch alone would not undo at this temperature
    found = balanced(scores, 0.05, rounds=50)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 30))
    torch.testing.assert_close(found.mean((0, 1)), torch.full((5,), 0.2), atol=1e-3, rtol=0)
    few = balanced(scores, 0.05)
    torch.testing.assert_close(few.sum(-1), torch.ones(2, 30))
    assert few.mean((0, 1)).max() < 0.3 < (scores / 0.05).softmax(-1).mean((0, 1)).max()


NONE = (torch.zeros(0, 2, dtype=torch.float64), torch.zeros(0, dtype=torch.bool))


def test_contrast_of_a_hand_example():
    """Two items: the positive has similarity 1, the two other places 0; temperature 0.5."""
    unit = rows((1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0))
    found = contrast(unit, unit, *NONE, (0.5, False)).item()
    assert found == pytest.approx(log(1 + 2 * exp(-2)), abs=1e-9)
    assert found == pytest.approx(0.239545, abs=1e-6)
    decoupled = contrast(unit, unit, *NONE, (0.5, True)).item()
    assert decoupled == pytest.approx(log(2) - 2, abs=1e-9)


def test_earlier_crops_are_negatives_once_the_queue_holds_them():
    unit = rows((1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0))
    queue = rows((1.0, 0.0), (-1.0, 0.0), (0.6, 0.8))
    empty = contrast(unit, unit, queue, torch.zeros(3, dtype=torch.bool), (0.5, False))
    torch.testing.assert_close(empty, contrast(unit, unit, *NONE, (0.5, False)))
    found = contrast(unit, unit, queue, torch.tensor([True, False, True]), (0.5, False)).item()
    one = log(1 + 2 * exp(-2) + 1 + exp(1.2 - 2))
    other = log(1 + 2 * exp(-2) + exp(-2) + exp(1.6 - 2))
    assert found == pytest.approx((one + other) / 2, abs=1e-9)


def test_contrast_of_alike_crops_tells_nothing_as_the_sheet_says():
    """ln of all candidates: 4 items give each crop its positive and six others."""
    unit = torch.ones(8, 1)
    none = (torch.zeros(0, 1), torch.zeros(0, dtype=torch.bool))
    assert contrast(unit, unit, *none, (0.2, False)).item() == pytest.approx(log(7), abs=1e-6)


@pytest.mark.parametrize("decoupled", [False, True])
def test_crops_of_the_same_anatomy_are_no_negatives(decoupled):
    unit = torch.nn.functional.normalize(
        torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    alike = torch.zeros(6, 6, dtype=torch.bool)
    alike[0, 1] = alike[1, 0] = True
    how = torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool), (0.5, decoupled)
    free, barred = contrast(unit, unit, *how), contrast(unit, unit, *how, alike)
    assert barred < free
    rows = [0, 3]  # partners, with nothing else to be told from
    assert torch.equal(
        contrast(unit[rows], unit[rows], *how, torch.ones(2, 2, dtype=torch.bool)),
        torch.zeros(()),
    )


def test_the_queue_has_negatives_of_its_own_for_every_crop():
    unit = torch.nn.functional.normalize(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    queue, some = unit[:2], torch.tensor([[True, False]] * 4)
    found = contrast(unit, unit, queue, some, (0.5, False))
    one = contrast(unit, unit, queue, torch.tensor([True, False]), (0.5, False))
    assert torch.equal(found, one)
