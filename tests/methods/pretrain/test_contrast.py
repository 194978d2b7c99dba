"""The contrastive loss and the queue against the sheet's numbers, sections 5, 9 and 10.1."""

from math import exp, log

import pytest
import torch
from torch.nn.functional import normalize

from medssl.methods.pretrain.contrast import KeyQueue, contrastive_loss, of_others

TAU = 0.2
AXIS = torch.eye(4, dtype=torch.float64)


def loss(query, key, others, allowed=None, **more):
    chosen = torch.ones(len(query), len(others), dtype=torch.bool) if allowed is None else allowed
    return contrastive_loss(query, key, others, chosen, TAU, **more)


def directions(count, width=16, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, width, generator=generator, dtype=dtype), dim=1)


def test_a_key_alone_costs_nothing():
    assert loss(AXIS[:1], AXIS[:1], AXIS[:0]).item() == 0


def test_one_orthogonal_negative_costs_log_1_plus_e_to_minus_5():
    found = loss(AXIS[:1], AXIS[:1], AXIS[1:2]).item()
    assert found == pytest.approx(log(1 + exp(-5)))
    assert found == pytest.approx(0.00672, abs=5e-6)


def test_a_full_queue_of_orthogonal_negatives_costs_4_713():
    found = loss(AXIS[:1], AXIS[:1], AXIS[1:2].expand(16384, -1)).item()
    assert found == pytest.approx(log(1 + 16384 * exp(-5)))
    assert found == pytest.approx(4.713, abs=5e-4)


def test_an_empty_queue_costs_nothing_but_with_the_released_phantoms_0_556():
    """16384 entries of cosine -1: log(1 + 16384 e^(-5 - 5)) = .556 (sheet, section 9, item 1)."""
    nobody = torch.zeros(1, 16384, dtype=torch.bool)
    empty = torch.zeros(16384, 4, dtype=torch.float64)
    assert loss(AXIS[:1], AXIS[:1], empty, nobody).item() == 0
    found = loss(AXIS[:1], AXIS[:1], empty, nobody, phantoms=True).item()
    assert found == pytest.approx(log(1 + 16384 * exp(-10)))
    assert found == pytest.approx(0.556, abs=5e-4)


def test_what_is_not_allowed_changes_nothing():
    query, key, others = directions(3), directions(3, seed=1), directions(6, seed=2)
    allowed = torch.ones(3, 6, dtype=torch.bool)
    allowed[:, 4:] = False
    plain = loss(query, key, others[:4])
    torch.testing.assert_close(loss(query, key, others, allowed), plain)
    others[4:] = query[:2]  # as alike as can be
    torch.testing.assert_close(loss(query, key, others, allowed), plain)


def test_it_is_the_papers_formula_row_by_row():
    query, key, others = directions(3), directions(3, seed=1), directions(5, seed=2)
    allowed = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    rows = []
    for q, k, fits in zip(query, key, allowed, strict=True):
        own = (q @ k / TAU).exp()
        rows.append(-(own / (own + (others[fits] @ q / TAU).exp().sum())).log())
    torch.testing.assert_close(loss(query, key, others, allowed), torch.stack(rows).mean())


def test_an_item_without_negatives_has_no_loss_and_a_finite_gradient():
    query = directions(2).requires_grad_()
    allowed = torch.tensor([[False, False], [True, True]])
    found = loss(query, directions(2, seed=1), directions(2, seed=2), allowed)
    found.backward()
    assert query.grad.isfinite().all()
    assert query.grad[0].abs().max() == 0
    assert query.grad[1].abs().max() > 0


def test_it_never_runs_in_half_precision():
    query, key, others = (directions(8, seed=n, dtype=torch.float32) for n in range(3))
    exact = loss(query, key, others)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(query, key, others)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_negatives_are_filled_places_of_other_patients():
    found = of_others(torch.tensor([1, 2]), torch.tensor([0, 1, 2, 3, 1]))
    assert found.tolist() == [
        [False, False, True, True, False],
        [False, True, False, True, True],
    ]


def test_the_queue_is_a_ring_whose_patients_stay_with_their_keys():
    """After n pushes of 2 B = 6 keys the pointer is 6 n mod 16; each key says whose it is."""
    queue = KeyQueue(16, 4)
    kept = []
    for n in range(1, 8):
        patients = torch.arange(6) + 6 * n
        keys = normalize(torch.stack([patients, *[torch.ones(6)] * 3], 1), dim=1)
        queue.push(keys, patients)
        kept = [*kept, *patients.tolist()][-16:]
        assert queue.pointer.item() == 6 * n % 16
        filled = queue.patients > 0
        assert filled.sum() == min(6 * n, 16)
        assert sorted(queue.patients[filled].tolist()) == kept
        torch.testing.assert_close(queue.keys[filled].norm(dim=1), torch.ones(int(filled.sum())))
        told = (queue.keys[filled, 0] / queue.keys[filled, 1]).round().long()
        assert torch.equal(told, queue.patients[filled])
    assert queue.full


def test_of_more_keys_than_places_the_last_stay():
    queue = KeyQueue(4, 2)
    queue.push(torch.arange(12.0).view(6, 2), torch.arange(1, 7))
    assert sorted(queue.patients.tolist()) == [3, 4, 5, 6]
    assert queue.keys[queue.patients == 3].tolist() == [[4.0, 5.0]]


def test_the_queue_is_kept_with_the_weights_and_is_not_trained():
    queue = KeyQueue(4, 2)
    queue.push(torch.ones(3, 2), torch.tensor([1, 2, 3]))
    other = KeyQueue(4, 2)
    other.load_state_dict(queue.state_dict())
    assert other.pointer == 3
    assert torch.equal(other.keys, queue.keys)
    assert list(queue.parameters()) == []
