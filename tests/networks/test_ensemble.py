import pytest
import torch
from torch import nn

from medssl.networks.ensemble import Ensemble


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def heads(number: int) -> list[nn.Module]:
    torch.manual_seed(1)
    return [nn.Conv3d(1, 3, 1) for _ in range(number)]


@pytest.mark.parametrize("number", [2, 3])
def test_the_answer_is_the_mean_probability(image, number):
    members = heads(number)
    mean = torch.stack([member(image).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members)(image).softmax(1), mean)


def test_the_answer_is_normalised_log_probability(image):
    logits = Ensemble(heads(2))(image)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, 3, 4, 5))


def test_one_member_answers_with_its_own_logits(image):
    (member,) = heads(1)
    assert torch.equal(Ensemble([member])(image), member(image))


def test_certain_members_that_disagree_stay_finite():
    """Log-probabilities of -1e4 are exponentiated by no one."""
    members = [nn.Conv3d(1, 2, 1) for _ in range(2)]
    for member, sign in zip(members, (1e4, -1e4), strict=True):
        nn.init.zeros_(member.weight)
        member.bias.data = torch.tensor([sign, -sign])
    logits = Ensemble(members)(torch.zeros(1, 1, 1, 1, 1))
    torch.testing.assert_close(logits.softmax(1).flatten(), torch.tensor([0.5, 0.5]))
