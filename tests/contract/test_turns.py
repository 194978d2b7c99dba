"""Methods learn the same where networks pass a batch in turns, or compute blocks once more."""

from functools import partial

import pytest
import torch

from medssl.settings import OptimiserSettings, TrainSettings
from tests.contract import test_grade_methods as grade
from tests.contract import test_others_in_two_processes as others
from tests.contract import test_pretrain_methods as pretrain
from tests.contract.conftest import build_method, make_streams
from tests.contract.test_segment_in_two_processes import BATCH_NORM, LATE, OTHERS, PATCH
from tests.contract.two_processes import must_agree, stepped

SEGMENT = {name: (how, how[0] != "dmpls") for name, how in (LATE | OTHERS).items()}
SEGMENT |= {name: (how, False) for name, how in BATCH_NORM.items()}
"""Whether turns are equal too: with batch norms they are not, and dmpls refuses them."""
REST = {
    name: case
    for name, case in others.CASES.items()
    if name.partition(",")[0] in {*grade.METHODS, *pretrain.METHODS, "dino", "joint2d3d"}
    and not (isinstance(case, partial) and "preset" in case.keywords)
}
ROUNDS = {"anatomical_embedding", *(name for name in REST if name.startswith("joint2d3d"))}
"""Their networks have batch norms, whose statistics are of a turn."""


def segment(how, **changed):
    name, keys, first, steps = how
    settings = TrainSettings(
        steps=steps,
        patch=PATCH,
        optimiser=OptimiserSettings(learning_rate=0.01, schedule="constant"),
        device="cpu",
        **changed,
    )
    method = build_method(PATCH, name, **keys)
    return stepped(method, make_streams(PATCH, method), settings, first, 2)


def rest(case, monkeypatch, **changed):
    loop = others.LOOP.model_copy(update=changed)
    monkeypatch.setattr(others, "LOOP", loop)
    return case()


@pytest.mark.parametrize("name", SEGMENT)
def test_a_method_that_segments_learns_the_same(name):
    how, equal = SEGMENT[name]
    plain = segment(how)
    less = segment(how, checkpointing=True, **({"accumulate": 3} if equal else {}))
    must_agree([less, less], plain)


@pytest.mark.parametrize("name", REST)
def test_other_methods_learn_the_same(name, monkeypatch):
    plain = rest(REST[name], monkeypatch)
    turns = {} if name in ROUNDS else {"accumulate": 3}
    less = rest(REST[name], monkeypatch, checkpointing=True, **turns)
    must_agree([less, less], plain)


def test_turns_hold_less(monkeypatch):
    """Bytes that are kept for the gradient of one step, at most."""
    held = {}
    for turns in (1, 2):
        for again in (False, True):
            kept = Kept()
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
                segment(("supervised", {}, 1, 10), accumulate=turns, checkpointing=again)
            held[turns, again] = kept.most
    assert held[1, True] < 0.6 * held[1, False]
    assert held[2, False] < 0.7 * held[1, False]
    assert held[2, True] <= held[2, False]


class Kept:
    """What autograd keeps at a time; a turn's passes are let go of before the next one's come."""

    def __init__(self):
        self.now = self.most = 0
        self.alive = {}

    def pack(self, tensor):
        box = _Box(tensor, self)
        self.now += box.size
        self.most = max(self.most, self.now)
        return box

    def unpack(self, box):
        return box.tensor


class _Box:
    def __init__(self, tensor, kept):
        self.tensor, self.kept = tensor, kept
        self.size = tensor.numel() * tensor.element_size()

    def __del__(self):
        self.kept.now -= self.size
