"""Bidirectional copy-paste (Bai et al. 2023): numbers and properties of its sheet."""

import copy

import pytest
import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.methods.ema import update_ema
from medssl.methods.method import Progress
from medssl.methods.segment.bcp import LOSSES, draw_box, keep_largest, mix, pasted
from medssl.methods.segment.losses import masked_cross_entropy
from medssl.methods.settings.bcp import Settings
from medssl.pipeline.config import load_config

FIRST, SECOND = {"step": 1, "steps": 100}, {"step": 90, "steps": 100}
PLAIN = {"components": "none"}


def boxes(shape, number=200, share=2 / 3):
    g = torch.Generator().manual_seed(0)
    return [draw_box(shape, share, g) for _ in range(number)]


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def gradient(method, given, terms, **when) -> Tensor:
    method.zero_grad()
    sum(terms(method, given, **when).values()).backward()
    return torch.cat([p.grad.flatten() for p in method.student.parameters()])


class Watched(nn.Module):
    """Logits (0, image); remembers the images it met and whether it was training."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.met: list[tuple[Tensor, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.met.append((image.detach(), self.training))
        return torch.cat([torch.zeros_like(image), self.scale * image], dim=1)


@pytest.fixture
def watched(build):
    def make(**settings):
        method = build("bcp", **(PLAIN | settings))
        method.student, method.teacher = Watched(), Watched().requires_grad_(False)
        return method.train()

    return make


@pytest.mark.parametrize(
    ("patch", "box", "share"),
    [
        ((112, 112, 80), (74, 74, 53), 0.2892),
        ((96, 96, 96), (64, 64, 64), 0.2963),
        ((256, 256, 1), (170, 170, 1), 0.4410),
        ((32, 32, 16), (21, 21, 10), 0.2692),
    ],
)
def test_boxes_by_hand(patch, box, share):
    """Sheet section 2; a 2-D image, a volume of one slice, is cut in two axes."""
    found = boxes(patch, 400)
    assert {tuple(one.stop - one.start for one in drawn) for drawn in found} == {box}
    volume = torch.tensor(box).prod() / torch.tensor(patch).prod()
    assert volume.item() == pytest.approx(share, abs=5e-5)
    for axis in range(3):
        starts = {drawn[axis].start for drawn in found}
        last = max(0, patch[axis] - box[axis] - 1)
        assert (min(starts), max(starts)) == (0, last)


@pytest.mark.parametrize(
    ("outside_is_true", "loss"), [(True, 0.47392165), (False, 0.51119197)], ids=["xl", "xu"]
)
def test_region_loss_by_hand(build, outside_is_true, loss):
    """Sheet section 8, example 1: alpha 0.5 on the part with pseudo-labels."""
    logits = torch.tensor([[0, 1, -1, 0.5], [1, 0, 1, 0.5]], dtype=torch.float64)
    method = build("bcp")
    method.student = nn.Identity()
    image, target = logits.reshape(1, 2, 4, 1, 1), torch.tensor([1, 0, 1, 0]).reshape(1, 4, 1, 1)
    outside = torch.tensor([1, 1, 0, 0]).reshape(1, 4, 1, 1)
    true = outside if outside_is_true else 1 - outside
    found = method._loss(mix(image, target, true))
    assert found.item() == pytest.approx(loss, abs=5e-9)


def test_the_average_by_hand():
    """Sheet section 8, example 3: 100 steps of a student at 0."""
    teacher, student = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(teacher.weight)
    nn.init.zeros_(student.weight)
    for _ in range(100):
        update_ema(teacher, student, Settings().decay)
    assert teacher.weight.item() == pytest.approx(0.36603234, abs=5e-9)


def corners() -> Tensor:
    """Two touching voxels at a corner, three at the opposite one."""
    label = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
    for x, y in ((0, 0), (1, 1), (3, 3), (3, 2), (2, 3)):
        label[0, x, y] = 1
    return label


def test_components_by_hand():
    """Sheet section 8, example 4: over corners there are two parts, over faces three."""
    kept = keep_largest(corners(), "per_class", 26)
    assert {tuple(at) for at in kept[0, ..., 0].nonzero().tolist()} == {(3, 3), (3, 2), (2, 3)}
    kept = keep_largest(corners(), "per_class", 6)
    # Of (0, 0), (1, 1) and the three, over faces.
    assert {tuple(at) for at in kept[0, ..., 0].nonzero().tolist()} == {(3, 3), (3, 2), (2, 3)}
    tied = corners()
    tied[0, 3, 2] = tied[0, 2, 3] = 0
    assert keep_largest(tied, "per_class", 6)[0, ..., 0].nonzero().tolist() == [[0, 0]]


def test_the_component_filter_keeps_classes_apart_or_together():
    """Property 7: a subset, idempotent, empty stays empty."""
    label = torch.zeros(2, 6, 1, 1, dtype=torch.uint8)
    label[0, :, 0, 0] = torch.tensor([1, 0, 1, 2, 2, 2])
    apart = keep_largest(label, "per_class", 26)
    assert apart[0].flatten().tolist() == [1, 0, 0, 2, 2, 2]
    assert keep_largest(label, "foreground", 26)[0].flatten().tolist() == [0, 0, 1, 2, 2, 2]
    assert torch.equal(keep_largest(apart, "per_class", 26), apart)
    assert not apart[1].any()


def coordinates(offset: float) -> Tensor:
    """[1, 1, 8, 8, 8], every value different, and none in an image of another offset."""
    return torch.arange(512, dtype=torch.float64).reshape(1, 1, 8, 8, 8) + offset


def test_both_mixed_images_are_complementary_and_targets_follow(watched, batches, terms):
    """Property 1: outside of xl is a and of xu is q, inside p and b; inputs are not changed."""
    method, given = watched(), batches()
    given["labelled"].image = torch.cat([coordinates(1000), coordinates(2000)])[:, None]
    given["unlabelled"].image = torch.cat([coordinates(3000), coordinates(4000)])[:, None]
    before = copy.deepcopy(given)
    terms(method, given, **SECOND)
    (first, _), (second, _) = method.student.met
    inside = first // 1000 == 3
    assert inside.sum() == 5**3
    assert torch.equal(first, torch.where(inside, coordinates(3000), coordinates(1000)))
    assert torch.equal(second, torch.where(inside, coordinates(2000), coordinates(4000)))
    for kind in given:
        assert torch.equal(given[kind].image, before[kind].image)
    assert torch.equal(given["labelled"].truth, before["labelled"].truth)


def test_pseudo_labels_come_from_clean_images_in_two_passes_in_training_mode(
    watched, batches, terms
):
    method, given = watched(), batches()
    terms(method, given, **SECOND)
    images = given["unlabelled"].image[:, 0].split(1)
    for (image, training), clean in zip(method.teacher.met, images, strict=True):
        assert torch.equal(image, clean)
        assert training
    method = watched(train_mode=False)
    terms(method, given, **SECOND)
    assert [training for _, training in method.teacher.met] == [False, False]
    assert method.teacher.training


def test_terms_by_hand(watched, batches, terms):
    """Region by region, with labels of the teacher where an unlabelled patch is seen."""
    method, given = watched(), batches()
    found = terms(method, given, **SECOND)
    image, truth = given["labelled"].image[:, 0], given["labelled"].truth
    box = draw_box((8, 8, 8), 2 / 3, torch.Generator().manual_seed(0))
    p, q = given["unlabelled"].image[:, 0].split(1)
    outside = torch.ones(1, 8, 8, 8)
    outside[(..., *box)] = 0
    expected = {}
    for name, x, label, true in (
        ("labelled_outside", pasted(image[:1], p, box), pasted(truth[:1], p[0] > 0, box), outside),
        (
            "labelled_inside",
            pasted(q, image[1:], box),
            pasted(q[0] > 0, truth[1:], box),
            1 - outside,
        ),
    ):
        logits, loss = torch.cat([torch.zeros_like(x), x], 1), LOSSES["per_item"]
        expected[name] = loss(logits, label, true) + 0.5 * loss(logits, label, 1 - true)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_without_pseudo_weight_pseudo_labels_teach_nothing(build, batches, terms):
    """Property 2: then they may be anything, to the bit; with a weight they may not."""
    for weight, same in ((0.0, True), (0.5, False)):
        found = []
        for change in (1.0, -1.0):
            method = build("bcp", pseudo_weight=weight, **PLAIN)
            with torch.no_grad():
                for parameter in method.teacher.parameters():
                    parameter.mul_(change)
            found.append(gradient(method, batches(), terms, **SECOND))
        assert torch.equal(*found) == same


def test_regional_means_are_averaged_apart():
    """Property 3: with the truth as pseudo-label, CE is the mean of two regional means."""
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 8, 8, 8, generator=g, dtype=torch.float64)
    label = torch.randint(2, (1, 8, 8, 8), generator=g)
    region = torch.zeros(1, 8, 8, 8)
    region[:, :3] = 1
    whole = masked_cross_entropy(logits, label, torch.ones_like(region))
    apart = [masked_cross_entropy(logits, label, one) for one in (region, 1 - region)]
    torch.testing.assert_close(whole, 3 / 8 * apart[0] + 5 / 8 * apart[1])
    assert abs(whole - (apart[0] + apart[1]) / 2) > 1e-4


@pytest.mark.parametrize(("share", "outer"), [(0.0, True), (1.0, False)])
def test_boxes_of_nothing_and_of_all_leave_one_source_and_no_nan(
    build, batches, terms, share, outer
):
    """Property 4: M all ones or all zeros; without a box labels of a teach alone."""
    method, given = build("bcp", box=share, **PLAIN), batches()
    found = terms(method, given, **SECOND)
    image, truth = given["labelled"].image[:, 0], given["labelled"].truth
    row = slice(0, 1) if outer else slice(1, 2)
    name = "labelled_outside" if outer else "labelled_inside"
    everywhere = torch.ones_like(truth[row])
    supervised = LOSSES["per_item"](method.student(image[row]), truth[row], everywhere)
    torch.testing.assert_close(found[name], supervised)
    assert all(value.isfinite() for value in found.values())


def test_the_teacher_is_the_student_in_the_first_stage_and_follows_it_later(build):
    """Property 5; batch norm's statistics are the teacher's own in the second stage."""
    method = build("bcp", norm="batch")
    statistic = next(iter(method.student.buffers()))
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
        statistic.add_(1.0)
    method.after_step(Progress(11, 100))
    found = method.student.state_dict()
    assert all(torch.equal(one, found[key]) for key, one in method.teacher.state_dict().items())
    start = weights(method.student)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
        statistic.add_(1.0)
    method.after_step(Progress(51, 100))
    torch.testing.assert_close(weights(method.teacher), start + 0.01)
    assert torch.equal(next(iter(method.teacher.buffers())), statistic - 1)
    averaged = build("bcp", norm="batch", average_statistics=True)
    with torch.no_grad():
        next(iter(averaged.student.buffers())).add_(1.0)
    averaged.after_step(Progress(51, 100))
    moved = next(iter(averaged.teacher.buffers()))
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01))


def test_only_the_student_is_trained(build, batches, terms):
    method = build("bcp", norm="batch", dropout=0.5)
    sum(terms(method, batches(), **SECOND).values()).backward()
    assert all(p.grad is not None for p in method.student.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    assert list(method.networks()) == [method.student]


def test_labels_count_where_they_are_seen_alone(build, batches, terms):
    """Property 6: those of a outside the box and of b inside it."""
    box = draw_box((8, 8, 8), 2 / 3, torch.Generator().manual_seed(0))
    inside = torch.zeros(8, 8, 8, dtype=torch.bool)
    inside[box] = True
    method = build("bcp", **PLAIN)
    plain = gradient(method, batches(), terms, **SECOND)
    for row, where, matters in (
        (0, inside, False), (0, ~inside, True), (1, inside, True), (1, ~inside, False)
    ):  # fmt: skip
        given = batches()
        label = given["labelled"].label
        label[row] = torch.where(where, 1 - label[row], label[row])
        assert torch.equal(gradient(method, given, terms, **SECOND), plain) != matters


def test_the_first_stage_reads_labelled_patches_alone(build, batches, terms):
    """Property 8, and section 3: a outside the box, b inside, one direction."""
    method, given = build("bcp", **PLAIN), batches()
    for last, steps in ((2000, 17_000), (500, 1200), (150, 300)):
        assert method.is_first_stage(Progress(last, steps))
        assert not method.is_first_stage(Progress(last + 1, steps))
    found = terms(method, {"labelled": given["labelled"]}, **FIRST)
    box = draw_box((8, 8, 8), 2 / 3, torch.Generator().manual_seed(0))
    a, b = given["labelled"].image[:, 0].split(1)
    truth_a, truth_b = given["labelled"].truth.split(1)
    target = pasted(truth_a, truth_b, box)
    whole = torch.ones_like(target)
    expected = LOSSES["per_item"](method.student(pasted(a, b, box)), target, whole)
    assert found.keys() == {"copy_paste"}
    torch.testing.assert_close(found["copy_paste"], expected)


def test_the_first_stage_by_region_sums_both(build, batches, terms):
    method, given = build("bcp", first_loss="by_region", dice="pooled", **PLAIN), batches()
    found = terms(method, given, **FIRST)["copy_paste"]
    box = draw_box((8, 8, 8), 2 / 3, torch.Generator().manual_seed(0))
    a, b = given["labelled"].image[:, 0].split(1)
    target = pasted(*given["labelled"].truth.split(1), box)
    inside = torch.zeros_like(target)
    inside[(..., *box)] = 1
    logits = method.student(pasted(a, b, box))
    expected = sum(LOSSES["pooled"](logits, target, one) for one in (inside, 1 - inside))
    torch.testing.assert_close(found, expected)


def test_copy_paste_alone_asks_for_no_unlabelled_patches(build):
    assert build("bcp", first_stage=1.0).streams == ("labelled",)
    assert build("bcp").streams == ("labelled", "unlabelled")


@pytest.mark.parametrize(
    ("who", "names"),
    [("student", ["student"]), ("teacher", ["teacher"]), ("both", ["student", "teacher"])],
)
def test_who_answers_is_a_choice(build, who, names):
    method = build("bcp", predictor=who)
    assert list(method.predictor().members) == [getattr(method, name) for name in names]


@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (4, 2)])
def test_batches_that_cannot_be_halved_are_refused(sizes):
    labelled, unlabelled = sizes
    keys = [f"train.batch_labelled={labelled}", f"train.batch_unlabelled={unlabelled}"]
    with pytest.raises(UsageError, match="give both the same even number"):
        load_config("hippocampus", ["method=bcp", *keys])
