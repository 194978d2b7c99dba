"""Losses of regions: the numbers of the sheet of partial labels, and what holds of any.

Legend: B items, R regions, X Y Z voxels.
"""

import pytest
import torch

from medssl.data.batch import Batch
from medssl.data.regions import regions_of
from medssl.methods.method import Task
from medssl.methods.segment.labelled_loss import MonaiLabelledLoss, OnLabels, exclusion_of_regions
from medssl.methods.segment.loss_settings import LossChoice
from medssl.methods.segment.losses import (
    masked_cross_entropy,
    masked_dice,
    over_heads,
    supervised_loss,
)
from medssl.methods.segment.monai_losses import EXCLUSIVE, known
from medssl.networks.outputs import Outputs
from medssl.networks.settings import NetworkSettings

CLASSES = ("background", "necrosis", "oedema", "enhancing")
LABELS = [("necrosis", 1), ("oedema", 2), ("enhancing", 4)]
BRATS = regions_of({"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, LABELS)
OUTPUTS = Outputs(CLASSES, BRATS)
PROBABILITIES = torch.tensor(
    [[0.1, 0.8, 0.9, 0.7], [0.2, 0.3, 0.6, 0.9], [0.05, 0.1, 0.4, 0.8]], dtype=torch.float64
)
TRUTH = torch.tensor([0, 2, 1, 3]).reshape(1, 4, 1, 1)
"""Labels (0, 2, 1, 4) as class indices."""


@pytest.fixture
def logits() -> torch.Tensor:
    return PROBABILITIES.logit().reshape(1, 3, 4, 1, 1)


def task(loss: LossChoice | None = None) -> Task:
    network = NetworkSettings(name="vnet", width=2, levels=3)
    return Task(("T1",), CLASSES, (16, 16, 16), network, loss=loss, regions=BRATS)


def test_numbers_of_the_sheet(logits):
    inside = OUTPUTS.targets(TRUTH)
    everywhere = torch.ones_like(TRUTH)
    assert float(masked_cross_entropy(logits, inside, everywhere)) == pytest.approx(0.23976393)
    dice = [
        float(masked_dice(logits.sigmoid()[:, [r]], inside[:, [r]], everywhere)) for r in range(3)
    ]
    assert dice == pytest.approx([0.03030297, 0.09090882, 0.11724073], abs=1e-8)
    whole = float(supervised_loss(logits, inside))
    assert whole == pytest.approx((0.23976393 + sum(dice) / 3) / 2)


def test_nnunets_dice_of_regions(logits):
    """Sigmoid, no background to leave out, plain denominators, one ratio for the batch."""
    inside = OUTPUTS.targets(TRUTH).double()
    p = PROBABILITIES.reshape(1, 3, 4, 1, 1)
    dims = (0, 2, 3, 4)
    ratio = (2 * (p * inside).sum(dims) + 1e-5) / (p.sum(dims) + inside.sum(dims) + 1e-5)
    expected = 0.5 * (0.23976393 + 1 - float(ratio.mean()))
    found = float(supervised_loss(logits, inside.bool(), dice="pooled"))
    assert found == pytest.approx(expected)


def test_a_masked_region_has_no_gradient_and_leaves_the_others_theirs(logits):
    inside, free = OUTPUTS.targets(TRUTH), torch.ones(1, 3, 4, 1, 1, dtype=torch.bool)
    closed = free.clone()
    closed[:, 1] = False
    grads = []
    for mask in (free, closed):
        given = logits.clone().requires_grad_()
        loss = masked_cross_entropy(given, inside, mask) * mask.sum()
        (found,) = torch.autograd.grad(loss, given)
        grads.append(found)
    assert not grads[1][:, 1].any()
    torch.testing.assert_close(grads[0][:, [0, 2]], grads[1][:, [0, 2]])


def test_no_ignored_voxel_costs_what_is_ordinary(logits):
    inside, everywhere = OUTPUTS.targets(TRUTH), torch.ones_like(TRUTH, dtype=torch.bool)
    ordinary = supervised_loss(logits, inside)
    found = supervised_loss(logits, inside, everywhere)
    torch.testing.assert_close(found, ordinary, rtol=1e-12, atol=0)


def test_ignored_voxels_have_no_gradient_at_all():
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    label = torch.randint(0, 4, (2, 4, 4, 4))
    seen = torch.rand(2, 4, 4, 4) < 0.5
    batch = Batch(torch.zeros(2, 1, 1, 4, 4, 4), label, torch.zeros(2, 1, 3), ("a", "b"), seen)
    OnLabels(supervised_loss, task())([logits], batch).backward()
    assert not logits.grad.movedim(1, -1)[~seen].any()
    assert logits.grad.movedim(1, -1)[seen].any()


def test_heads_of_coarser_grids_learn_the_nearest_voxels_of_each_region():
    label = torch.randint(0, 4, (1, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    inside = OUTPUTS.targets(label)
    heads = [torch.randn(1, 3, 4, 4, 4), torch.randn(1, 3, 2, 2, 2)]
    coarse = OUTPUTS.targets(label[:, 1::2, 1::2, 1::2])
    expected = (supervised_loss(heads[0], inside) + 0.5 * supervised_loss(heads[1], coarse)) / 1.5
    torch.testing.assert_close(over_heads(heads, supervised_loss, inside), expected)


def test_exclusion_looks_at_regions_that_share_no_label_alone():
    regions = regions_of({"left": (1,), "right": (2,), "rest": (4,)}, LABELS)[:2]
    disjoint = Outputs(CLASSES, regions).disjoint
    assert disjoint.tolist() == [[False, True], [True, False]]
    assert not OUTPUTS.disjoint.any()
    p = torch.tensor([0.3, 0.1, 0.8]).reshape(1, 1, 3, 1, 1).repeat(1, 2, 1, 1, 1)
    inside = torch.zeros(1, 2, 3, 1, 1, dtype=torch.bool)
    inside[:, 1, :2] = True
    outlined = torch.tensor([[False, True]])
    found = exclusion_of_regions(p, inside, outlined, disjoint)
    assert float(found) == pytest.approx(0.25)


@pytest.mark.parametrize("name", sorted(set(known()) - EXCLUSIVE))
def test_losses_of_monai_take_regions(name):
    chosen = LossChoice.model_validate(f"monai:{name}")
    loss = MonaiLabelledLoss(chosen, OUTPUTS)
    label = torch.randint(0, 4, (1, 6, 6, 6), generator=torch.Generator().manual_seed(0))
    inside = OUTPUTS.targets(label)
    sure = 20.0 * (2 * inside.float() - 1)
    assert float(loss(sure, inside)) < float(loss(-sure, inside))


def test_monais_dice_of_regions_is_the_mean_over_those_that_are_known():
    chosen = LossChoice.model_validate("monai:DiceLoss")
    loss = MonaiLabelledLoss(chosen, OUTPUTS)
    logits = torch.randn(1, 3, 4, 4, 4, requires_grad=True)
    inside = OUTPUTS.targets(torch.randint(0, 4, (1, 4, 4, 4)))
    whole = torch.ones_like(inside)
    torch.testing.assert_close(loss(logits, inside, whole), loss(logits, inside))
    whole[:, 0] = False
    loss(logits, inside, whole).backward()
    assert not logits.grad[:, 0].any()
    assert logits.grad[:, 1:].any()
