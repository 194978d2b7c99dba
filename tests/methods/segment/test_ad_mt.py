"""AD-MT (Zhao et al. 2024): numbers and properties of its sheet."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from medssl.methods.method import Progress
from medssl.methods.segment.ad_mt import (
    Pseudo,
    combined,
    entropy_bits,
    pseudo_weight,
    teacher_decay,
)
from medssl.methods.segment.cutmix import Mixture
from medssl.methods.segment.losses import masked_cross_entropy, region_loss
from medssl.methods.settings.ad_mt import Settings

AT_FULL_WEIGHT = {"rampup_steps": 150, "weight": 2.0}
SWAPPED = 1
FULL = {"step": 151, "steps": 1000}


def voxels(*probabilities: tuple[float, ...]) -> Tensor:
    """[1, K, n, 1, 1]."""
    return torch.tensor(probabilities, dtype=torch.float64).T.reshape(
        1, -1, len(probabilities), 1, 1
    )


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def gradient(method, given, terms) -> Tensor:
    method.zero_grad()
    sum(terms(method, given, **FULL).values()).backward()
    return torch.cat([p.grad.flatten() for p in method.student.parameters()])


class Watched(nn.Module):
    """Logits (0, scale x image); remembers the images it met, its mode, and whether it learnt."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([scale], dtype=torch.float64))
        self.met: list[tuple[Tensor, bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.cat([torch.zeros_like(image), self.scale * image], dim=1)
        self.met.append((image.detach(), self.training, logits.requires_grad))
        return logits


@pytest.fixture
def watched(build):
    def make(scales=(1.0, 1.0, 1.0), turn=0, **settings):
        method = build("ad_mt", **settings)
        method.student, first, second = map(Watched, scales)
        method.teachers = nn.ModuleList([first, second]).requires_grad_(False)
        method.turns[0] = turn
        return method.train()

    return make


def test_the_surer_teacher_weighs_more_by_hand():
    """Sheet section 8, example 1."""
    first, second = voxels((0.9, 0.1), (0.55, 0.45)), voxels((0.4, 0.6), (0.05, 0.95))
    bits = [entropy_bits(one)[0, 0, 0, 0].item() for one in (first, second)]
    assert bits == pytest.approx([0.468996, 0.970951], abs=5e-7)
    found = combined(first, second)
    assert found.confidence.flatten().tolist() == pytest.approx([0.711459, 0.7848], abs=5e-7)
    assert found.label.flatten().tolist() == [0, 1]
    assert found.conflict.all()
    tied = combined(voxels((0.7, 0.2, 0.1)), voxels((0.2, 0.7, 0.1)))
    assert (tied.label.item(), tied.confidence.item()) == (0, pytest.approx(0.45))


def test_equal_teachers_keep_their_answer_and_swapping_changes_nothing():
    """Properties 1 and 5."""
    g = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, 3, 4, 4, 4, generator=g).double().softmax(1) for _ in range(2))
    one, other = combined(first, second), combined(second, first)
    assert torch.equal(one.label, other.label)
    torch.testing.assert_close(one.confidence, other.confidence)
    same = combined(first, first)
    torch.testing.assert_close(same.confidence, first.max(1).values)
    assert not same.conflict.any()
    sure, unsure = voxels((1.0, 0.0)), voxels((0.5, 0.5))
    share = 1 / (1 + math.exp(-1))
    expected = share + (1 - share) / 2
    assert combined(sure, unsure).confidence.item() == pytest.approx(expected, abs=1e-8)


def test_three_voxels_by_hand(build):
    """Sheet section 8, example 2: the student overrules where the teachers disagree alone."""
    first = voxels((0.97, 0.03), (0.9, 0.1), (0.3, 0.7))
    second = voxels((0.2, 0.8), (0.95, 0.05), (0.35, 0.65))
    said = combined(first, second)
    assert said.confidence.flatten().tolist() == pytest.approx(
        [0.684259, 0.927276, 0.675660], abs=5e-7
    )
    target = said.overruled(voxels((0.1, 0.9), (0.6, 0.4), (0.2, 0.8)))
    assert target.label.flatten().tolist() == [1, 0, 1]
    assert target.confidence.flatten().tolist() == pytest.approx(
        [0.9, 0.927276, 0.675660], abs=5e-7
    )
    strong = voxels((0.3, 0.7), (0.8, 0.2), (0.4, 0.6)).log()
    method = build("ad_mt")
    found = method._pseudo_loss(strong, target.label, target.confidence >= 0.8)
    assert found.item() == pytest.approx(0.28990925, abs=5e-9)


def test_the_weight_by_hand():
    """Sheet section 8, example 3, with t = step - 1."""
    found = [pseudo_weight(t + 1, Settings()) for t in (0, 1500, 3000, 5845, 6000, 2922)]
    expected = [0.01347589, 0.12010934, 0.57300959, 1.97515560, 2, 0.50410]
    assert found == pytest.approx(expected, abs=5e-6)


def test_the_average_by_hand():
    """Sheet section 8, example 4, with t = step - 1."""
    found = [teacher_decay(t + 1, Settings()) for t in (79, 81, 82, 100, 200, 278, 5000)]
    expected = [0, 0, 0.5, 0.90909091, 0.98360656, 0.99, 0.99]
    assert found == pytest.approx(expected, abs=5e-9)


def test_exactly_one_teacher_moves_in_a_step_and_turns_are_no_longer_than_allowed(
    build, batches, terms
):
    """Property 3."""
    method, given = build("ad_mt", longest_turn=3, copied_steps=0), batches()
    lengths, last, run = [], None, 0
    g = torch.Generator().manual_seed(1)
    for step in range(1, 60):
        with torch.no_grad():
            for parameter in method.student.parameters():
                parameter.add_(0.1)
        turn = int(method.turns[0])
        before = [weights(teacher) for teacher in method.teachers]
        method(given, Progress(step + 1000, 10_000), g)
        method.after_step(Progress(step + 1000, 10_000))
        moved = [
            not torch.equal(a, weights(b)) for a, b in zip(before, method.teachers, strict=True)
        ]
        assert moved == [turn == 0, turn == 1]
        if last is not None and turn != last:
            lengths.append(run)
            run = 0
        last, run = turn, run + 1
    assert set(lengths) == {1, 2, 3}


def test_turns_of_one_step_alternate(build, batches, terms):
    method, given = build("ad_mt", longest_turn=1), batches()
    found = []
    for step in range(1, 7):
        found.append(int(method.turns[0]))
        terms(method, given, step=step)
        method.after_step(Progress(step, 100))
    assert found == [0, 1, 0, 1, 0, 1]


def test_lengths_of_turns_are_uniform(build):
    method = build("ad_mt", longest_turn=4)
    g = torch.Generator().manual_seed(0)
    counts = torch.tensor([method._length(g) for _ in range(2000)]).bincount()
    assert counts[0] == 0
    assert len(counts) == 5
    assert (counts[1:] - 500).abs().max() < 70


def test_a_teacher_is_a_copy_at_first_statistics_included(build):
    method = build("ad_mt", norm="batch")
    with torch.no_grad():
        for one in (*method.student.parameters(), *method.student.buffers()):
            one.add_(1)
    method.after_step(Progress(1, 100))
    copied = method.teachers[0].state_dict()
    assert all(torch.equal(one, copied[key]) for key, one in method.student.state_dict().items())
    assert not torch.equal(weights(method.teachers[1]), weights(method.student))


def test_modes_and_rows_of_a_step(watched, batches, terms):
    """Sheet section 3: the teacher whose turn it is trains along, the other does not.

    Without batch statistics weak views get a pass of their own, of which no gradient is kept.
    """
    given = batches()
    weak = given["unlabelled"].image[:, 0]
    for turn in (0, 1):
        method = watched(turn=turn)
        terms(method, given, **FULL)
        for number, teacher in enumerate(method.teachers):
            ((image, training, _),) = teacher.met
            assert torch.equal(image, weak)
            assert training == (number == turn)
        (own, _, kept), (taught, training, learns) = method.student.met
        assert torch.equal(own, weak)
        assert (kept, training, learns) == (False, True, True)
        assert torch.equal(taught[:2], given["labelled"].image[:, 0])
        assert len(taught) == 4


def test_with_batch_statistics_weak_views_are_rows_of_the_same_pass(watched, batches, terms):
    method, given = watched(), batches()
    method.student.unused = nn.BatchNorm3d(1)
    terms(method, given, **FULL)
    ((image, _, _),) = method.student.met
    assert torch.equal(image[2:4], given["unlabelled"].image[:, 0])
    assert len(image) == 6


def test_both_ways_of_asking_give_the_same_loss(build, batches, terms):
    short = build("ad_mt", threshold=0.0, **AT_FULL_WEIGHT)
    full = copy.deepcopy(short)
    full.student.unused = nn.BatchNorm3d(1)
    found, expected = (terms(one, batches(), **FULL) for one in (short, full))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("turn", [0, 1])
def test_terms_by_hand(watched, batches, terms, turn):
    method, given = watched((1.0, 2.0, 3.0), turn, threshold=0.6, **AT_FULL_WEIGHT), batches()
    # A donor may be the item itself; with this seed it is not.
    found = method(given, Progress(151, 1000), torch.Generator().manual_seed(SWAPPED))
    _, (taught, _, _) = method.student.met
    weak = given["unlabelled"].image[:, 0]

    def said(scale: float, image: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(image), scale * image], 1)

    # Equal signs never conflict: labels are those of either teacher, at the strong view's place.
    target = combined(said(2.0, weak).softmax(1), said(3.0, weak).softmax(1))
    if turn:
        pasted = taught[2:] != weak
        assert 0 < pasted.double().mean() < 1
        swapped = torch.where(pasted, weak.flip(0), weak)
        assert torch.equal(taught[2:], swapped)
        target = combined(said(2.0, swapped).softmax(1), said(3.0, swapped).softmax(1))
    logits = said(1.0, taught[2:])
    expected = 2 * masked_cross_entropy(logits, target.label, target.confidence >= 0.6)
    torch.testing.assert_close(found["pseudo"], expected)
    image, truth = given["labelled"].image[:, 0], given["labelled"].truth
    supervised = region_loss(said(1.0, image), truth, torch.ones_like(truth))
    torch.testing.assert_close(found["supervised"], supervised)


def test_boxes_mix_all_that_is_known_of_their_voxels():
    """Property 6: the same box and donor for label, confidence and conflict."""
    label = torch.arange(2 * 4 * 4 * 4).reshape(2, 4, 4, 4)
    mixture = Mixture([1, 0], [(slice(0, 2), slice(1, 3), slice(0, 4))] * 2)
    mixed = Pseudo(label, label.double(), label > 70).mixed(mixture)
    expected = mixture.apply(label[:, None])[:, 0]
    assert torch.equal(mixed.label, expected)
    assert torch.equal(mixed.confidence, expected.double())
    assert torch.equal(mixed.conflict, expected > 70)


def test_the_student_overrules_at_the_same_place_or_as_released(build):
    """Quirk 1: as released, a label of another place may be taken in a pasted box."""
    said = Pseudo(
        torch.zeros(2, 2, 1, 1, dtype=torch.long),
        torch.full((2, 2, 1, 1), 0.6),
        torch.tensor([[True, True], [False, False]]).reshape(2, 2, 1, 1),
    )
    own = torch.tensor([[0.1, 0.9], [0.8, 0.2]])[:, :, None, None, None].expand(2, 2, 2, 1, 1)
    mixture = Mixture([1, 0], [(slice(0, 1), slice(0, 1), slice(0, 1))] * 2)
    aligned = build("ad_mt", overrule="aligned")._target(said, own, mixture)
    # Item 0 says class 1 for itself; its first voxel went to item 1 and came from there.
    assert aligned.label.flatten().tolist() == [0, 1, 1, 0]
    released = build("ad_mt", overrule="released")._target(said, own, mixture)
    assert released.label.flatten().tolist() == [0, 1, 0, 0]
    never = build("ad_mt", overrule="never")._target(said, own, mixture)
    assert not never.label.any()


def test_where_teachers_agree_or_nothing_overrules_the_student_has_no_say(build, batches, terms):
    """Property 2."""
    said = combined(voxels((0.7, 0.3)), voxels((0.6, 0.4)))
    assert said.overruled(voxels((0.01, 0.99))).label.item() == 0


def test_nothing_sure_enough_leaves_supervised_training(build, batches, terms):
    """Property 4."""
    found = []
    for settings in ({"threshold": 1.1}, {"weight": 0.0, "threshold": 0.0}):
        method = build("ad_mt", **(AT_FULL_WEIGHT | settings))
        assert terms(method, batches(), **FULL)["pseudo"].item() == 0
        found.append(gradient(method, batches(), terms))
    assert torch.equal(*found)
    method = build("ad_mt")
    method.zero_grad()
    given = batches()["labelled"]
    logits = method.student(given.image[:, 0])
    region_loss(logits, given.truth, torch.ones_like(given.truth)).backward()
    plain = torch.cat([p.grad.flatten() for p in method.student.parameters()])
    torch.testing.assert_close(found[0], plain)


def test_only_the_student_is_trained(build, batches, terms):
    method = build("ad_mt", norm="batch", dropout=0.5)
    sum(terms(method, batches(), **FULL).values()).backward()
    assert all(p.grad is not None for p in method.student.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.teachers.parameters())
    assert list(method.networks()) == [method.student]


@pytest.mark.parametrize(
    ("who", "members"),
    [("student", (0,)), ("teacher_1", (1,)), ("teacher_2", (2,)), ("teachers", (1, 2))],
)
def test_who_answers_is_a_choice(build, who, members):
    method = build("ad_mt", predictor=who)
    networks = [method.student, *method.teachers]
    assert list(method.predictor().members) == [networks[index] for index in members]
