"""Labels of known slices, lent to others: DeSCO's numbers and what holds of any.

Legend: B items, X Y Z voxels.
"""

import pytest
import torch

from medssl.data.batch import Batch
from medssl.methods.method import Progress, Task
from medssl.methods.segment.labelled_loss import OnLabels
from medssl.methods.segment.loss_settings import LossChoice, Slices
from medssl.methods.segment.losses import masked_cross_entropy, masked_dice, supervised_loss
from medssl.methods.segment.propagation import nearest_known, propagated, share_kept
from medssl.networks.settings import NetworkSettings


def test_weighted_losses_are_the_sheets():
    """Section 7, example 5: p of the true class (.9, .6, .3), weights 1, .95, .9025."""
    p = torch.tensor([0.9, 0.6, 0.3], dtype=torch.float64)
    weight = torch.tensor([1, 0.95, 0.9025], dtype=torch.float64).reshape(1, 3, 1, 1)
    logits = torch.stack([1 - p, p]).log().reshape(1, 2, 3, 1, 1)
    ones = torch.ones(1, 3, 1, 1, dtype=torch.long)
    assert float(masked_cross_entropy(logits, ones, weight)) == pytest.approx(0.58798609)
    truth = torch.tensor([1, 1, 0]).reshape(1, 3, 1, 1)
    found = masked_dice(logits.softmax(1), truth, weight, background=False)
    assert float(found) == pytest.approx(0.07640812, abs=1e-6)


def test_the_weight_falls_as_in_desco():
    found = [share_kept(Slices(axes="z"), Progress(1000 * n + 1, 6000)) for n in range(6)]
    assert found == pytest.approx([0.95, 0.9455, 0.7612, 0.5, 0.2730, 0.0737], abs=5e-5)
    kept = Slices(axes="z", falling=False, weight=0.8)
    assert share_kept(kept, Progress(6000, 6000)) == 0.8


def test_a_slice_is_lent_to_both_sides_by_distance():
    label = torch.tensor([0, 0, 7, 0, 0, 0, 5, 0]).reshape(1, 1, 1, 8)
    known = label > 0
    found, distance = nearest_known(label, known, "z")
    assert found.flatten().tolist() == [7, 7, 7, 7, 7, 5, 5, 5]
    assert distance.flatten().tolist() == [2, 1, 0, 1, 2, 1, 0, 1]


def test_of_two_directions_the_nearer_slice_counts():
    label = torch.zeros(1, 5, 1, 5, dtype=torch.long)
    label[0, 0], label[0, :, :, 4] = 1, 2
    known = label > 0
    found, distance = nearest_known(label, known, "xz")
    assert int(found[0, 1, 0, 1]) == 1
    assert int(found[0, 4, 0, 3]) == 2
    assert float(distance[0, 4, 0, 3]) == 1


def test_where_nothing_is_known_along_the_axis_there_is_no_weight():
    label = torch.zeros(1, 2, 1, 3, dtype=torch.long)
    known = torch.zeros_like(label, dtype=torch.bool)
    known[0, 0, 0, 0] = True
    _, weight = propagated(label, known, Slices(axes="z", reach=1), Progress(1, 100))
    torch.testing.assert_close(weight[0, :, 0], torch.tensor([[1, 0.95, 0], [0, 0, 0]]))


def on_labels(**keys) -> OnLabels:
    network = NetworkSettings(name="vnet", width=2, levels=3)
    loss = LossChoice.model_validate(keys)
    return OnLabels(supervised_loss, Task(("T1",), ("b", "x"), (8, 8, 8), network, loss=loss))


def test_lent_labels_teach_with_their_weight_and_what_none_reaches_does_not():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 4, 4, 8, generator=generator, requires_grad=True)
    label = torch.randint(0, 2, (1, 4, 4, 8), generator=generator)
    known = torch.zeros_like(label, dtype=torch.bool)
    known[..., 2] = True
    batch = Batch(torch.zeros(1, 1, 1, 4, 4, 8), label * known, torch.zeros(1, 1, 3), ("a",), known)
    lent = on_labels(slices={"axes": "z", "reach": 2, "falling": False})
    lent([logits], batch, Progress(1, 10)).backward()
    reached = logits.grad.abs().sum((0, 1, 2, 3)) > 0
    assert reached.tolist() == [True] * 5 + [False] * 3
    logits.grad = None
    on_labels()([logits], batch, Progress(1, 10)).backward()
    assert (logits.grad.abs().sum((0, 1, 2, 3)) > 0).tolist() == [False, False, True] + [False] * 5


def test_a_class_that_a_whole_mask_lacks_costs_its_dice_and_one_of_a_partial_mask_does_not():
    """A fact of the item whose mask is whole; nobody knows of the other."""
    logits = torch.randn(2, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    known = torch.ones_like(nothing, dtype=torch.bool)
    known[1, 0] = False
    whole = Batch(torch.zeros(2, 1, 1, 4, 4, 4), nothing, torch.zeros(2, 1, 3), ("a", "b"), known)
    partial = Batch(whole.image[1:], nothing[1:], whole.start[1:], ("b",), known[1:])
    loss = on_labels()
    both = float(loss([logits], whole))
    alone = float(loss([logits[1:]], partial))
    entropy = float(masked_cross_entropy(logits[1:], nothing[1:], known[1:]))
    background = float(masked_dice(logits[1:].softmax(1), nothing[1:], known[1:], background=True))
    assert alone == pytest.approx(entropy / 2)
    assert both > float(masked_cross_entropy(logits, nothing, known)) / 2
    assert background > 0


def test_losses_without_weights_are_refused():
    with pytest.raises(ValueError, match="weighs no voxels"):
        LossChoice.model_validate({"name": "monai:DiceLoss", "slices": {"axes": "z"}})
