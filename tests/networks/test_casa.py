"""The alignment module: sheet of Alice, section 5 and section 14, no. 9."""

import pytest
import torch
from torch.nn.functional import layer_norm, relu, softmax

from medssl.networks.casa import build_casa


@pytest.fixture
def casa():
    return build_casa(width=16, heads=4, hidden=32, dropout=0.1, seed=0).eval()


def tokens(count, seed):
    return torch.randn(2, count, 16, generator=torch.Generator().manual_seed(seed))


def test_9_permutation_invariant_in_what_is_asked_equivariant_in_what_asks(casa):
    asks, asked = tokens(6, 0), tokens(10, 1)
    found = casa(asks, asked)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(casa(asks, asked[:, order]), found)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(casa(asks[:, order], asked), found[:, order])


def test_it_is_the_sheets_formula(casa):
    asks, asked = tokens(3, 0), tokens(5, 1)
    q, k, v = asks @ casa.query.weight.T, asked @ casa.key.weight.T, asked @ casa.value.weight.T
    heads = []
    for head in range(4):
        part = slice(4 * head, 4 * head + 4)
        share = softmax(q[..., part] @ k[..., part].transpose(1, 2) / 2, dim=2)
        heads.append(share @ v[..., part])
    x = asks + torch.cat(heads, 2) @ casa.output.weight.T
    x = layer_norm(x, (16,), casa.norm.weight, casa.norm.bias, 1e-6)
    first, _, second, _ = casa.feed_forward
    y = x + relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    expected = layer_norm(y, (16,), casa.norm_after.weight, casa.norm_after.bias, 1e-6)
    torch.testing.assert_close(casa(asks, asked), expected)


def test_at_the_papers_size_it_has_the_sheets_parameters():
    paper = build_casa(512, 8, 2048, 0.1, seed=0)
    assert round(sum(p.numel() for p in paper.parameters()) / 1e6, 2) == 3.15
    assert paper.query.bias is None


def test_its_answers_have_unit_variance_per_token(casa):
    found = casa(tokens(6, 0), tokens(10, 1))
    torch.testing.assert_close(found.var(2, correction=0), torch.ones(2, 6), atol=1e-4, rtol=0)


def test_dropout_acts_in_training_alone(casa):
    asks, asked = tokens(6, 0), tokens(10, 1)
    assert torch.equal(casa(asks, asked), casa(asks, asked))
    casa.train()
    assert not torch.equal(casa(asks, asked), casa(asks, asked))


def test_the_average_asks_as_the_module_itself_and_keeps_its_own_keys(casa):
    average = casa.averaged()
    with torch.no_grad():
        for parameter in casa.parameters():
            parameter.mul_(2)
    assert average.query is casa.query
    torch.testing.assert_close(average.key.weight * 2, casa.key.weight)
    names = {name for name, p in average.named_parameters() if p.requires_grad}
    assert names == {"query.weight"}
