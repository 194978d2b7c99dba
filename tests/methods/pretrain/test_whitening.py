"""Whitening against hand-computed numbers; by the sheet of whitening."""

from math import sqrt

import pytest
import torch

from medssl.methods.pretrain.whitening import distance, whiten, whitened_loss
from medssl.methods.registry import settings_class
from tests.methods.pretrain.scans import build, pair_batch, terms

X = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
Y = torch.tensor([[2.0, 1], [-2, -1], [0, 1], [0, -1]], dtype=torch.float64)


def random_rows(rows=64, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64)


def test_rows_along_the_axes_are_stretched_alike():
    assert torch.allclose(whiten(X), sqrt(1.5) * X)
    covariance = X.T @ X / 3
    assert float(torch.linalg.cholesky(covariance)[0, 0]) == pytest.approx(0.816497, abs=1e-6)


@pytest.mark.parametrize(
    ("other", "unit", "value"),
    [(X, True, 0), (-X, True, 4), (X @ torch.tensor([[0.0, 1], [-1, 0]]).double(), True, 2),
     (-X, False, 3)],
)  # fmt: skip
def test_the_distance_of_whitened_rows(other, unit, value):
    assert float(distance(whiten(X), whiten(other), unit)) == pytest.approx(value, abs=1e-12)


def test_rows_that_differ_by_a_lower_triangle_are_whitened_alike():
    assert torch.allclose(whiten(Y), whiten(X))
    factor = torch.linalg.cholesky((Y - Y.mean(0)).T @ (Y - Y.mean(0)) / 3)
    assert factor.flatten().tolist() == pytest.approx([1.632993, 0, 0.816497, 0.816497], abs=1e-6)
    rows = random_rows()
    lower = torch.tril(random_rows(6, 6, 1)) + 4 * torch.eye(6)
    assert torch.allclose(whiten(rows @ lower.T + 3), whiten(rows))
    turn = torch.linalg.qr(random_rows(6, 6, 2)).Q
    assert not torch.allclose(whiten(rows @ turn.T), whiten(rows))
    assert torch.allclose(torch.cdist(whiten(rows @ turn.T), whiten(rows @ turn.T)),
                          torch.cdist(whiten(rows), whiten(rows)), atol=1e-6)  # fmt: skip


def test_the_covariance_is_the_identity_in_single_precision():
    white = whiten(random_rows(128, 16).float())
    assert torch.allclose(white.T @ white / 127, torch.eye(16), atol=1e-5)
    assert torch.allclose(white.mean(0), torch.zeros(16), atol=1e-5)


def test_shrunk_to_the_identity_rows_are_centred_alone():
    rows = random_rows()
    assert torch.allclose(whiten(rows, 1.0), rows - rows.mean(0))


def test_the_order_of_rows_does_not_matter():
    rows, order = random_rows(), torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(whiten(rows[order]), whiten(rows)[order])


def test_a_collapsed_embedding_is_rescued_by_the_identity():
    alike = torch.ones(8, 3, dtype=torch.float64, requires_grad=True)
    white = whiten(alike)
    assert torch.equal(white, torch.zeros(8, 3, dtype=torch.float64))
    white.sum().backward()
    assert bool(alike.grad.isfinite().all())
    narrow = random_rows(8, 2) @ random_rows(2, 4, 1)  # of rank 2 in 4 dimensions
    assert bool(whiten(narrow).isfinite().all())


def test_only_the_sets_that_need_it_are_rescued():
    whole, flat = random_rows(16, 3), torch.ones(16, 3, dtype=torch.float64)
    assert torch.allclose(whiten(torch.stack([whole, flat]))[0], whiten(whole))


def test_the_gradient_is_that_of_finite_differences():
    rows = random_rows(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(whiten, rows)


def test_sets_are_whitened_each_for_itself_and_every_view_too():
    views = torch.stack([random_rows(8, 2), random_rows(8, 2, 1)])
    order = torch.tensor([3, 1, 0, 2, 7, 5, 6, 4])
    expected = [
        distance(whiten(views[0, part]), whiten(views[1, part]), True)
        for part in (order[:4], order[4:])
    ]
    found = whitened_loss(views, 4, 0.0, True, order)
    assert float(found) == pytest.approx(float(sum(expected) / 2))


def test_four_views_are_six_pairs_in_any_order():
    views = torch.stack([random_rows(8, 2, seed) for seed in range(4)])
    white = [whiten(view) for view in views]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    expected = sum(float(distance(white[u], white[v], True)) for u, v in pairs) / 6
    order = torch.arange(8)
    assert float(whitened_loss(views, 8, 0.0, True, order)) == pytest.approx(expected)
    relabelled = views[[2, 0, 3, 1]]
    assert float(whitened_loss(relabelled, 8, 0.0, True, order)) == pytest.approx(expected)


def test_independent_views_are_two_apart():
    views = torch.stack([random_rows(4096, 8), random_rows(4096, 8, 1)])
    assert float(whitened_loss(views, 256, 0.0, True, torch.arange(4096))) == pytest.approx(
        2, abs=0.1
    )


def test_rounds_are_averaged_over_divisions_of_their_own():
    how = {"outputs": 4, "hidden": 16, "size": 8, "tokens": 32, "shrink": 0.1}
    one, three = (build_plain(rounds=rounds, **how) for rounds in (1, 3))
    single = float(terms(one, {"pairs": pair_batch()})["whitened"].detach())
    several = float(terms(three, {"pairs": pair_batch()})["whitened"].detach())
    assert single != several
    assert 0 <= several <= 4


def build_plain(**settings):
    return build("whitening", masking=None, decoder_width=None, **settings)


def test_the_second_view_takes_its_gradient_too():
    views = torch.stack([random_rows(), random_rows(64, 6, 1)]).requires_grad_()
    whitened_loss(views, 32, 0.0, True, torch.arange(64)).backward()
    assert all(float(view.abs().sum()) > 0 for view in views.grad)


def test_more_rows_than_features_are_needed():
    with pytest.raises(ValueError, match="no covariance of full rank in outputs=32"):
        settings_class("whitening")(size=32)
    with pytest.raises(ValueError, match="raise tokens, or lower outputs"):
        settings_class("whitening")(tokens=32)
    assert settings_class("whitening").preset("paper").together == 128
