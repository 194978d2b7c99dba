from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medssl.methods.registry import settings_class
from medssl.methods.segment.losses import (
    at_least_float32,
    dice_loss,
    masked_cross_entropy,
    masked_dice,
    over_heads,
    region_loss,
    supervised_loss,
)
from medssl.methods.settings import Dice


def column(values: list[float]) -> Tensor:
    """[1, 1, n, 1, 1] in double precision."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1, 1, 1)


FOREGROUND = column([0.9, 0.2, 0.6, 0.1])
PROBABILITY = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1)
LABEL = torch.tensor([1, 0, 1, 0], dtype=torch.uint8).reshape(1, 4, 1, 1)


def test_cross_entropy_and_dice_by_hand():
    """Sheet of TraCoCo, 13.1."""
    assert cross_entropy(PROBABILITY.log(), LABEL.long()).item() == pytest.approx(
        0.236172552, abs=5e-10
    )
    assert dice_loss(PROBABILITY, LABEL).item() == pytest.approx(0.068322769, abs=5e-10)
    assert supervised_loss(PROBABILITY.log(), LABEL).item() == pytest.approx(0.152247660, abs=5e-10)


def test_items_are_pooled_into_one_ratio():
    """An item without foreground costs what its false positives add, not a Dice of its own."""
    empty = torch.tensor([[[[0, 0]]]], dtype=torch.uint8).reshape(1, 2, 1, 1)
    full = torch.ones_like(empty)
    p = torch.full((2, 2, 2, 1, 1), 0.5, dtype=torch.float64)
    found = dice_loss(p, torch.cat([empty, full])).item()
    assert found == pytest.approx(1 - (2 * 1 + 1e-5) / (4 * 0.25 + 2 + 1e-5), rel=1e-12)


def test_more_than_two_classes_are_averaged_with_background():
    label = torch.tensor([0, 1, 2, 2], dtype=torch.uint8).reshape(1, 4, 1, 1)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).reshape(1, 3, 1, 1, 1)
    p = p.expand(1, 3, 4, 1, 1)
    ratios = [
        (2 * q * n + 1e-5) / (4 * q * q + n + 1e-5) for q, n in ((0.5, 1), (0.3, 1), (0.2, 2))
    ]
    assert dice_loss(p, label).item() == pytest.approx(1 - sum(ratios) / 3, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_perfect_prediction_costs_nothing(classes):
    label = torch.arange(8).reshape(1, 2, 2, 2) % classes
    logits = torch.nn.functional.one_hot(label, classes).movedim(-1, 1).double() * 100
    assert supervised_loss(logits, label).item() == pytest.approx(0, abs=1e-12)


def test_no_foreground_at_all_stays_finite():
    logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
    loss = supervised_loss(logits, torch.zeros(1, 2, 2, 2, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_lifted_and_double_is_kept(dtype):
    assert at_least_float32(torch.zeros(1, dtype=dtype)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    assert supervised_loss(PROBABILITY.log().to(dtype), LABEL).dtype == torch.float32


def test_helping_heads_count_half_as_much_each_as_the_one_before() -> None:
    generator = torch.Generator().manual_seed(0)
    full, same = (torch.randn(2, 3, 4, 4, 4, generator=generator) for _ in range(2))
    half = torch.randn(2, 3, 2, 2, 2, generator=generator)
    label = torch.randint(3, (2, 4, 4, 4), generator=generator, dtype=torch.uint8)
    first, second, third = (
        supervised_loss(full, label),
        supervised_loss(same, label),
        supervised_loss(half, label[:, 1::2, 1::2, 1::2]),
    )
    together = over_heads([full, same, half], supervised_loss, label)
    torch.testing.assert_close(together, (first + second / 2 + third / 4) / 1.75)
    assert torch.equal(over_heads([full], supervised_loss, label), first)


OUTSIDE = torch.tensor([1, 1, 0, 0]).reshape(1, 4, 1, 1)
LOGITS = torch.tensor([[0, 1, -1, 0.5], [1, 0, 1, 0.5]], dtype=torch.float64).reshape(1, 2, 4, 1, 1)
MIXED = torch.tensor([1, 0, 1, 0]).reshape(1, 4, 1, 1)
AS_BCP = {"pooled": False, "squared": False}


def test_losses_over_a_region_by_hand() -> None:
    """Sheet of BCP, section 8: two voxels outside the box, two inside."""
    p = LOGITS.softmax(1)
    dice = [masked_dice(p, MIXED, one, **AS_BCP).item() for one in (OUTSIDE, 1 - OUTSIDE)]
    assert dice == pytest.approx([0.26894008, 0.32124546], abs=5e-9)
    entropy = [masked_cross_entropy(LOGITS, MIXED, one).item() for one in (OUTSIDE, 1 - OUTSIDE)]
    assert entropy == pytest.approx([0.31326169, 0.41003760], abs=5e-9)
    whole = region_loss(LOGITS, MIXED, torch.ones_like(MIXED), **AS_BCP).item()
    assert whole == pytest.approx(0.32678298, abs=5e-9)


def test_an_empty_region_costs_nothing_and_teaches_nothing() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = region_loss(logits, MIXED, torch.zeros_like(MIXED))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_what_is_outside_a_region_does_not_matter() -> None:
    other = LOGITS.clone()
    other[:, :, 2:] = 7 * torch.randn(2, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    found = [region_loss(one, MIXED, OUTSIDE) for one in (LOGITS, other)]
    assert torch.equal(*found)


def test_items_are_pooled_or_averaged() -> None:
    label = torch.tensor([[0, 0], [1, 0]]).reshape(2, 2, 1, 1)
    p = torch.full((2, 2, 2, 1, 1), 0.5, dtype=torch.float64)
    everywhere = torch.ones_like(label)
    pooled = masked_dice(p, label, everywhere, pooled=True, squared=False, smooth=0)
    # Background: 2 x 1.5 / (2 + 3); foreground: 2 x 0.5 / (2 + 1).
    assert pooled.item() == pytest.approx(1 - (3 / 5 + 1 / 3) / 2)
    apart = masked_dice(p, label, everywhere, pooled=False, squared=False, smooth=0)
    # First item: 2 / 3 and 0; second: 1 / 2 and 1 / 2.
    assert apart.item() == pytest.approx(1 - (2 / 3 + 0 + 1 / 2 + 1 / 2) / 4)


def test_the_dice_of_nnunet_by_hand() -> None:
    """Sheet of planning, 6.5: three classes of equal chance, one voxel of class 1 in one item."""
    label = torch.zeros(2, 2, 2, 1, dtype=torch.uint8)
    label[0, 0, 0, 0] = 1
    logits = torch.zeros(2, 3, 2, 2, 1, dtype=torch.float64)

    def of_nnunet(loss: Tensor) -> float:
        """Whose loss is the cross-entropy minus Dice."""
        return 2 * loss.item() - 1

    pooled = supervised_loss(logits, label, dice="pooled")
    assert of_nnunet(pooled) == pytest.approx(1.007700, abs=5e-7)
    per_item = supervised_loss(logits, label, dice="per_item")
    assert of_nnunet(per_item) == pytest.approx(1.027177, abs=5e-7)
    seen = torch.tensor([1, 0]).reshape(2, 1, 1, 1).expand_as(label)
    ignoring = region_loss(logits, label, seen, squared=False, background=False)
    assert of_nnunet(ignoring) == pytest.approx(0.955750, abs=5e-7)


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "cps", "tracoco"])
def test_every_method_that_learns_labels_so_takes_it_and_keeps_the_hash_of_before(
    name: str,
) -> None:
    kind = settings_class(name)
    assert "dice" not in kind().model_dump()
    assert kind(dice="pooled").model_dump()["dice"] == "pooled"


def scribbled() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of three classes at four voxels, labels, and which are known (sheet of partial
    labels, section 7.1)."""
    logits = torch.tensor(
        [[2, 0, -1], [0, 1, 0.5], [-1, 1, 0], [1, 1, 3]], dtype=torch.float64
    ).T.reshape(1, 3, 4, 1, 1)
    label = torch.tensor([0, 1, 0, 0], dtype=torch.uint8).reshape(1, 4, 1, 1)
    known = torch.tensor([True, True, False, False]).reshape(1, 4, 1, 1)
    return logits.requires_grad_(), label, known


def test_ignored_voxels_cost_nothing_and_get_a_gradient_of_exactly_zero() -> None:
    logits, label, known = scribbled()
    loss = masked_cross_entropy(logits, label, known)
    assert loss.item() == pytest.approx(0.42505785, abs=5e-9)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, :, 0, 0, 0].tolist() == pytest.approx([-0.0781, 0.0571, 0.0210], abs=5e-5)
    whole = supervised_loss(logits, label, known=known)
    (gradient,) = torch.autograd.grad(whole, logits)
    assert bool((gradient[:, :, 2:] == 0).all())
    assert bool(gradient[:, :, :2].all())


@pytest.mark.parametrize("dice", get_args(Dice))
def test_what_is_said_of_ignored_voxels_changes_no_bit(dice: Dice) -> None:
    logits, label, known = scribbled()
    other, lie = logits.detach().clone(), label.clone()
    other[:, :, 2:] += 3
    lie[:, 2:] = 2
    found = supervised_loss(logits, label, dice=dice, known=known)
    assert torch.equal(found, supervised_loss(other, lie, dice=dice, known=known))


def test_a_class_without_a_known_voxel_costs_no_dice() -> None:
    logits, label, known = scribbled()
    p, dice = logits.detach().softmax(1), [0.0338, 0.2021, 0.9999]
    found = float(masked_dice(p, label, known, absent=False))
    assert found == pytest.approx(sum(dice[:2]) / 2, abs=5e-5)
    assert float(masked_dice(p, label, known)) == pytest.approx(sum(dice) / 3, abs=5e-5)


@pytest.mark.parametrize("dice", get_args(Dice))
def test_a_batch_without_a_known_voxel_costs_nothing(dice: Dice) -> None:
    logits, label, known = scribbled()
    loss = supervised_loss(logits, label, dice=dice, known=known & False)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0
    assert not gradient.any()
