"""Tri-training, with and without disagreement: numbers and checks of their sheet."""

import numpy as np
import pytest
import torch
from torch import Tensor

from medssl.methods.method import LabelledCase, Progress
from medssl.methods.segment.losses import masked_cross_entropy, region_loss, supervised_loss
from medssl.methods.segment.tri_training import accepted_size, agreement, bootstrap, mean_dice

LATE = {"step": 490, "steps": 500}
FOUR = tuple(LabelledCase(f"labelled{n}", f"p{n}", (0, 1)) for n in range(4))
A, B, C = 0, 1, 2


def voxels(*values: int) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


def weights(network) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def taught(labels, member, disagreement) -> dict[int, int]:
    """What a member learns: class by voxel, counted from 1."""
    label, mask = agreement(labels, member, disagreement)
    return {n: int(label[0, n - 1]) for n in range(1, label.numel() + 1) if mask[0, n - 1]}


def test_who_teaches_what_by_hand():
    """Sheet section 2, example 1."""
    said = [voxels(A, A, B, C), voxels(A, B, B, A), voxels(B, B, B, C)]
    assert [taught(said, member, False) for member in range(3)] == [
        {2: B, 3: B},
        {3: B, 4: C},
        {1: A, 3: B},
    ]
    assert [taught(said, member, True) for member in range(3)] == [{2: B}, {4: C}, {1: A}]


def test_sizes_by_hand():
    """Sheet section 2, examples 2 and 3."""
    assert accepted_size(0.2, 0.5, 0, 10) == 2
    assert accepted_size(0.1, 0.2, 2, 10) == 3
    assert accepted_size(0.0, 0.5, 0, 10) == 10
    assert accepted_size(0.0, 0.0, 10, 12) == 0
    assert accepted_size(0.3, 0.2, 2, 10) == 0


def test_properties_of_the_masks():
    """Checks 2 to 4."""
    g = torch.Generator().manual_seed(0)
    said = [torch.randint(3, (2, 6, 6, 6), generator=g) for _ in range(3)]
    masks = [[agreement(said, member, odd)[1] for member in range(3)] for odd in (False, True)]
    for tri, disagreeing in zip(*masks, strict=True):
        assert bool((tri | ~disagreeing).all())
    kinds = torch.stack(said)
    same = [(kinds[a] == kinds[b]) for a, b in ((1, 2), (0, 2), (0, 1))]
    pairs = torch.stack(same).sum(0)
    assert torch.equal(torch.stack(masks[1]).any(0), pairs == 1)
    tied = pairs == 0
    assert tied.any()
    assert not (torch.stack(masks[0]).any(0) & tied).any()
    equal = [said[0]] * 3
    assert all(bool(agreement(equal, member, False)[1].all()) for member in range(3))
    assert not any(bool(agreement(equal, member, True)[1].any()) for member in range(3))


def test_a_poisoned_member_is_taught_what_was_flipped():
    """Check 9: a third of a class turned into another comes back as a lesson."""
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (1, 10, 10, 10), generator=g)
    noisy = [torch.where(torch.rand(truth.shape, generator=g) < 0.01, 0, truth) for _ in range(3)]
    flipped = (truth == 2) & (torch.rand(truth.shape, generator=g) < 0.3)
    noisy[0] = torch.where(flipped, 1, noisy[0])
    label, mask = agreement(noisy, 0, True)
    assert (label[mask] == 2).double().mean() > 0.8


def test_mean_dice_skips_classes_that_neither_finds():
    one, other = voxels(1, 1, 0, 0), voxels(1, 0, 0, 0)
    everywhere = torch.ones_like(one, dtype=torch.bool)
    assert mean_dice(one, other, everywhere, 4).tolist() == pytest.approx([2 / 3])
    none = torch.zeros_like(one)
    assert mean_dice(none, none, everywhere, 4).tolist() == [1.0]
    assert mean_dice(one, other, one == other, 4).tolist() == [1.0]


def test_a_bootstrap_draws_patients_and_holds_every_class():
    """Check 6, and section 3, rule 1."""
    cases = tuple(LabelledCase(f"c{n}", f"p{n // 2}", (0, 1)) for n in range(12))
    counts = bootstrap(cases, np.random.default_rng(0))
    assert sum(counts) == 12
    assert counts[::2] == counts[1::2]
    assert 0 in counts
    rare = (*FOUR, LabelledCase("rare", "p9", (0, 2)))
    assert all(bootstrap(rare, np.random.default_rng(n))[-1] for n in range(20))


def test_a_class_that_needs_every_patient_keeps_them_all():
    cases = tuple(LabelledCase(f"c{n}", f"p{n}", (0, n)) for n in range(20))
    assert set(bootstrap(cases, np.random.default_rng(0))) == {1}


def test_the_first_round_weighs_items_as_often_as_they_were_drawn(build, batches, terms):
    method, given = build("tri_training", labelled=FOUR), batches()
    method.bags[0] = torch.tensor([3, 0, 1, 0])
    found = terms(method, given, parts=[0], step=1, steps=500)
    row = given["labelled"].image[:1, 0]
    expected = 3 * supervised_loss(method.members[0](row), given["labelled"].truth[:1]) / 2
    assert found.keys() == {"supervised_1"}
    torch.testing.assert_close(found["supervised_1"], expected)
    later = terms(method, given, parts=[0], **LATE)["supervised_1"]
    logits = method.members[0](given["labelled"].image[:, 0])
    torch.testing.assert_close(later, supervised_loss(logits, given["labelled"].truth))


@pytest.mark.parametrize("name", ["tri_training", "tri_training_with_disagreement"])
def test_terms_by_hand(build, batches, terms, name):
    """Dice and cross-entropy where two agree; no Dice where the third disagrees with them."""
    method, given = build(name, gate=0.0, agreed_share=0.0), batches()
    found = terms(method, given, **LATE)
    image = given["unlabelled"].image[:, 0]
    labels = [teacher.eval()(image).argmax(1) for teacher in method.teachers]
    odd = name.endswith("disagreement")
    for part in range(3):
        logits = method.members[part](image)
        loss = masked_cross_entropy if odd else region_loss
        expected = loss(logits, *agreement(labels, part, odd))
        assert expected > 0
        torch.testing.assert_close(found[f"pseudo_{part + 1}"], expected)


def test_equal_teachers_teach_everything_or_nothing(build, batches, terms):
    """Check 2: with disagreement the loss is exactly 0, and no NaN."""
    for disagreement in (False, True):
        method = build("tri_training", disagreement=disagreement, agreed_share=0.0)
        for teacher in method.teachers:
            teacher.load_state_dict(method.teachers[0].state_dict())
        found = terms(method, batches(), parts=[1], **LATE)["pseudo_2"].item()
        assert (found == 0) == disagreement


def test_a_share_of_what_all_say_holds_the_inside(build, batches):
    method = build("tri_training_with_disagreement", agreed_share=0.1, patch=(8, 8, 8))
    for teacher in method.teachers:
        teacher.load_state_dict(method.teachers[0].state_dict())
    image = batches()["unlabelled"].image[:, 0]
    _, mask = method._taught(image, 0, torch.Generator().manual_seed(0))
    assert mask.double().mean().item() == pytest.approx(0.1, abs=0.03)


def test_a_patch_on_which_two_differ_much_teaches_nothing(build, batches, terms):
    method = build("tri_training", gate=1.0)
    assert terms(method, batches(), parts=[0], **LATE)["pseudo_1"].item() == 0


def test_errors_are_measured_out_of_both_bags(build, batches, terms):
    """Section 1, step 1: members 2 and 3 teach member 1; what they have not seen measures them."""
    method, given = build("tri_training", labelled=FOUR), batches()
    method.bags.copy_(torch.tensor([[1, 1, 2, 0], [0, 0, 4, 0], [0, 2, 1, 1]]))
    terms(method, given, step=402, steps=500)  # the second of five that measure
    assert method.errors[:, 0].tolist() == [1, 0, 0]
    image, truth = given["labelled"].image[:1, 0], given["labelled"].truth[:1]
    labels = [teacher.eval()(image).argmax(1) for teacher in method.teachers]
    said, agreed = agreement(labels, 0, False)
    expected = 1 - mean_dice(said, truth, agreed, 2).item()
    assert method.errors[0, 1].item() == pytest.approx(expected)


def test_a_member_learns_unless_its_teachers_err_more_than_before(build):
    method = build("tri_training", labelled=FOUR)
    before = weights(method.members[0])
    # Errors 0.2 of 4 patches, 10 agreed on; then 0.4, far above one standard error.
    method.errors[0] = torch.tensor([4, 0.8, 0.17, 10])
    assert method._decide(0) == 1.0
    assert method.last[0].tolist() == pytest.approx([0.2, 10])
    method.errors[0] = torch.tensor([4, 1.6, 0.65, 10])
    assert method._decide(0) == 0.0
    method.errors[0] = torch.tensor([4, 0.82, 0.25, 10])
    assert method._decide(0) == 1.0  # within one standard error
    method.errors[0] = 0
    assert method._decide(0) == 1.0  # nobody to measure on
    method.errors[0] = torch.tensor([4, 2.0, 1.0, 10])
    with torch.no_grad():
        for parameter in method.members[0].parameters():
            parameter.add_(1.0)
    method.after_step(Progress(405, 500))
    assert torch.equal(weights(method.members[0]), before)  # as its teacher, left as it was
    assert method.used.tolist() == [0, 1, 1]


def test_many_cases_out_of_bag_are_counted_exactly(build):
    """Section 3, rule 4: with 30 or more the rule of sizes decides."""
    cases = tuple(LabelledCase(f"c{n}", f"p{n}", (0, 1)) for n in range(30))
    method = build("tri_training", labelled=cases)
    method.bags.zero_()
    method.errors[0] = torch.tensor([30, 6.0, 2, 10])
    assert method._decide(0) == pytest.approx(0.2)  # two of ten, as in example 2


def test_no_gradient_outside_the_mask_and_none_into_teachers(build, batches, terms):
    """Check 5."""
    method = build("tri_training", gate=0.0, dropout=0.5, norm="batch")
    for part in range(3):
        sum(terms(method, batches(), parts=[part], **LATE).values()).backward()
    assert all(p.grad is None for p in method.teachers.parameters())
    assert all(p.grad is not None for p in method.members.parameters())
    logits = torch.randn(1, 2, 2, 2, 2, requires_grad=True)
    mask = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    mask[0, 0] = True
    region_loss(logits, torch.ones(1, 2, 2, 2), mask).backward()
    assert not logits.grad[:, :, 1].any()


def test_all_three_answer(build):
    method = build("tri_training")
    assert list(method.predictor().members) == list(method.members)
    assert method.parts == 3
