"""UniMatch (Yang et al. 2023, V2 2025): numbers and properties of its sheet."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.methods.ema import teacher_decay, update_ema
from medssl.methods.method import Progress
from medssl.methods.segment.features import channels_kept, complementary
from medssl.methods.segment.losses import region_loss
from medssl.methods.segment.unimatch import EMPTY, box_sides, draw_box
from medssl.methods.settings.unimatch import CutMix, Settings
from medssl.networks.encoder_decoder import Features, divide
from medssl.networks.encoder_search import find_parts
from medssl.pipeline.config import load_config

EVERY_VOXEL = {"threshold": 0.0}
UNCHANGED = {"field": {"probability": 0}, "blur": {"probability": 0}}
NO_FEATURES = {"features": {"kind": "none"}, "feature_weight": 0.0}


CPU = torch.device("cpu")


def column(values: list[float]) -> Tensor:
    """Logits [1, 2, n, 1, 1] whose foreground has these probabilities."""
    p = torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1, 1, 1)
    return torch.cat([1 - p, p], dim=1).log()


def gradient(method, given, terms, names=None) -> Tensor:
    method.zero_grad()
    found = terms(method, given)
    sum(value for name, value in found.items() if names is None or name in names).backward()
    return torch.cat([p.grad.flatten() for p in method.student.parameters()])


class Recorded(nn.Module):
    """A network of one encoder level and a head; remembers images, modes and gradients kept."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = Level(), nn.Conv3d(4, 2, 1)
        self.met: list[tuple[Tensor, bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(image)[0])
        self.met.append((image.detach(), self.training, logits.requires_grad))
        return logits


class Level(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv3d(1, 4, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.map(image)]


@pytest.fixture
def recorded(build):
    def make(**settings):
        method = build("unimatch", **settings)
        torch.manual_seed(0)
        method.student = Recorded()
        divide(method.student, find_parts(method.student, 1, (8, 8, 8)))
        method.student.double()
        method.teacher = copy.deepcopy(method.student).requires_grad_(False)
        return method.train()

    return make


@pytest.mark.parametrize(
    ("loss", "values", "total"),
    [
        ("cross_entropy", (0.24321527, 0.17129475, 0.09494934), 0.22555109),
        ("dice", (0.11818996, 0.05837521, 0.02288024), 0.17779071),
    ],
)
def test_both_forms_by_hand(build, loss, values, total):
    """Sheet section 7, example 1: four voxels, of which three are sure."""
    confidence = torch.tensor([0.99, 0.96, 0.7, 0.98]).reshape(1, 4, 1, 1)
    label = torch.tensor([1, 0, 1, 1]).reshape(1, 4, 1, 1)
    answers = [[0.9, 0.3, 0.2, 0.6], [0.8, 0.1, 0.9, 0.7], [0.95, 0.2, 0.5, 0.9]]
    method = build("unimatch", loss=loss)
    found = [method._taught([column(one)], label, confidence).item() for one in answers]
    assert found == pytest.approx(values, abs=5e-9)
    chosen = method.settings
    weights = (*chosen.strong_weights, chosen.feature_weight)
    unsupervised = sum(a * b for a, b in zip(weights, found, strict=True))
    assert chosen.weight * (0.3 + unsupervised) == pytest.approx(total, abs=5e-9)


def test_unsure_voxels_leave_dice_and_dilute_cross_entropy(build):
    """Property 5."""
    few, many = [0.9, 0.3], [0.9, 0.3, 0.4, 0.6, 0.2, 0.5]
    for loss, factor in (("dice", 1.0), ("cross_entropy", 1 / 3)):
        method, found = build("unimatch", loss=loss), []
        for answers in (few, many):
            shape = (1, len(answers), 1, 1)
            sure = torch.zeros(shape)
            sure[:, :2] = 1
            label = torch.zeros(shape, dtype=torch.long)
            label[:, 0] = 1
            found.append(method._taught([column(answers)], label, sure).item())
        assert found[1] == pytest.approx(factor * found[0])


@pytest.mark.parametrize(
    ("shape", "share", "ratio", "sides"),
    [
        ((112, 112, 80), 0.1, 1.0, (46, 46, 46)),
        ((112, 112, 80), 0.4, 0.3, (110, 49, 73)),
        ((112, 112, 80), 0.1, 2.0, (36, 58, 46)),
        ((256, 256, 1), 0.1, 1.0, (80, 80, 1)),
    ],
)
def test_sides_of_boxes_by_hand(shape, share, ratio, sides):
    """Sheet section 7, example 3."""
    assert box_sides(shape, share, ratio) == sides


def test_boxes_fit_three_unequal_sides_and_hold_a_fifth_on_average():
    """Property 4, and quirk 2: 0.206 of the patch where no side is cut by mistake."""
    rng, shape = np.random.default_rng(0), (112, 112, 80)
    boxes = [draw_box(shape, CutMix(probability=1), rng) for _ in range(2000)]
    for box in boxes:
        assert all(0 <= one.start < one.stop <= side for one, side in zip(box, shape, strict=True))
    share = np.mean([np.prod([one.stop - one.start for one in box]) for box in boxes])
    assert share / np.prod(shape) == pytest.approx(0.206, abs=0.006)
    reached = [max(box[axis].stop for box in boxes) for axis in range(3)]
    assert all(far > 0.97 * side for far, side in zip(reached, shape, strict=True))


def test_a_box_is_left_out_with_half_a_chance_and_fits_the_flattest_patch():
    rng = np.random.default_rng(0)
    drawn = [draw_box((16, 16, 16), CutMix(), rng) == EMPTY for _ in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)
    for shape in ((64, 64, 2), (16, 16, 1)):
        box = draw_box(shape, CutMix(probability=1), rng)
        assert all(0 <= one.start < one.stop <= side for one, side in zip(box, shape, strict=True))


def test_complementary_views_by_hand():
    """Sheet section 7, example 4, and property 1: their mean is the features; half stay whole."""
    features = torch.tensor([1.0, 2, 3, 4]).double().reshape(1, 4, 1, 1, 1)
    factors = complementary((2, 4, 1, 1, 1), torch.Generator().manual_seed(0), CPU)
    first, second = (factors * features).flatten(1)
    torch.testing.assert_close((first + second) / 2, features.flatten())
    assert all(value in (0.0, 2 * n) for n, value in enumerate(first.tolist(), start=1))
    many = complementary((2 * 40, 8, 1, 1, 1), torch.Generator().manual_seed(0), CPU)
    whole = (many[:40] == 1).flatten(1).all(1)
    assert whole.sum() == 20


def test_dropped_channels_are_whole_and_the_others_make_up_for_them():
    g = torch.Generator().manual_seed(0)
    found = channels_kept((200, 8, 2, 2, 2), 0.25, g, CPU)
    assert found.shape == (200, 8, 1, 1, 1)
    assert {round(value, 5) for value in found.unique().tolist()} == {0.0, round(4 / 3, 5)}
    assert (found == 0).double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_the_average_of_v2_by_hand():
    """Sheet section 7, example 4, with t = step - 1."""
    found = [teacher_decay(t, Settings().decay) for t in (0, 1, 9, 249, 3000)]
    assert found == pytest.approx([0, 0.5, 0.9, 0.996, 0.996])


def test_passes_of_a_step(recorded, batches, terms):
    """Sheet section 2: m in evaluation mode without gradient, x and u, both strong views."""
    method, given = recorded(), batches()
    terms(method, given)
    image = given["labelled"].image[:, 0]
    u, m = given["unlabelled"].image[:, 0].split(1)
    first, labels, strong = method.student.met
    assert torch.equal(first[0], torch.cat([image, u, u]))  # u with perturbed features as well
    assert first[1:] == (True, True)
    assert torch.equal(labels[0], m)
    assert labels[1:] == (False, False)
    assert len(strong[0]) == 2
    assert strong[1:] == (True, True)
    assert not torch.equal(strong[0][0], strong[0][1])
    assert not any(torch.equal(view, u[0]) for view in strong[0])
    assert method.student.training


def test_passes_of_v2(recorded, batches, terms):
    """Sheet section 3: the teacher labels in evaluation mode; x, then both strong views."""
    method, given = recorded(**Settings.presets["unimatch_v2"]), batches()
    terms(method, given)
    ((weak, training, _),) = method.teacher.met
    assert torch.equal(weak, given["unlabelled"].image[:, 0])
    assert not training
    images, strong = method.student.met
    assert torch.equal(images[0], given["labelled"].image[:, 0])
    assert len(strong[0]) == 4


PLAIN_VIEWS = {"strong": UNCHANGED, "cutmix": {"probability": 0.0}}


def test_terms_by_hand(recorded, batches, terms):
    """Without strong changes, boxes and dropout every stream answers as the weak view does."""
    settings = {"features": {"dropout": 0.0}, **PLAIN_VIEWS, **EVERY_VOXEL}
    method, given = recorded(**settings), batches()
    found = terms(method, given)
    labelled, u = given["labelled"], given["unlabelled"].image[:1, 0]
    everywhere = torch.ones_like(labelled.truth)
    truth = region_loss(method.student(labelled.image[:, 0]), labelled.truth, everywhere)
    logits = method.student(u)
    label, sure = logits.argmax(1), torch.ones(1, 8, 8, 8)
    own = method._taught([logits], label, sure)  # property 1
    expected = {
        "supervised": truth / 2,
        "strong_1": own / 8,
        "strong_2": own / 8,
        "features": own / 4,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_boxes_are_pasted_in_image_label_and_confidence_alike(recorded, batches):
    """Property 4: the strong pass sees u with a box of m; so does what it is taught."""
    method, given = (
        recorded(strong=UNCHANGED, cutmix={"probability": 1.0}, **NO_FEATURES),
        batches(),
    )
    u, m = given["unlabelled"].image[:, 0].split(1)
    taught: list[tuple[Tensor, Tensor]] = []
    method._taught = lambda heads, label, confidence: (
        taught.append((label, confidence)) or (heads[0].sum())
    )
    method(given, Progress(1, 100), torch.Generator().manual_seed(0))
    views = method.student.met[-1][0]
    for view, (label, confidence) in zip(views.split(1), taught, strict=True):
        box = view == m
        assert 0 < box.double().mean() < 1
        assert torch.equal(view, torch.where(box, m, u))
        known = method.student(view).softmax(1).max(1)
        assert torch.equal(label, known.indices)  # a network of one voxel's reach
        torch.testing.assert_close(confidence, known.values)


def test_the_batch_in_reverse_is_pasted_without_another_pass(recorded, batches):
    method = recorded(
        strong=UNCHANGED, cutmix={"probability": 1.0, "partner": "reversed"}, **NO_FEATURES
    )
    given = batches()
    method(given, Progress(1, 100), torch.Generator().manual_seed(0))
    weak = given["unlabelled"].image[:, 0]
    assert [len(image) for image, _, _ in method.student.met] == [4, 4]
    for views in method.student.met[1][0].split(2):
        box = views == weak.flip(0)
        assert torch.equal(views, torch.where(box, weak.flip(0), weak))
        assert box.any()


def test_nothing_sure_leaves_half_the_supervised_gradient(build, batches, terms):
    """Property 2."""
    given, method = batches(), build("unimatch", threshold=1.1)
    found = gradient(method, given, terms)
    assert all(value == 0 for name, value in terms(method, given).items() if name != "supervised")
    method.zero_grad()
    logits = method.student(given["labelled"].image[:, 0])
    (region_loss(logits, given["labelled"].truth, torch.ones(2, 8, 8, 8)) / 2).backward()
    plain = torch.cat([p.grad.flatten() for p in method.student.parameters()])
    torch.testing.assert_close(found, plain)


def test_no_gradient_comes_through_labels(build, batches, terms):
    """Property 3: weak views teach by the perturbed stream's encoder alone."""
    settings = {**EVERY_VOXEL, "feature_weight": 0.0}
    method, given = build("unimatch", **settings), batches()
    found = gradient(method, given, terms, ["supervised"])
    other = batches()
    other["unlabelled"].image *= 2
    assert torch.equal(gradient(method, other, terms, ["supervised"]), found)
    constant = build("unimatch", train_mode=False, **settings)
    for names in (["strong_1"], ["strong_2"]):
        # Labels of a separate pass without gradient teach the same: nothing came through them.
        torch.testing.assert_close(
            gradient(constant, given, terms, names), gradient(method, given, terms, names)
        )


def test_features_without_dropout_are_the_plain_ones_and_the_hook_goes(build, batches):
    """Property 1 and 6: evaluation knows nothing of the perturbations."""
    for norm in ("instance", "batch"):
        method = build("unimatch", features={"dropout": 0.0}, norm=norm)
        image = batches()["labelled"].image[:, 0]
        g = torch.Generator().manual_seed(0)
        _, plain, perturbed = method._weak_pass(image, image + 1, g)
        torch.testing.assert_close(plain, perturbed)
        dropped = build("unimatch", norm=norm)
        assert len(dropped.student(image)) == 2
        _, plain, perturbed = dropped._weak_pass(image, image + 1, g)
        assert not torch.allclose(plain, perturbed)


def test_only_the_deepest_levels_may_be_perturbed(build):
    def of(maps):
        return Features(torch.ones(len(maps[0]), 1, 2, 2, 2), maps, [], {})

    maps = [torch.ones(3, 4, 2, 2, 2), torch.ones(3, 8, 1, 1, 1)]
    method = build("unimatch", features={"levels": 1})
    image, (fine, deep), *_ = method._widened(of(maps), 2, torch.Generator().manual_seed(0))
    assert len(image) == 4
    assert torch.equal(fine, torch.ones(4, 4, 2, 2, 2))
    assert torch.equal(deep[:3], maps[1])
    assert set(deep[3].unique().tolist()) == {0.0, 2.0}
    both = build("unimatch", features={"levels": 1, "kind": "complementary"})
    g = torch.Generator().manual_seed(0)
    _, (fine, deep), *_ = both._split(of([one[:2] for one in maps]), g)
    assert torch.equal(fine, maps[0][:2])
    assert set(deep.unique().tolist()) == {0.0, 2.0}


def test_only_the_student_is_trained(build, batches, terms):
    for preset in Settings.presets.values():
        method = build("unimatch", norm="batch", dropout=0.5, **preset)
        sum(terms(method, batches()).values()).backward()
        assert all(p.grad is not None for p in method.student.parameters())
        assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())


def test_the_teacher_is_the_student_after_the_first_step(build):
    method = build("unimatch")
    update_ema(method.student, build("unimatch", seed=1).student, 0.0)
    method.after_step(Progress(1, 100))
    pairs = zip(method.student.parameters(), method.teacher.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("who", "names"),
    [("student", ["student"]), ("teacher", ["teacher"]), ("both", ["student", "teacher"])],
)
def test_who_answers_is_a_choice(build, who, names):
    method = build("unimatch", predictor=who)
    assert list(method.predictor().members) == [getattr(method, name) for name in names]


def test_what_cannot_be_halved_is_refused():
    with pytest.raises(UsageError, match=r"cannot halve train\.batch_unlabelled=3"):
        load_config("hippocampus", ["method=unimatch", "train.batch_unlabelled=3"])


def test_pseudo_labels_may_start_later(build, batches, terms):
    method, given = build("unimatch", start=0.05), batches()
    early, late = (terms(method, given, step=step) for step in (5, 6))
    assert early.keys() == {"supervised"}
    assert len(late) == 4
    torch.testing.assert_close(early["supervised"], late["supervised"])
