"""Networks are compiled where that can be done, and run as they are where it cannot."""

import pytest
import torch
from torch import nn

from medssl.networks.dropout import Dropout
from medssl.networks.grader import SiameseEncoder
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.heads import ManyHeads, heads_of
from medssl.train import compiled
from medssl.train.compiled import compile_networks

CPU = torch.device("cpu")


class One(nn.Module):
    """A network; torch passes over those that are nothing but its own modules."""

    def __init__(self, outputs):
        super().__init__()
        self.linear = nn.Linear(4, outputs)

    def forward(self, values):
        return self.linear(values).tanh()


class Two(nn.Module):
    """A method of two networks, in a list and beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.pair = nn.ModuleList([One(4)])
        self.other = One(2)

    def forward(self, values):
        return self.other(self.pair[0](values))


def gradients(method):
    method.zero_grad()
    values = torch.linspace(-1, 1, 12).view(3, 4)
    answer = method(values)
    answer.square().sum().backward()
    return [answer.detach(), *(one.grad for one in method.parameters())]


@pytest.fixture(autouse=True)
def forget():
    yield
    torch._dynamo.reset()


def test_without_a_compiler_networks_run_as_they_are_and_that_is_said_once(monkeypatch):
    def missing(*_, **__):
        raise RuntimeError("No working C++ compiler found\nin any of these places")

    monkeypatch.setattr(torch, "compile", missing)
    method, told = Two(), []
    plain = gradients(method)
    compile_networks(method, CPU, told.append)
    reason = "RuntimeError: No working C++ compiler found"
    assert told == [f"train.compile is left out: {reason}"]
    assert all(map(torch.equal, gradients(method), plain))


def test_what_does_not_go_together_is_said():
    method, told = Two(), []
    compile_networks(method, CPU, told.append, plain=False)
    assert len(told) == 1
    assert "train.accumulate" in told[0]
    assert method.other._compiled_call_impl is None


def test_a_network_that_fails_to_compile_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(compiled, "_why_not", lambda device: "")

    def failing(self, *_, **__):
        def call(*_):
            raise torch._dynamo.exc.Unsupported("this cannot be traced")

        self._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", failing)
    method, told = Two(), []
    plain = gradients(method)
    compile_networks(method, CPU, told.append)
    for _ in range(2):
        assert all(map(torch.equal, gradients(method), plain))
    assert len(told) == 2
    assert all("runs as it is" in one and "this cannot be traced" in one for one in told)


def test_compiled_networks_answer_alike():
    method, told = Two(), []
    plain = gradients(method)
    compile_networks(method, CPU, told.append)
    if told:
        pytest.skip(told[0])
    keys = list(method.state_dict())
    found = gradients(method)
    assert told == []
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 3, "the probe and both"
    assert list(method.state_dict()) == keys


def test_dropout_is_the_same_compiled_in_batches_of_every_size():
    """The mask is a view of random words, whose type torch lost where sizes changed."""

    class Dropping(One):
        def forward(self, values):
            return Dropout(0.5)(super().forward(values))

    method, told = nn.Module(), []
    method.network = Dropping(3)

    def answers():
        torch.manual_seed(0)
        return [method.network(torch.ones(rows, 4)) for rows in (2, 8, 5)]

    plain = answers()
    compile_networks(method, CPU, told.append)
    if told:
        pytest.skip(told[0])
    torch.testing.assert_close(answers(), plain, rtol=1e-5, atol=1e-6)


def test_the_pooling_of_radiographs_has_a_gradient_compiled_in_half_precision():
    """Where torch computes a map anew, no value equals the largest one, which was rounded."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.encoder = SiameseEncoder(GraderSettings(width=1))

        def forward(self, maps):
            return self.encoder.pool(maps)

    method, told = nn.Module(), []
    method.network = Pooled()
    maps = torch.randn(6, 8, 5, 5)

    def gradient():
        method.network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            answer = method.network(maps)
        answer.float().square().sum().backward()
        return method.network.encoder.between[0].weight.grad

    plain = gradient()
    compile_networks(method, CPU, told.append)
    if told:
        pytest.skip(told[0])
    apart = (gradient() - plain).norm() / plain.norm()
    assert apart < 0.3, "values that half precision makes equal may change places"


def test_a_network_with_several_heads_is_compiled_where_methods_ask_for_them():
    method, told = nn.Module(), []
    method.network = ManyHeads(One(3))
    image = torch.ones(2, 4)
    plain = heads_of(method.network, image)
    compile_networks(method, CPU, told.append)
    if told:
        pytest.skip(told[0])
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch.testing.assert_close(heads_of(method.network, image), plain, rtol=1e-5, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before


def test_without_a_gpu_nothing_is_captured_which_is_said():
    method, told = Two(), []
    plain = gradients(method)
    compile_networks(method, CPU, told.append, graphs=True)
    if "left out" in told[0]:
        pytest.skip(told[0])
    assert told == ["networks are compiled and not captured: CUDA graphs need a GPU of NVIDIA"]
    for one, other in zip(gradients(method), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_on_a_gpu_graphs_are_asked_for_and_answers_outlive_the_next_pass(monkeypatch):
    """Of a compiler that answers with one and the same tensor, as graphs do."""
    modes, memory = [], torch.zeros(1)

    def capture(self, mode):
        modes.append(mode)
        self._compiled_call_impl = lambda value: [memory.copy_(value)]

    monkeypatch.setattr(compiled, "_why_not", lambda device: "")
    monkeypatch.setattr(nn.Module, "compile", capture)
    method = Two()
    compile_networks(method, torch.device("cuda"), pytest.fail, graphs=True)
    assert modes == ["reduce-overhead"] * 2
    network = method.other
    (first,), (second,) = network(torch.tensor([1.0])), network(torch.tensor([2.0]))
    assert (float(first), float(second)) == (1.0, 2.0)
