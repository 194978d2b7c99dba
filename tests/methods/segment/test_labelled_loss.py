"""Losses by name, in place of a method's own."""

import pytest
import torch
from monai.losses import DiceFocalLoss, TverskyLoss
from torch.nn.functional import cross_entropy

from medssl.errors import UsageError
from medssl.methods.segment.labelled_loss import MonaiLabelledLoss
from medssl.methods.segment.loss_settings import LossChoice
from medssl.methods.segment.monai_losses import LIST, OF_SHAPES, as_text, installed, known
from medssl.networks.outputs import plain

CLASSES = ("background", "liver", "tumour")
SINGLE = [name for name in known() if name not in OF_SHAPES]


def made(name: str, **keys: object) -> MonaiLabelledLoss:
    return MonaiLabelledLoss(LossChoice.model_validate({"name": name, **keys}), plain(CLASSES))


@pytest.fixture
def given() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels, and which voxels are known."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator)
    label = torch.randint(3, (2, 4, 5, 6), generator=generator, dtype=torch.uint8)
    known = torch.rand(2, 4, 5, 6, generator=generator) < 0.4
    return logits.requires_grad_(), label, known


def test_the_list_is_that_of_the_installed_monai() -> None:
    """`python -m medssl.methods.segment.monai_losses` writes it anew."""
    assert LIST.read_text() == as_text(installed())


@pytest.mark.parametrize("name", known())
def test_every_loss_of_the_list_teaches(name: str, given) -> None:
    logits, label, _ = given
    loss = made(f"monai:{name}")(logits, label)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert bool(loss.isfinite())
    assert bool(gradient.isfinite().all())
    assert bool(gradient.any())


def test_the_loss_is_that_of_monai(given) -> None:
    logits, label, _ = given
    truth = label[:, None].long()
    direct = TverskyLoss(to_onehot_y=True, softmax=True, alpha=0.3, beta=0.7)(logits, truth)
    assert torch.equal(made("monai:TverskyLoss", alpha=0.3, beta=0.7)(logits, label), direct)
    weight = torch.tensor([1.0, 1.0, 4.0])
    direct = DiceFocalLoss(to_onehot_y=True, softmax=True, weight=weight)(logits, truth)
    found = made("monai:DiceFocalLoss", weights={"tumour": 4})(logits, label)
    assert torch.equal(found, direct)


def test_weights_of_classes_weigh_their_voxels(given) -> None:
    logits, label, _ = given
    found = made("monai:DiceCELoss", lambda_dice=0, weights={"background": 0, "tumour": 3})
    expected = cross_entropy(logits, label.long(), weight=torch.tensor([0.0, 1.0, 3.0]))
    torch.testing.assert_close(found(logits, label), expected)


@pytest.mark.parametrize("name", SINGLE)
def test_unknown_voxels_get_no_gradient_and_are_not_looked_at(name: str, given) -> None:
    logits, label, known = given
    lie = torch.where(known, label, 2 - label)
    found = [made(f"monai:{name}")(logits, one, known) for one in (label, lie)]
    assert torch.equal(*found)
    (gradient,) = torch.autograd.grad(found[0], logits)
    assert bool((gradient.movedim(1, -1)[~known] == 0).all())
    assert bool(gradient.any())


@pytest.mark.parametrize("name", SINGLE)
def test_without_a_known_voxel_nothing_is_learnt(name: str, given) -> None:
    logits, label, known = given
    loss = made(f"monai:{name}")(logits, label, known & False)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0
    assert not gradient.any()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "monai:DiceFokalLoss"}, "did you mean 'monai:DiceFocalLoss'"),
        ({"name": "DiceFocalLoss"}, "did you mean 'monai:DiceFocalLoss'"),
        ({"name": "monai:DiceFocalLoss", "gama": 1}, "no such argument"),
        ({"name": "monai:DiceFocalLoss", "softmax": True}, "gives it by itself"),
        ({"name": "monai:TverskyLoss", "weights": {"liver": 2}}, "weighs no classes"),
        ({"name": "monai:DiceCELoss", "weights": {"liver": -2}}, "the weight of liver is below 0"),
    ],
)
def test_what_a_loss_cannot_take_is_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LossChoice.model_validate(keys)


def test_what_monai_refuses_is_told() -> None:
    with pytest.raises(UsageError, match="monai:FocalLoss"):
        made("monai:FocalLoss", alpha="much")


def test_weights_name_classes_and_losses_of_shapes_need_whole_masks() -> None:
    choice = LossChoice.model_validate({"name": "monai:DiceCELoss", "weights": {"tumor": 2}})
    with pytest.raises(UsageError, match="'tumor', which is no class"):
        choice.must_fit(CLASSES, partial=False)
    shapes = LossChoice.model_validate("monai:HausdorffDTLoss")
    shapes.must_fit(CLASSES, partial=False)
    with pytest.raises(UsageError, match="the masks are ignored in part"):
        shapes.must_fit(CLASSES, partial=True)
    exclusive = LossChoice.model_validate("monai:DiceCELoss")
    with pytest.raises(UsageError, match="declares regions"):
        exclusive.must_fit(("whole", "core"), partial=False, regions=True)
