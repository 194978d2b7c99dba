"""DMPLS: its numbers in the sheet of partial labels (section 7, example 5), and its properties."""

from dataclasses import replace

import pytest
import torch

from medssl.methods.method import Progress
from medssl.methods.segment.dmpls import mixed
from tests.contract.conftest import build_method, make_streams

PATCH = (16, 16, 16)


def batches_of(method):
    return {kind: stream.batch(0) for kind, stream in make_streams(PATCH, method).items()}


@pytest.mark.parametrize(("share", "label"), [(0.3, 1), (0.9, 0)])
def test_mixtures_of_the_sheet(share, label):
    first, second = (torch.tensor([a, 1 - a]).reshape(1, 2, 1, 1, 1) for a in (0.6, 0.2))
    found = mixed(first, second, share)
    assert int(found.argmax(1)) == label
    tie = mixed(first, second, 0.75).flatten()
    assert float(tie[0]) == pytest.approx(0.5)


def test_equal_decoders_are_taught_their_own_answer_whatever_the_share():
    p = torch.rand(2, 3, 4, 4, 4).softmax(1)
    for share in (0.0, 0.3, 1.0):
        torch.testing.assert_close(mixed(p, p, share), p)


def test_both_decoders_see_one_encoder_and_the_second_with_dropped_channels():
    method = build_method(PATCH, "dmpls", dropout=0.0)
    assert not any("second.encoder" in name for name, _ in method.named_parameters())
    method.settings = method.settings.model_copy(update={"dropout": 0.0})
    inner = {
        name: value for name, value in method.main.state_dict().items() if "encoder" not in name
    }
    method.second.load_state_dict(inner)
    image = torch.randn(2, 1, *PATCH)
    first, second = method._answers(image, torch.Generator().manual_seed(0))
    torch.testing.assert_close(first[0], second[0])
    method.settings = method.settings.model_copy(update={"dropout": 0.5})
    _, dropped = method._answers(image, torch.Generator().manual_seed(0))
    assert not torch.allclose(first[0], dropped[0])


def test_scribbles_are_learnt_by_cross_entropy_and_all_else_by_the_mixture():
    method = build_method(PATCH, "dmpls", weight=0.0)
    batches = batches_of(method)
    known = torch.zeros_like(batches["labelled"].truth, dtype=torch.bool)
    known[:, 8] = True
    batches["labelled"] = replace(batches["labelled"], known=known)
    terms = method(batches, Progress(5, 10), torch.Generator().manual_seed(0))
    assert float(terms["pseudo"].detach()) == 0
    method.settings = method.settings.model_copy(update={"weight": 0.5})
    terms = method(batches, Progress(5, 10), torch.Generator().manual_seed(0))
    assert 0 < float(terms["pseudo"].detach()) < 0.5


def test_the_weight_rises_between_its_shares():
    method = build_method(PATCH, "dmpls", weight=0.1, rampup=(0.2, 0.4))
    found = [method._weight(Progress(step, 10)) for step in (1, 2, 3, 4, 10)]
    assert found == pytest.approx([0, 0, 0.05, 0.1, 0.1])


def test_soft_targets_cost_the_entropy_of_what_is_answered_where_it_is_the_target():
    method = build_method(PATCH, "dmpls", target="soft")
    logits = torch.randn(1, 3, 4, 4, 4)
    p = logits.softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    torch.testing.assert_close(method._pseudo([logits], p), entropy)
