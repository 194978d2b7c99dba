"""Which patches become tokens: the best, exactly, and others without favour."""

import pytest
import torch
from scipy.stats import chi2

from medssl.networks.selection import random_tokens, selected_first, token_counts, top_tokens


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("total", "share", "expected"),
    [
        (900, 7 / 9, (200, 700)),
        (500, 0.5, (250, 250)),
        (200, 0.0, (200, 0)),
        (10, 0.7, (3, 7)),  # 4 + 7 in floating point
        (900, 2 / 9, (700, 200)),  # 2/9 as a double lies below it
        (5, 1.0, (0, 5)),
        (1, 0.9, (1, 0)),
    ],
)
def test_counts_are_exact_and_add_up(total, share, expected):
    assert token_counts(total, share) == expected


def test_the_top_is_that_of_a_full_sort():
    scores = torch.randn(1000, 1, generator=seeded())
    expected = scores[:, 0].argsort(descending=True)[:37]
    assert torch.equal(top_tokens(scores, 37), expected)


def test_the_lowest_index_wins_a_tie():
    scores = torch.tensor([0.0, 2.0, -1.0, 2.0, -0.0, 2.0, 0.0, -1.0]).unsqueeze(1)
    assert top_tokens(scores, 2).tolist() == [1, 3]
    assert top_tokens(scores, 5).tolist() == [1, 3, 5, 0, 4]
    assert top_tokens(scores, 7).tolist() == [1, 3, 5, 0, 4, 6, 2]
    assert top_tokens(torch.zeros(100_000, 1), 50).tolist() == list(range(50))


def test_scores_of_every_size_and_sign_keep_their_order():
    values = [float("-inf"), -3e38, -1.0, -1e-45, 0.0, 1e-45, 1e-3, 1.0, 3e38, float("inf")]
    assert top_tokens(torch.tensor(values).unsqueeze(1), 10).tolist() == list(range(9, -1, -1))


def test_a_small_bag_is_taken_whole():
    assert sorted(top_tokens(torch.randn(3, 1), 10).tolist()) == [0, 1, 2]
    assert top_tokens(torch.randn(3, 1), 0).tolist() == []


def test_with_several_outputs_each_gives_its_best_once():
    scores = torch.tensor([[9.0, 0.0], [8.0, 7.0], [0.0, 9.0], [1.0, 1.0]])
    assert top_tokens(scores, 2).tolist() == [0, 1, 2]  # {0, 1} and {2, 1}


def test_the_random_part_is_new_without_repeats_and_never_more_than_is_left():
    taken = torch.tensor([4, 1, 7])
    for seed in range(50):
        drawn = random_tokens(taken, 12, 5, seeded(seed)).tolist()
        assert len(set(drawn)) == 5
        assert not set(drawn) & {1, 4, 7}
    assert sorted(random_tokens(taken, 5 + 3, 100, seeded()).tolist()) == [0, 2, 3, 5, 6]
    assert random_tokens(torch.arange(6), 6, 3, seeded()).tolist() == []


def test_the_random_part_is_uniform():
    """Chi-square of 10^4 draws of 3 out of 10 patches that are not taken."""
    generator, taken = seeded(3), torch.tensor([0, 11])
    draws = [random_tokens(taken, 12, 3, generator) for _ in range(10_000)]
    counts = torch.bincount(torch.cat(draws), minlength=12)[1:11].double()
    # Without replacement the counts vary less than a multinomial's, by (1 - 3/10) / (1 - 1/10).
    statistic = ((counts - 3000) ** 2 / 3000).sum() / (0.7 / 0.9)
    assert statistic < chi2.ppf(0.999, df=9)
    assert statistic > chi2.ppf(0.001, df=9)


def test_the_same_seed_draws_the_same_patches_and_the_next_draw_is_another():
    taken, generator = torch.tensor([0]), seeded(1)
    first, second = (random_tokens(taken, 1000, 20, generator) for _ in range(2))
    assert torch.equal(first, random_tokens(taken, 1000, 20, seeded(1)))
    assert not torch.equal(first, second)


def test_selected_first_lists_every_patch_once():
    assert selected_first(torch.tensor([3, 1]), 5).tolist() == [3, 1, 0, 2, 4]
