"""What contract tests of methods that segment share: which they are, and a step of each."""

from math import isfinite

import pytest
import torch

from medssl.data.batch import Batch
from medssl.methods.method import Progress
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.update import make_update
from tests.contract.training import training

METHODS = training("segment")
every_method = pytest.mark.parametrize("name", METHODS)
LATE = Progress(900, 1000)
"""When every term has its weight."""


def first_batches(method, streams) -> dict[str, Batch]:
    return {kind: stream.batch(0) for kind, stream in streams(method).items()}


def losses(method, batches, steps, rate=0.05):
    """The loss of every step on the same batches, late in training: every term has its weight."""
    settings = TrainSettings(
        steps=1000, optimiser=OptimiserSettings(learning_rate=rate, schedule="constant")
    )
    update = make_update(method, settings, 0, torch.device("cpu"))
    return [update(batches, Progress(900 + step, 1000))["loss"] for step in range(1, steps + 1)]


def gradients(method, batches: dict[str, Batch]) -> tuple[list[float], list[torch.Tensor]]:
    """Every part's loss, and what it makes of the weights."""
    method.zero_grad()
    generator, values = torch.Generator().manual_seed(0), []
    for part in range(method.parts):
        loss = sum(method(batches, LATE, generator, part).values())
        loss.backward()
        values.append(float(loss.detach()))
    return values, [p.grad.clone() for p in method.parameters() if p.grad is not None]


def check_that_it_learns_the_same(
    method, batches: dict[str, Batch], one: Batch, other: Batch
) -> None:
    """Either labelled batch gives the same losses, which are finite, and gradients, to the bit."""
    state = {key: value.clone() for key, value in method.state_dict().items()}
    found = []
    for labelled in (one, other):
        method.load_state_dict(state)
        found.append(gradients(method, batches | {"labelled": labelled}))
    (losses, first), (again, second) = found
    assert losses == again
    assert all(isfinite(loss) for loss in losses)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
