"""Every method that learns to segment learns regions, too (sheet of partial labels, section 5).

Legend: B items, R regions, X Y Z voxels.
"""

from dataclasses import replace

import pytest
import torch

from medssl.data.regions import regions_of
from medssl.methods.method import Progress
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.update import make_update
from tests.contract.segmenting import (
    check_that_it_learns_the_same,
    every_method,
    first_batches,
    gradients,
)

LABELS = [("ball", 1), ("rim", 2)]
NESTED = regions_of({"whole": (1, 2), "inside": (2,)}, LABELS)
REDUNDANT = regions_of({"whole": (1, 2), "ball": (1,), "rim": (2,)}, LABELS, (1, 1, 2))
"""More regions than labels."""


@every_method
@pytest.mark.parametrize("regions", [NESTED, REDUNDANT], ids=["nested", "redundant"])
def test_every_parameter_gets_a_finite_gradient_and_a_network_answers_by_region(
    name, regions, build, streams
):
    method = build(name, regions=regions).train()
    batches = first_batches(method, streams)
    losses, found = gradients(method, batches)
    assert all(loss == loss and abs(loss) < 1e6 for loss in losses)
    assert all(bool(one.isfinite().all()) for one in found)
    for network in method.networks():
        assert any(bool(p.grad.any()) for p in network.parameters() if p.grad is not None)
    predictor = method.predictor().eval()
    answer = predictor(batches["labelled"].image[:, 0])
    assert answer.shape[1] == len(regions)


@every_method
def test_twenty_steps_lower_the_loss(name, build, streams):
    method = build(name, regions=NESTED)
    batches = first_batches(method, streams)
    settings = TrainSettings(
        steps=1000, optimiser=OptimiserSettings(learning_rate=0.05, schedule="constant")
    )
    update = make_update(method, settings, 0, torch.device("cpu"))
    found = [
        sum(v for k, v in update(batches, Progress(900 + s, 1000)).items() if taught(k))
        for s in range(20)
    ]
    assert found[-1] < found[0]


def taught(term: str) -> bool:
    return any(word in term for word in ("supervised", "labelled", "copy_paste"))


@every_method
def test_a_region_that_a_case_does_not_outline_is_not_held_against_it(name, build, streams):
    """What the mask says of that region matters to no bit."""
    method = build(name, regions=NESTED).train()
    batches = first_batches(method, streams)
    outlined = torch.tensor([[True, False], [True, True]])
    labelled = replace(batches["labelled"], outlined=outlined)
    lying = labelled.truth.clone()
    lying[0][lying[0] == 2] = 1  # still in the whole
    check_that_it_learns_the_same(method, batches, labelled, replace(labelled, label=lying))


@every_method
def test_what_the_mask_says_where_it_is_ignored_does_not_matter(name, build, streams):
    method = build(name, regions=NESTED).train()
    batches = first_batches(method, streams)
    truth = batches["labelled"].truth
    known = torch.ones_like(truth, dtype=torch.bool)
    known[:, ::2] = False
    one, other = (
        replace(batches["labelled"], label=truth.where(known, wrong), known=known)
        for wrong in (0, 2)
    )
    check_that_it_learns_the_same(method, batches, one, other)
