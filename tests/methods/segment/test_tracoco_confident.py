"""Learning from confident pseudo-labels, CBC or CRC (sheet 5.3 and 13.1; properties 10 to 13)."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medssl.methods.segment.tracoco import confident_loss, pseudo_loss
from medssl.methods.settings.tracoco import Pseudo

RELEASED = Pseudo()
POSITIVE_ONLY = Pseudo(negative_threshold=0.0)
NEGATIVE_ONLY = Pseudo(positive_threshold=1.0)  # float probabilities stay below 1


def from_probability(foreground: list[float]) -> Tensor:
    """Logits [1, 2, n, 1, 1] whose softmax has these foreground probabilities."""
    p = torch.tensor(foreground, dtype=torch.float64)
    return torch.stack([1 - p, p]).log().reshape(1, 2, -1, 1, 1)


def random_logits(seed: int, classes: int = 2, scale: float = 2.0) -> Tensor:
    """[2, K, 4, 5, 6]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, classes, 4, 5, 6)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


TEACHER = from_probability([0.95, 0.60, 0.20, 0.30])
STUDENT = from_probability([0.80, 0.70, 0.40, 0.10])


def test_released_thresholds():
    assert (RELEASED.positive_threshold, RELEASED.negative_threshold) == (0.65, 0.1)
    assert RELEASED.kind == "cbc"
    assert RELEASED.confidence_weight


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(POSITIVE_ONLY, 0.231466411), (NEGATIVE_ONLY, 0.011157178), (RELEASED, 0.242623589)],
    ids=["positive", "negative", "sum"],
)
def test_four_voxels_by_hand(settings, expected):
    """Property 10: voxels 1, 3 and 4 are positive, voxel 1 is negative."""
    assert confident_loss(STUDENT, TEACHER, settings).item() == pytest.approx(expected, abs=5e-10)
    assert pseudo_loss(STUDENT, TEACHER, settings).item() == pytest.approx(expected, abs=5e-10)


def test_no_confident_voxel_costs_nothing_and_teaches_nothing():
    """Property 10, empty masks: all teacher probabilities 0.6."""
    student = STUDENT.clone().requires_grad_()
    loss = confident_loss(student, from_probability([0.6] * 4), RELEASED)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() == 0


def test_thresholds_include_and_exclude_their_own_value():
    """Positive where c >= threshold; negative where m < threshold."""
    teacher = torch.zeros(1, 2, 1, 1, 1, dtype=torch.float64)  # both probabilities are 0.5
    student = from_probability([0.8])
    at = Pseudo(positive_threshold=0.5, negative_threshold=0.5)
    assert confident_loss(student, teacher, at).item() == pytest.approx(-0.5 * math.log(0.2))


def test_without_a_negative_half_it_is_confidence_weighted_cross_entropy():
    """Property 10: c x CE, averaged over the positive voxels of all items pooled."""
    student, teacher = random_logits(0), random_logits(1)
    confidence, chosen = teacher.softmax(1).max(1)
    selected = confidence >= 0.65
    expected = (confidence * cross_entropy(student, chosen, reduction="none"))[selected].mean()
    torch.testing.assert_close(confident_loss(student, teacher, POSITIVE_ONLY), expected)


def test_confidence_weighting_can_be_left_out():
    student, teacher = random_logits(0), random_logits(1)
    confidence, chosen = teacher.softmax(1).max(1)
    expected = cross_entropy(student, chosen, reduction="none")[confidence >= 0.65].mean()
    plain = Pseudo(negative_threshold=0.0, confidence_weight=False)
    torch.testing.assert_close(confident_loss(student, teacher, plain), expected)


def test_two_classes_make_the_negative_half_cross_entropy_again():
    """Quirk 4: mean over c > 0.9 of (1 - c) x CE, at most 0.1 x CE."""
    student, teacher = random_logits(0), random_logits(1)
    confidence, chosen = teacher.softmax(1).max(1)
    entropy = cross_entropy(student, chosen, reduction="none")
    selected = confidence > 0.9
    expected = ((1 - confidence) * entropy)[selected].mean()
    found = confident_loss(student, teacher, NEGATIVE_ONLY)
    torch.testing.assert_close(found, expected)
    assert found < 0.1 * entropy[selected].mean()


def test_the_loss_does_not_shrink_when_few_voxels_pass():
    """Means run over the selected voxels: voxels nobody is sure of change nothing."""
    padded_teacher = torch.cat([TEACHER, torch.zeros_like(TEACHER)], dim=2)
    padded_student = torch.cat([STUDENT, STUDENT], dim=2)
    torch.testing.assert_close(
        confident_loss(padded_student, padded_teacher, RELEASED),
        confident_loss(STUDENT, TEACHER, RELEASED),
    )


@pytest.mark.parametrize("kind", ["cbc", "cross_entropy", "mse"])
@pytest.mark.parametrize("loss", [confident_loss, pseudo_loss])
def test_no_gradient_reaches_the_teacher(loss, kind):
    student, teacher = random_logits(0).requires_grad_(), random_logits(1).requires_grad_()
    loss(student, teacher, Pseudo(kind=kind)).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


@pytest.mark.parametrize("part", [0, 1])
def test_no_gradient_reaches_the_pseudo_labelling_network(build, batches, terms, part):
    """Property 11, with dropout and batch statistics as released."""
    method = build("tracoco", norm="batch", dropout=0.5)
    sum(terms(method, batches(), parts=[part]).values()).backward()
    assert all(p.grad is not None for p in method.pair[part].parameters())
    assert all(p.grad is None for p in method.pair[1 - part].parameters())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_order_of_voxels_and_items_does_not_matter(classes):
    """Property 12."""
    student, teacher = random_logits(0, classes), random_logits(1, classes)
    order = torch.randperm(4 * 5 * 6, generator=torch.Generator().manual_seed(0))

    def shuffled(logits: Tensor) -> Tensor:
        return logits.flatten(2)[..., order].reshape(logits.shape).flip(0)

    torch.testing.assert_close(
        confident_loss(shuffled(student), shuffled(teacher), RELEASED),
        confident_loss(student, teacher, RELEASED),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 3])
def test_extreme_logits_stay_finite_in_value_and_gradient(dtype, classes):
    """Property 12: +-1e4, agreeing with the teacher and not."""
    student = (1e4 * random_logits(0, classes).sign()).to(dtype).requires_grad_()
    for scale in (3, 1e4):
        teacher = (scale * random_logits(1, classes).sign()).to(dtype)
        loss = confident_loss(student, teacher, RELEASED)
        (gradient,) = torch.autograd.grad(loss, student)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def binary_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Sheet 5.3 as written for two classes, voxel by voxel."""
    p, q = student.softmax(1).movedim(1, -1).reshape(-1, 2), teacher.softmax(1)
    positive, negative = [], []
    for student_p, teacher_q in zip(p, q.movedim(1, -1).reshape(-1, 2), strict=True):
        chosen = int(teacher_q.argmax())
        c, m = teacher_q.max(), teacher_q.min()
        if c >= 0.65:
            positive.append(-c * student_p[chosen].log())
        if m < 0.1:
            negative.append(-m * (1 - student_p[1 - chosen]).clamp(1e-6, 1).log())
    return torch.stack(positive).mean() + torch.stack(negative).mean()


def test_two_classes_equal_the_binary_form():
    """Property 13."""
    student, teacher = random_logits(0), random_logits(1)
    torch.testing.assert_close(
        confident_loss(student, teacher, RELEASED), binary_loss(student, teacher)
    )


def test_three_classes_by_hand():
    """q = [0.9, 0.08, 0.02], p = [0.5, 0.3, 0.2]: the mean over the two channels not chosen.

    Positive 0.9 ln 2; negative 0.02 x (-ln 0.7 - ln 0.8) / 2. An integer NOT in place of a boolean
    one would add 2 x 0.02 x -ln 0.5 / 3 for the chosen class.
    """
    q, p = torch.tensor([[0.9, 0.08, 0.02], [0.5, 0.3, 0.2]], dtype=torch.float64)
    teacher, student = (r.log().reshape(1, 3, 1, 1, 1) for r in (q, p))
    negative = -0.02 * (math.log(0.7) + math.log(0.8)) / 2
    found = [confident_loss(student, teacher, s).item() for s in (NEGATIVE_ONLY, RELEASED)]
    assert found == pytest.approx([negative, negative + 0.9 * math.log(2)], rel=1e-12)


@pytest.mark.parametrize("classes", [3, 5])
def test_the_chosen_class_has_no_part_in_the_negative_half(classes):
    """Property 13: the mean runs over the K - 1 other channels."""
    student, teacher = random_logits(0, classes), random_logits(1, classes, scale=4)
    q = teacher.softmax(1)
    chosen, least = q.argmax(1, keepdim=True), q.min(1).values
    others = torch.ones_like(q).scatter(1, chosen, 0).bool()
    p = student.softmax(1)
    expected = -(1 - p).log().masked_fill(~others, 0).sum(1) / (classes - 1)
    selected = least < 0.1
    torch.testing.assert_close(
        confident_loss(student, teacher, NEGATIVE_ONLY), (least * expected)[selected].mean()
    )


def test_dice_on_hard_pseudo_labels_shares_the_loss():
    """ACDC: half CBC, half Dice against the argmax."""
    both = pseudo_loss(STUDENT, TEACHER, Pseudo(dice=True)).item()
    p, y = torch.tensor([0.8, 0.7, 0.4, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    dice = 1 - (2 * (p * y).sum() + 1e-5) / ((p**2).sum() + (y**2).sum() + 1e-5)
    assert both == pytest.approx(0.5 * (0.242623589 + dice.item()), rel=1e-6)


def test_plain_cross_entropy_is_cps():
    """Every voxel counts, however unsure: y = [1, 1, 0, 0]."""
    expected = -sum(map(math.log, (0.8, 0.7, 0.6, 0.9))) / 4
    found = pseudo_loss(STUDENT, TEACHER, Pseudo(kind="cross_entropy")).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_mean_squared_difference_of_probabilities():
    """The 2022 abstract's baseline; both channels differ alike."""
    expected = (0.15**2 + 0.1**2 + 0.2**2 + 0.2**2) / 4
    assert pseudo_loss(STUDENT, TEACHER, Pseudo(kind="mse")).item() == pytest.approx(expected)


def test_half_precision_logits_are_compared_in_single_precision():
    student = STUDENT.to(torch.bfloat16).requires_grad_()
    loss = pseudo_loss(student, TEACHER.to(torch.bfloat16), RELEASED)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.242623589, rel=0.02)
