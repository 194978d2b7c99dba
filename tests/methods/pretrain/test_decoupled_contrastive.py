"""Decoupled contrast against hand-computed numbers; by its sheet."""

from math import exp, log

import pytest
import torch

from medssl.methods.pretrain.decoupled_contrastive import (
    barred_rows,
    decoupled_loss,
    unlike_weights,
)
from medssl.methods.pretrain.views import Rows
from tests.methods.pretrain.scans import build, pair_batch, terms

I = torch.eye(2, dtype=torch.float64)  # noqa: E741 - the sheet's name
B = torch.tensor([[1.0, 0], [0.6, 0.8]], dtype=torch.float64)
SELF = torch.eye(2, dtype=torch.bool)


def loss(one, other, temperature=0.5, **how):
    barred = torch.eye(len(one), dtype=torch.bool)
    return float(decoupled_loss(one, other, barred, temperature, **how))


def random_views(rows=6, width=4):
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(views, dim=2)


def test_the_loss_of_unit_vectors():
    assert loss(I, I) == pytest.approx(-1.306853, abs=1e-6)
    assert loss(I, I, coupled=True) == pytest.approx(0.239545, abs=1e-6)
    assert loss(I, I, coupled=True) - loss(I, I) == pytest.approx(log(1 + exp(2) / 2), abs=1e-9)


def test_both_ways_of_unlike_views():
    assert loss(I, B) == pytest.approx(-0.721785, abs=1e-6)
    assert loss(B, I) == pytest.approx(-0.121785, abs=1e-6)
    assert 0.5 * (loss(I, B, coupled=True) + loss(B, I, coupled=True)) == pytest.approx(
        0.527587, abs=1e-6
    )


def test_unlike_views_weigh_more():
    assert unlike_weights(I, I, 0.7).tolist() == pytest.approx([1, 1])
    weight = unlike_weights(I, B, 0.5)
    assert weight.tolist() == pytest.approx([0.802625, 1.197375], abs=1e-6)
    assert loss(I, B, weight=weight) == pytest.approx(-0.682310, abs=1e-6)
    assert loss(B, I, weight=unlike_weights(B, I, 0.5)) == pytest.approx(-0.082310, abs=1e-6)
    one, other = random_views()
    assert float(unlike_weights(one, other, 0.5).mean()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("alike", [0.1, 0.9])
def test_the_pull_is_the_same_however_alike_views_are(alike):
    """The gradient of the positive similarity is -1 / (temperature n)."""
    one = I.clone()
    other = torch.tensor([[alike, (1 - alike**2) ** 0.5], [0, 1]], dtype=torch.float64)
    other.requires_grad_()
    decoupled_loss(one, other, SELF, 0.5).backward()
    assert float(other.grad[0, 0]) == pytest.approx(-1 / (0.5 * 2))


def test_the_order_of_rows_and_of_views_does_not_matter():
    one, other = random_views()
    order = [3, 1, 5, 0, 2, 4]
    assert loss(one[order], other[order]) == pytest.approx(loss(one, other))


def test_barred_pairs_cannot_change_the_loss():
    one, other = random_views()
    barred = torch.eye(6, dtype=torch.bool)
    barred[0, 3] = True
    before = decoupled_loss(one, other, barred, 0.5)
    moved = other.clone()
    moved[3] = one[0]
    less = [decoupled_loss(one[[0]].expand(2, -1), x[[0, 3]], ~SELF | SELF, 0.5)
            for x in (other, moved)]  # fmt: skip
    assert less[0] == less[1] == 0  # nothing left to be told from
    after = decoupled_loss(one, moved, barred, 0.5)
    free = decoupled_loss(one, moved, torch.eye(6, dtype=torch.bool), 0.5)
    assert float(after) < float(free)
    assert float(before) != float(after)  # row 3 has another positive


def test_rows_without_negatives_cost_nothing_and_have_no_gradient():
    one, other = random_views(2)
    one = one.clone().requires_grad_()
    found = decoupled_loss(one, other, torch.ones(2, 2, dtype=torch.bool), 0.1)
    found.backward()
    assert found.item() == 0
    assert bool(one.grad.isfinite().all())


def test_detached_weights_have_the_same_value_and_another_gradient():
    one, other = random_views()
    gradients = []
    for detach in (True, False):
        given = one.clone().requires_grad_()
        weight = unlike_weights(given, other, 0.5)
        weight = weight.detach() if detach else weight
        found = decoupled_loss(given, other, torch.eye(6, dtype=torch.bool), 0.5, weight)
        found.backward()
        gradients.append((float(found), given.grad))
    assert gradients[0][0] == gradients[1][0]
    assert not torch.allclose(gradients[0][1], gradients[1][1])


def test_a_duplicate_row_pushes_with_full_force():
    one, other = random_views()
    one[1] = one[0]
    found = decoupled_loss(one, other, torch.eye(6, dtype=torch.bool), 0.1)
    assert bool(found.isfinite())


def test_one_row_has_nothing_to_be_told_from():
    with pytest.raises(ValueError, match="two rows at least"):
        loss(I[:1], I[:1])


def rows(items, places, patients):
    return Rows(
        torch.zeros(2, len(items), 1), torch.tensor(patients), torch.tensor(items),
        torch.tensor(places, dtype=torch.float32)[:, None].expand(-1, 3) / 3**0.5,
    )  # fmt: skip


def test_near_tokens_of_one_scan_are_no_negatives():
    found = barred_rows(rows([0, 0, 0, 1], [0, 5, 20, 0], [1, 1, 1, 1]), 8.0, False)
    assert found.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]


def test_all_rows_of_a_patient_can_be_barred():
    found = barred_rows(rows([0, 1, 2], [0, 0, 0], [1, 1, 2]), 8.0, True)
    assert found.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


@pytest.mark.parametrize("kind", ["dcl", "dclw", "nt_xent"])
@pytest.mark.parametrize("unit", ["scans", "tokens"])
def test_every_form_learns(kind, unit):
    method = build("decoupled_contrastive", masking=None, decoder_width=None, loss=kind, rows=unit)
    found = terms(method, {"pairs": pair_batch()})
    assert bool(found["contrast"].isfinite())
    found["contrast"].backward()
