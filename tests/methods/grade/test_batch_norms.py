"""Graders whose norms reach over the batch: no set of images has the statistics of another.

MutexMatch alone passes its sets as one batch, as published; MixMatch mixes all before it passes.
"""

import pytest
import torch
from torch import nn

from medssl.methods.ema import kept_statistics
from medssl.methods.method import Progress
from medssl.train.update import make_update
from tests.contract.test_grade_methods import batches, constant, make
from tests.contract.test_monai_graders import monai

NORMED = "resnet, batch norms"
AVERAGED = {"ict": "teacher", "mixmatch": "average", "mutexmatch": "average"}


def build(name, **given):
    return make(name, network=monai(NORMED, dropout=0.0), **given).train()


@pytest.mark.parametrize("name", ["ict", "pi_model", "semixup", "supervised_mixup"])
def test_answers_to_a_set_do_not_depend_on_other_sets(name):
    method = build(name)
    same, other, another = (
        torch.randn(4, 2, 24, 24, generator=torch.Generator().manual_seed(seed))
        for seed in range(3)
    )
    first = method.answers({"same": same, "other": other})["same"]
    second = method.answers({"same": same, "other": another})["same"]
    assert torch.equal(first, second)
    assert not torch.equal(method.answers({"same": torch.cat([same, other])})["same"][:4], first)


@pytest.mark.parametrize("name", AVERAGED)
def test_the_average_answers_with_statistics_of_its_network(name):
    method = build(name)
    update = make_update(method, constant(20, 1e-2), 0, torch.device("cpu"))
    for step in range(1, 21):
        update(batches(method, step), Progress(step, 20))
    averaged = getattr(method, AVERAGED[name])
    own = dict(method.network.named_buffers())
    for key, one in averaged.named_buffers():
        if key.endswith("running_var"):
            assert not torch.equal(one, torch.ones_like(one)), key
        if name == "mutexmatch":
            assert torch.equal(one, own[key]), key


def test_guesses_of_mixmatch_move_no_statistics():
    method = build("mixmatch")
    before = {key: one.clone() for key, one in method.network.named_buffers()}
    method._guess([torch.randn(4, 2, 24, 24)] * 2)
    after = dict(method.network.named_buffers())
    assert all(torch.equal(one, after[key]) for key, one in before.items())


def test_kept_statistics_are_those_before():
    norm = nn.BatchNorm1d(2)
    with kept_statistics(norm):
        norm(torch.randn(4, 2))
        assert int(norm.num_batches_tracked) == 1
    assert int(norm.num_batches_tracked) == 0
    assert torch.equal(norm.running_mean, torch.zeros(2))
