"""Cases that outline some classes alone, and scribbles: the sheet of partial labels, 3, 4 and 7."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medssl.data.batch import Batch
from medssl.methods.method import Task
from medssl.methods.segment.gated_crf import gated_crf
from medssl.methods.segment.labelled_loss import OnLabels, exclusion, merged
from medssl.methods.segment.loss_settings import GatedCrf, Kernel, LossChoice
from medssl.methods.segment.losses import masked_dice, supervised_loss
from medssl.networks.settings import NetworkSettings

CLASSES = ("background", "liver", "spleen", "kidney")


def voxels(rows: list[list[float]]) -> Tensor:
    """[1, K, n, 1, 1] of what each of n voxels says of K classes, in double precision."""
    return torch.tensor(rows, dtype=torch.float64).T.reshape(1, -1, len(rows), 1, 1)


def labels(*given: int) -> Tensor:
    return torch.tensor(given, dtype=torch.uint8).reshape(1, -1, 1, 1)


def outlines(*given: bool) -> Tensor:
    return torch.tensor([given])


def on_labels(**keys: object) -> OnLabels:
    network = NetworkSettings(name="vnet", width=2, levels=2)
    task = Task(("T1",), CLASSES, (8, 8, 8), network, loss=LossChoice.model_validate(keys))
    return OnLabels(supervised_loss, task)


def batch(label: Tensor, outlined: Tensor | None = None) -> Batch:
    image = torch.zeros(len(label), 1, 1, *label.shape[1:])
    return Batch(image, label, torch.zeros(len(label), 1, 3), ("a",) * len(label), None, outlined)


def test_the_marginal_loss_by_hand() -> None:
    """Section 7.2: of four classes the first is outlined."""
    logits = voxels([[1, 2, 0, -1]]).requires_grad_()
    found = merged(logits, outlines(True, True, False, False))
    p = found.softmax(1).flatten().tolist()
    assert p[0] == pytest.approx(0.35608574, abs=5e-9)
    assert p[2:] == [0, 0]
    loss = cross_entropy(found, labels(0).long())
    assert loss.item() == pytest.approx(1.03258373, abs=5e-9)
    (gradient,) = torch.autograd.grad(loss, logits)
    by_hand = [-0.42835814, 0.64391426, -0.15758415, -0.05797197]
    assert gradient.flatten().tolist() == pytest.approx(by_hand, abs=5e-9)


def test_marginal_dice_by_hand() -> None:
    p = voxels([[0.6, 0.1, 0.3], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]])
    q = merged(p.log(), outlines(True, True, False)).softmax(1)
    found = float(masked_dice(q, labels(0, 1, 0), torch.ones(1, 3, 1, 1), absent=False))
    assert found == pytest.approx(0.0612, abs=5e-5)


def test_all_outlined_is_as_if_nothing_were_said() -> None:
    logits = torch.randn(2, 4, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(merged(logits, torch.ones(2, 4, dtype=torch.bool)), logits)


def test_what_is_said_of_merged_classes_only_counts_in_sum() -> None:
    p = voxels([[0.2, 0.4, 0.3, 0.1], [0.1, 0.7, 0.1, 0.1]])
    other = voxels([[0.4, 0.4, 0.1, 0.1], [0.1, 0.7, 0.15, 0.05]])
    given = batch(labels(0, 1), outlines(True, True, False, False))
    losses = [float(on_labels()([one.log()], given)) for one in (p, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_with_nothing_outlined_nothing_is_learnt() -> None:
    logits = torch.randn(1, 4, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    loss = on_labels()([logits], batch(labels(0, 1, 2), outlines(True, False, False, False)))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_each_case_of_a_batch_outlines_its_own() -> None:
    """What a mask says of a class that its case does not outline is background."""
    logits = torch.randn(2, 4, 3, 1, 1, dtype=torch.float64)
    label = labels(0, 1, 2).repeat(2, 1, 1, 1)
    outlined = torch.tensor([[True, True, False, True], [True] * 4])
    relabelled = label.clone()
    relabelled[0, 2] = 0
    found = [on_labels()([logits], batch(one, outlined)) for one in (label, relabelled)]
    assert torch.equal(*found)


def test_the_exclusion_loss_by_hand() -> None:
    p = voxels([[0.7, 0, 0.3], [0.9, 0, 0.1], [0.2, 0, 0.8]])
    found = exclusion(p, labels(1, 1, 0), outlines(True, True, False))
    assert float(found) == pytest.approx(0.25, abs=1e-12)
    assert float(exclusion(p, labels(1, 1, 0), outlines(True, True, True))) == 0


def test_the_exclusion_loss_has_a_weight() -> None:
    logits = torch.randn(1, 4, 3, 1, 1, dtype=torch.float64)
    given = batch(labels(0, 1, 1), outlines(True, True, False, False))
    apart = exclusion(logits.softmax(1), given.truth, given.outlined)
    plain, more = (float(on_labels(exclusion=weight)([logits], given)) for weight in (0, 0.5))
    assert more == pytest.approx(plain + 0.5 * float(apart), rel=1e-12)


def line(p: list[float]) -> Tensor:
    """Probabilities of two classes along an image of 1 x 3 x 1 voxels."""
    first = torch.tensor(p, dtype=torch.float64)
    return torch.stack([first, 1 - first]).reshape(1, 2, 1, 3, 1)


INTENSITY = torch.tensor([0.2, 0.2, 0.8], dtype=torch.float64).reshape(1, 1, 1, 3, 1)
NEXT = GatedCrf(weight=1, radius=1)


def test_the_gated_crf_by_hand() -> None:
    """Section 7.4, and where the split should lie."""
    p = line([0.9, 0.6, 0.3]).requires_grad_()
    loss = gated_crf(p, INTENSITY, NEXT)
    assert loss.item() == pytest.approx(0.27613800, abs=5e-9)
    (gradient,) = torch.autograd.grad(loss, p)
    assert gradient[0, 0].flatten().tolist() == pytest.approx([-0.394483, -0.591724, 0], abs=5e-7)
    assert float(gated_crf(line([1, 1, 0]), INTENSITY, NEXT)) == pytest.approx(1.0e-8, abs=5e-10)
    assert float(gated_crf(line([1, 0, 0]), INTENSITY, NEXT)) == pytest.approx(0.657, abs=5e-4)


def test_a_sure_and_constant_answer_costs_the_crf_nothing_and_names_do_not_matter() -> None:
    image = torch.randn(1, 1, 6, 7, 3, dtype=torch.float64)
    p = torch.randn(1, 3, 6, 7, 3, dtype=torch.float64).softmax(1)
    chosen = GatedCrf(weight=1, radius=2, kernels=(Kernel(), Kernel(space=3, intensity=None)))
    sure = torch.zeros_like(p)
    sure[:, 1] = 1
    assert float(gated_crf(sure, image, chosen)) == 0
    found = float(gated_crf(p, image, chosen))
    assert found > 0
    assert found == pytest.approx(float(gated_crf(p.flip(1), image, chosen)), rel=1e-12)


def test_the_crf_is_the_sum_over_all_pairs_of_a_window() -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(1, 2, 5, 4, 2)))
    p = torch.from_numpy(rng.normal(size=(1, 2, 5, 4, 2))).softmax(1)
    chosen = GatedCrf(weight=1, radius=2, kernels=(Kernel(space=1.5, intensity=0.7, weight=2),))
    total = 0.0
    for x, y, z in np.ndindex(5, 4, 2):
        for u, v in np.ndindex(5, 4):
            if (u, v) == (x, y) or max(abs(u - x), abs(v - y)) > 2:
                continue
            apart = float(((image[0, :, x, y, z] - image[0, :, u, v, z]) ** 2).sum())
            near = ((u - x) ** 2 + (v - y) ** 2) / (2 * 1.5**2) + apart / (2 * 0.7**2)
            total += 2 * np.exp(-near) * (1 - float((p[0, :, x, y, z] * p[0, :, u, v, z]).sum()))
    assert float(gated_crf(p, image, chosen)) == pytest.approx(total / 40, rel=1e-10)


def test_cross_entropy_alone_learns_no_size() -> None:
    logits = torch.randn(1, 4, 3, 1, 1, dtype=torch.float64)
    given = replace(
        batch(labels(0, 1, 2)), known=torch.tensor([1, 1, 0]).bool().reshape(1, 3, 1, 1)
    )
    found = on_labels(name="cross_entropy")([logits], given)
    expected = cross_entropy(logits[:, :, :2], given.truth[:, :2].long())
    torch.testing.assert_close(found, expected)
