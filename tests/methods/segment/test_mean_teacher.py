"""Mean teacher and UA-MT (Tarvainen & Valpola 2017; Yu et al. 2019)."""

import math

import pytest
import torch
from torch import Tensor, nn

from medssl.methods.ema import teacher_decay
from medssl.methods.method import Progress
from medssl.methods.segment.losses import supervised_loss
from medssl.methods.segment.mean_teacher import certain_mse, rampup

AT_FULL_WEIGHT = {"weight": 1.0, "rampup_steps": 1}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class Sure(nn.Module):
    """Logits s x (image, -image); remembers the images it met."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.met: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.met.append(image)
        return self.scale * torch.cat([image, -image], dim=1)


def test_ramp_up_by_hand():
    """exp(-5) at the start, exp(-5/4) half-way, 1 from the end on."""
    found = [rampup(step, 6000) for step in (0, 3000, 6000, 9000)]
    assert found == pytest.approx([0.006737947, 0.286504797, 1, 1], abs=5e-10)


def test_the_average_is_true_at_first_and_exponential_later():
    assert [teacher_decay(step, 0.99) for step in (1, 3, 99, 500)] == [0.5, 0.75, 0.99, 0.99]


def test_only_certain_voxels_count():
    """Two voxels, the second uncertain: (0.1^2 + 0.1^2) / (2 classes x 1 voxel)."""
    student = torch.tensor([[0.6, 0.9], [0.4, 0.1]]).reshape(1, 2, 2, 1, 1).double()
    teacher = torch.full_like(student, 0.5)
    certain = torch.tensor([True, False]).reshape(1, 2, 1, 1)
    assert certain_mse(student, teacher, certain).item() == pytest.approx(0.01, rel=1e-6)
    both = torch.ones_like(certain)
    assert certain_mse(student, teacher, both).item() == pytest.approx(0.085, rel=1e-6)
    assert certain_mse(student, teacher, ~both).item() == 0


def test_the_teacher_moves_towards_the_student_after_a_step(build):
    method = build("mean_teacher", decay=0.9)
    start = weights(method.teacher)
    assert torch.equal(start, weights(method.student))
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    method.after_step(Progress(1, 100))  # true average of two
    torch.testing.assert_close(weights(method.teacher), start + 0.5)
    method.after_step(Progress(50, 100))
    torch.testing.assert_close(weights(method.teacher), start + 1 - 0.5 * 0.9)


def test_only_the_student_is_trained(build, batches, terms):
    method = build("mean_teacher", norm="batch", dropout=0.5)
    sum(terms(method, batches()).values()).backward()
    assert all(p.grad is not None for p in method.student.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert list(method.networks()) == [method.student]


def test_terms_by_hand(build, batches, terms):
    """The student sees clean images, the teacher here too."""
    method, given = build("mean_teacher", noise=0, **AT_FULL_WEIGHT), batches()
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.mul_(1.1)
    labelled, unlabelled = given["labelled"], given["unlabelled"].image[:, 0]
    found = terms(method, given)
    student, teacher = (n(unlabelled).softmax(1) for n in (method.student, method.teacher))
    truth = supervised_loss(method.student(labelled.image[:, 0]), labelled.truth)
    assert set(found) == {"supervised", "consistency"}
    torch.testing.assert_close(found["supervised"], truth)
    torch.testing.assert_close(found["consistency"], ((student - teacher) ** 2).mean())


def test_consistency_is_ramped_up(build, batches, terms):
    method = build("mean_teacher", weight=0.1, rampup_steps=40)
    values = [terms(method, batches(), step=step)["consistency"].item() for step in (20, 40)]
    assert values[0] / values[1] == pytest.approx(math.exp(-1.25), rel=1e-6)


def test_labels_of_unlabelled_items_change_nothing_but_their_pixels_do(build, batches, terms):
    method = build("mean_teacher")

    def gradient(given) -> Tensor:
        method.zero_grad()
        sum(terms(method, given).values()).backward()
        return torch.cat([p.grad.flatten() for p in method.student.parameters()])

    leaky, moved = batches(), batches()
    leaky["unlabelled"].label = torch.full((2, 8, 8, 8), 255, dtype=torch.uint8)
    moved["unlabelled"].image = moved["unlabelled"].image.flip(-1)
    plain = gradient(batches())
    assert torch.equal(gradient(leaky), plain)
    assert not torch.equal(gradient(moved), plain)


def test_the_teachers_noise_is_gaussian_and_clipped_at_twice_its_deviation(build, batches, terms):
    method, given = build("mean_teacher", noise=0.1), batches()
    method.teacher, method.student = Sure(1.0), Sure(1.0)
    terms(method, given)
    clean = given["unlabelled"].image[:, 0]
    noise = method.teacher.met[0] - clean
    assert noise.abs().max().item() == pytest.approx(0.2)
    # Of a normal distribution clipped at two deviations, 0.0960 of 0.1 are left.
    assert noise.std().item() == pytest.approx(0.0960, rel=0.05)
    assert torch.equal(method.student.met[0][2:], clean)


@pytest.mark.parametrize(("step", "expected"), [(1, 0.7519), (50, 0.8216), (100, 1.0)])
def test_the_threshold_rises_from_three_quarters_of_the_largest_entropy(build, step, expected):
    method = build("mean_teacher", uncertainty_aware=True)
    assert method.threshold(Progress(step, 100)) == pytest.approx(expected, abs=1e-4)


def test_uncertain_voxels_are_left_out(build, batches, terms):
    """Logits +-s x image with image 1 in one half and 0.01 in the other."""
    found = {}
    for aware in (False, True):
        settings = {"noise": 0, "uncertainty_aware": aware, **AT_FULL_WEIGHT}
        method, given = build("mean_teacher", **settings), batches()
        method.teacher, method.student = Sure(2.0), Sure(1.0)
        given["unlabelled"].image[..., :4] = 1.0
        given["unlabelled"].image[..., 4:] = 0.01
        found[aware] = terms(method, given)["consistency"].item()
        assert len(method.teacher.met) == (1 + 8 if aware else 1)

    def squared(value: float) -> float:
        return (1 / (1 + math.exp(-2 * value)) - 1 / (1 + math.exp(-4 * value))) ** 2

    assert found[True] == pytest.approx(squared(1.0), rel=1e-5)
    assert found[False] == pytest.approx((squared(1.0) + squared(0.01)) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("who", "names"),
    [("teacher", ["teacher"]), ("student", ["student"]), ("both", ["student", "teacher"])],
)
def test_either_or_both_may_answer(build, who, names):
    method = build("mean_teacher", predictor=who)
    assert list(method.predictor().members) == [getattr(method, name) for name in names]


def test_the_student_may_see_strong_views_and_the_teacher_does_not(build, batches, terms):
    strong = {"blur": {"probability": 1.0, "sigma": [1.0, 1.0]}}
    method, given = build("mean_teacher", noise=0, strong=strong), batches()
    method.student, method.teacher = Sure(1.0), Sure(1.0)
    terms(method, given)
    weak = given["unlabelled"].image[:, 0]
    assert torch.equal(method.teacher.met[0], weak)
    assert torch.equal(method.student.met[0][:2], given["labelled"].image[:, 0])
    assert method.student.met[0][2:].std() < 0.5 * weak.std()
