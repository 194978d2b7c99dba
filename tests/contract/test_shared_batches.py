"""Which batches processes learn from: each case once in an epoch, and the same after a resume."""

from functools import partial

import numpy as np
import pytest
import torch

from medssl.data.bags.bag import Bag, BagStream
from medssl.data.patches import SinglePatch
from medssl.data.stream import PatchStream
from medssl.train.distributed import TEAM
from medssl.train.division import OwnPart, own_part
from medssl.transforms.chain import Augment
from tests.contract import test_grade_methods as grade
from tests.contract import test_pretrain_methods as pretrain
from tests.contract import test_slide_methods as slide
from tests.contract.conftest import build_method, make_streams, toy_case
from tests.contract.killing import constant, trained
from tests.contract.training import training
from tests.contract.two_processes import CPU, both

PATCH = (16, 16, 16)
STEPS = 4


def epoch_of_patches():
    """Cases of this process in two epochs of 8 cases, 4 in a batch."""
    cases = [toy_case(number) for number in range(8)]
    stream = PatchStream("labelled", cases, SinglePatch(PATCH), Augment.of({"basic": {}}), 4, 1)
    with TEAM.joined(CPU):
        shared = own_part(stream, TEAM)
        assert isinstance(shared, OwnPart) or TEAM.size == 1
        return {"ids": [list(shared.batch(number).ids) for number in range(4)]}


def epoch_of_bags():
    """Bags of this process in two epochs of 7 bags, 3 in a step."""
    rng = np.random.default_rng(0)
    bags = [
        Bag(f"b{number}", f"p{number}", number % 2, rng.normal(size=(4, 3)).astype(np.float32))
        for number in range(7)
    ]
    with TEAM.joined(CPU):
        shared = own_part(BagStream(bags, 1, 3), TEAM)
        return {"ids": [list(shared.batch(number).ids) for number in range(6)]}


@pytest.mark.parametrize(("epoch", "steps"), [(epoch_of_patches, 2), (epoch_of_bags, 3)])
def test_no_case_comes_twice_in_an_epoch_whoever_takes_it(epoch, steps, tmp_path):
    alone, parts = epoch()["ids"], both({"epoch": epoch}, tmp_path)["epoch"]
    assert all("failed" not in part for part in parts), parts
    for first in (0, steps):
        taken = [
            name for part in parts for ids in part["ids"][first : first + steps] for name in ids
        ]
        wanted = [name for ids in alone[first : first + steps] for name in ids]
        assert len(taken) == len(set(taken))
        assert set(taken) == set(wanted)
    for number, whole in enumerate(alone):
        assert sorted(name for part in parts for name in part["ids"][number]) == sorted(whole)


class Noting:
    """A stream that keeps which batches were asked of it."""

    def __init__(self, stream):
        self._stream, self.numbers = stream, set()
        self.size = stream.size

    def batch(self, number):
        self.numbers.add(number)
        return self._stream.batch(number)

    def part_of(self, number, part):
        self.numbers.add(number)
        return self._stream.part_of(number, part)


def train(state, kill_after=0):
    """Weights of `tracoco` up to a kill, or from it to the end, and the batches it took."""
    method = build_method(PATCH, "tracoco")
    streams = {kind: Noting(one) for kind, one in make_streams(PATCH, method).items()}
    weights = trained(method, streams, constant(STEPS, name="sgd"), state, kill_after)
    return {
        "weights": weights,
        "numbers": {kind: sorted(one.numbers) for kind, one in streams.items()},
    }


@pytest.mark.parametrize("first", [1, 2])
def test_another_number_of_processes_goes_on_with_the_same_batches(first, tmp_path):
    whole = train(tmp_path / "whole.pt")
    state = tmp_path / "state.pt"
    # Killed after step 3, with the state of step 2; the other number of processes goes on.
    if first == 1:
        train(state, 3)
        found = both({"rest": partial(train, state)}, tmp_path)["rest"]
    else:
        both({"begin": partial(train, state, 3)}, tmp_path)
        found = [train(state)]
    for one in found:
        assert "failed" not in one, one
        for kind, numbers in one["numbers"].items():
            assert numbers == [number for number in whole["numbers"][kind] if number >= 2]
        for key, value in whole["weights"].items():
            torch.testing.assert_close(one["weights"][key], value, rtol=1e-5, atol=1e-5)


def segmenting():
    return {name: partial(build_method, PATCH, name) for name in training("segment")}


def others():
    made = {grade: grade.METHODS, pretrain: pretrain.METHODS, slide: slide.METHODS}
    return {name: partial(of.make, name) for of, names in made.items() for name in names}


BUILT = segmenting() | others()


@pytest.mark.parametrize("name", BUILT)
def test_nothing_that_a_method_keeps_escapes_the_comparison_of_processes(name):
    """Queues, prototypes and teachers are weights or buffers, which must be equal in all."""
    for module in BUILT[name]().modules():
        assert not [key for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
