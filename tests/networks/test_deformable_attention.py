"""Deformable attention against interpolation by hand, by grid_sample, by loops and against dense.

The numbers are those of the sheet of joint 2D-3D pre-training, section 11, tests 6 and 7.
"""

from math import floor

import pytest
import torch
from torch.nn.functional import grid_sample

from medssl.networks.deformable_attention import DeformableAttention, attend

RAMP = torch.tensor([10.0, 20.0, 30.0, 40.0]).view(1, 4, 1, 1)


def places(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def by_loops(values, position, weight):
    """The definition, one product at a time."""
    items, slices, heads, width = values.shape
    queries, points = position.shape[1], position.shape[3]
    found = torch.zeros(items, queries, heads, width)
    for b in range(items):
        for q in range(queries):
            for m in range(heads):
                for p in range(points):
                    place = float(position[b, q, m, p])
                    low = floor(place)
                    for index, share in ((low, 1 - (place - low)), (low + 1, place - low)):
                        if 0 <= index < slices:
                            found[b, q, m] += weight[b, q, m, p] * share * values[b, index, m]
    return found


def random_case(seed=0, items=2, slices=7, heads=3, points=4, width=5):
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(items, slices, heads, width, generator=g)
    position = torch.rand(items, slices, heads, points, generator=g) * (slices + 3) - 2
    weight = torch.randn(items, slices, heads, points, generator=g).softmax(3)
    return values, position, weight


def test_a_hand_example():
    """Query 1 with offsets +0.5 and -0.25: 0.25 * 25 + 0.75 * 17.5."""
    found = attend(RAMP, places(1.5, 0.75), places(0.25, 0.75))
    assert found.item() == pytest.approx(19.375)


def test_beyond_the_last_slice_there_is_nothing():
    """Query 3 with offset +0.5: half of 40."""
    assert attend(RAMP, places(3.5), places(1.0)).item() == pytest.approx(20)
    assert attend(RAMP, places(4.0), places(1.0)).item() == 0
    assert attend(RAMP, places(-0.5), places(1.0)).item() == pytest.approx(5)
    assert attend(RAMP, places(-7.3), places(1.0)).item() == 0


def test_whole_offsets_take_the_slice_itself():
    values, _, _ = random_case()
    index = torch.randint(7, (2, 7, 3, 1), generator=torch.Generator().manual_seed(1))
    found = attend(values, index.float(), torch.ones(2, 7, 3, 1))
    expected = values.gather(1, index.expand(-1, -1, -1, 5))
    assert torch.equal(found, expected)


def test_it_equals_the_loops():
    case = random_case()
    torch.testing.assert_close(attend(*case), by_loops(*case), atol=1e-5, rtol=1e-5)


def test_it_equals_grid_sample():
    """Location (p + 0.5) / N, grid 2 loc - 1, align_corners false, zeros outside."""
    values, position, weight = random_case()
    flat = values.permute(0, 2, 3, 1).reshape(6, 5, 1, 7)
    place = position.permute(0, 2, 1, 3).reshape(6, 7, 4)
    grid = torch.stack([(2 * place + 1) / 7 - 1, torch.zeros_like(place)], dim=-1)
    sampled = grid_sample(flat, grid, align_corners=False).view(2, 3, 5, 7, 4)
    expected = torch.einsum("bmdqp,bqmp->bqmd", sampled, weight)
    torch.testing.assert_close(attend(values, position, weight), expected, atol=1e-5, rtol=1e-5)


def test_with_a_point_on_every_slice_it_is_ordinary_attention():
    """P = N and offsets n - p: softmax(A) V."""
    values, _, _ = random_case()
    values = values.double()
    position = torch.arange(7.0, dtype=torch.float64).expand(2, 7, 3, 7)
    g = torch.Generator().manual_seed(2)
    weight = torch.randn(2, 7, 3, 7, generator=g, dtype=torch.float64).softmax(3)
    dense = torch.einsum("bqmn,bnmd->bqmd", weight, values)
    torch.testing.assert_close(attend(values, position, weight), dense, atol=1e-7, rtol=1e-7)


def test_gradients_are_those_of_finite_differences():
    values, position, weight = random_case(items=1, slices=3, heads=1, points=2, width=2)
    given = [part.double().requires_grad_() for part in (values, position, weight)]
    assert torch.autograd.gradcheck(attend, given)


def test_offsets_learn_and_a_spike_that_moves_moves_the_best_one():
    """The release's sampler fails here: its places never move."""

    def best(peak: int) -> float:
        values = torch.zeros(1, 9, 1, 1)
        values[0, peak - 1 : peak + 2, 0, 0] = torch.tensor([0.5, 1.0, 0.5])
        offset = torch.zeros(1, 1, 1, 1, requires_grad=True)
        for _ in range(200):
            reached = attend(values, 4 + offset, torch.ones(1, 1, 1, 1)).sum()
            (gradient,) = torch.autograd.grad(reached, offset)
            if reached == values.max():
                break
            offset = (offset + 0.05 * gradient.sign()).detach().requires_grad_()
        return offset.item()

    found = [best(peak) for peak in (4, 5)]
    assert found[1] - found[0] == pytest.approx(1, abs=0.1)
    layer = DeformableAttention(8, 2, 3)
    tokens = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    layer(tokens, torch.ones(1, 6, dtype=torch.bool)).square().sum().backward()
    assert layer.offset.bias.grad.abs().max() > 0


def test_it_begins_with_equal_weights_and_offsets_up_and_down():
    layer = DeformableAttention(8, 2, 3)
    tokens = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    assert layer.offset(tokens)[0, 0].tolist() == [1, 2, 3, -1, -2, -3]
    assert layer.weight(tokens).abs().max() == 0


def test_slices_that_fill_up_are_not_looked_at():
    layer = DeformableAttention(8, 2, 3).eval()
    g = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 5, 8, generator=g)
    longer = torch.cat([tokens, 100 * torch.randn(1, 4, 8, generator=g)], dim=1)
    valid = torch.arange(9)[None] < 5
    torch.testing.assert_close(
        layer(longer, valid)[:, :5], layer(tokens, torch.ones(1, 5, dtype=torch.bool))
    )
