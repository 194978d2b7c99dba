"""Masks that are known in part, with every method that learns to segment (sheet of partial labels).

Legend: B items, X Y Z voxels.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medssl.data.batch import Batch
from medssl.methods.segment.loss_settings import LossChoice
from medssl.methods.segment.partial import streams as streams_of
from medssl.methods.segment.partial import teachable
from tests.contract.segmenting import (
    LATE,
    METHODS,
    check_that_it_learns_the_same,
    every_method,
    first_batches,
    gradients,
)


def partly(batch: Batch) -> Batch:
    """Every second row of voxels known."""
    known = torch.ones_like(batch.truth, dtype=torch.bool)
    known[:, ::2] = False
    return replace(batch, label=batch.truth * known, known=known)


@every_method
def test_what_the_mask_says_where_it_is_ignored_does_not_matter(name, build, streams):
    """Not even to the last bit, of loss and gradients."""
    method = build(name).train()
    batches = first_batches(method, streams)
    one = partly(batches["labelled"])
    other = replace(one, label=one.truth.where(one.known, 2))
    check_that_it_learns_the_same(method, batches, one, other)


@every_method
def test_a_mask_known_everywhere_teaches_as_one_that_is_not_partial(name, build, streams):
    """To rounding, without what the method learns from unlabelled patches."""
    method = build(name).train()
    batches = first_batches(method, streams)
    whole = torch.ones_like(batches["labelled"].truth, dtype=torch.bool)
    marked = batches | {"labelled": replace(batches["labelled"], known=whole)}
    found = []
    for given in (batches, marked):
        terms = method(given, LATE, torch.Generator().manual_seed(0), 0)
        found.append(
            {key: float(one.detach()) for key, one in terms.items() if "supervised" in key}
        )
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@every_method
def test_a_batch_whose_masks_say_nothing_has_a_finite_loss(name, build, streams):
    method = build(name).train()
    batches = first_batches(method, streams)
    nothing = torch.zeros_like(batches["labelled"].truth)
    batches["labelled"] = replace(batches["labelled"], label=nothing, known=nothing.bool())
    losses, found = gradients(method, batches)
    assert all(np.isfinite(loss) for loss in losses)
    assert all(bool(one.isfinite().all()) for one in found)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "bcp"])
def test_known_slices_may_lend_their_labels(name, build, streams):
    """Then labels cost something else, and the ignored voxels still say nothing."""
    loss = LossChoice.model_validate({"slices": {"axes": "x", "falling": False}})
    found = []
    for method in (build(name, loss=loss).train(), build(name).train()):
        batches = first_batches(method, streams)
        one = partly(batches["labelled"])
        lying = one.truth.clone()
        lying[~one.known] = 2
        state = {key: value.clone() for key, value in method.state_dict().items()}
        losses, _ = gradients(method, batches | {"labelled": one})
        method.load_state_dict(state)
        again, _ = gradients(method, batches | {"labelled": replace(one, label=lying)})
        assert losses == again
        found.append(losses)
    assert found[0] != found[1]


def test_ignored_voxels_are_among_the_unlabelled_ones_and_known_ones_are_not(build, streams):
    method = build("mean_teacher")
    batches = first_batches(method, streams)
    batches["labelled"] = partly(batches["labelled"])
    labelled, unlabelled = streams_of(batches)
    rows = len(batches["unlabelled"].ids)
    assert unlabelled.ids == (*batches["unlabelled"].ids, *labelled.ids)
    open_to = teachable(unlabelled)
    assert open_to[:rows].all()
    assert torch.equal(open_to[rows:], ~labelled.known)
    assert torch.equal(unlabelled.image[rows:], labelled.image)


def test_whole_masks_leave_the_streams_as_they_are(build, streams):
    batches = first_batches(build("mean_teacher"), streams)
    labelled, unlabelled = streams_of(batches)
    assert labelled is batches["labelled"]
    assert unlabelled is batches["unlabelled"]
    assert teachable(unlabelled).all()


@every_method
def test_a_class_that_a_case_does_not_outline_is_not_held_against_it(name, build, streams):
    """What the mask says of that class matters to no bit, nor does a method fail."""
    method = build(name).train()
    batches = first_batches(method, streams)
    outlined = torch.tensor([[True, True, False], [True, True, True]])
    labelled = replace(batches["labelled"], outlined=outlined)
    lying = labelled.truth.clone()
    lying[0][lying[0] == 2] = 0
    check_that_it_learns_the_same(method, batches, labelled, replace(labelled, label=lying))
