"""Nystrom attention against exact attention and the true pseudo-inverse."""

import pytest
import torch
from torch.nn import functional

from medssl.networks.nystrom import NystromAttention, pseudo_inverse


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(landmarks, iterations=6, width=12, heads=3, dropout=0.0):
    torch.manual_seed(0)
    return NystromAttention(width, heads, landmarks, iterations, 5, dropout).double()


def tokens(count, width=12):
    return 2 * torch.randn(count, width, generator=seeded(1), dtype=torch.float64)


def exact(attention, given):
    """Dense attention and the convolution of the values, in the module's weights."""
    heads = attention.project(given).view(len(given), 3, attention.heads, -1).permute(1, 2, 0, 3)
    q, k, v = heads
    weight = attention.residual.weight[:, 0]
    along = torch.zeros_like(v)
    for offset in range(-2, 3):
        shifted = functional.pad(v, (0, 0, 2, 2))[:, 2 + offset : 2 + offset + len(given)]
        along += weight[:, 2 + offset, None, None] * shifted
    mixed = functional.scaled_dot_product_attention(q, k, v) + along
    return attention.out(mixed.transpose(0, 1).flatten(1))


def test_six_iterations_come_close_to_the_pseudo_inverse():
    near = torch.randn(3, 8, 8, generator=seeded(), dtype=torch.float64) + 4 * torch.eye(8)
    matrix = near.softmax(-1)
    true = torch.linalg.pinv(matrix)
    errors = [(pseudo_inverse(matrix, n) - true).norm() / true.norm() for n in (1, 2, 6)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_with_a_landmark_for_each_token_it_is_exact_attention():
    attention, given = make(10, iterations=25), tokens(10)
    torch.testing.assert_close(attention(given), exact(attention, given), rtol=1e-6, atol=1e-6)


def test_equal_tokens_in_each_run_make_any_number_of_landmarks_exact():
    """Then a landmark is its tokens, and softmax over runs of equal length is that over means."""
    attention = make(6, iterations=25)
    given = tokens(6).repeat_interleave(4, 0)
    torch.testing.assert_close(attention(given), exact(attention, given), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 7, 12, 13])
def test_any_number_of_tokens_is_answered(count):
    """Zeros before the first token fill the runs, as in the release."""
    attention, given = make(6), tokens(count)
    found = attention(given)
    assert found.shape == given.shape
    full = functional.pad(given, (0, 0, -count % 6, 0))
    torch.testing.assert_close(found, attention(full)[-count:])


def test_the_pseudo_inverse_stays_in_single_precision_under_autocast():
    matrix = torch.randn(2, 8, 8, generator=seeded()).softmax(-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = pseudo_inverse(matrix, 6)
    assert torch.equal(found, pseudo_inverse(matrix, 6))
