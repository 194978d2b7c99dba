"""MutexMatch against its sheet; `check_N` is number N of its section 8."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from medssl.data.radiograph.augment import random_view
from medssl.methods.grade.mutexmatch import negative_loss, positive_loss, separation_loss, sure
from medssl.methods.method import Progress
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.update import make_update


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


Z_WEAK, Z_STRONG = row(2, 0.5, 0, -1, 0), row(1, 1, 0, -1, 0)
R_WEAK, R_STRONG = row(-1, 0.2, 0.5, 1, 0.1), row(-0.5, 0, 0.4, 0.8, 0.2)


def logits(rows: int = 6, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, 5, generator=g, dtype=torch.float64)


def step_once(method, given, learning_rate=0.1) -> None:
    optimiser = OptimiserSettings(
        learning_rate=learning_rate, momentum=0, weight_decay=0, schedule="constant"
    )
    update = make_update(method, LoopSettings(optimiser=optimiser), 0, torch.device("cpu"))
    update({key: given[key] for key in method.streams}, Progress(1, 10))


def test_check_1_the_worked_example():
    assert Z_WEAK.softmax(1).max().item() == pytest.approx(0.6478413, abs=1e-7)
    assert (Z_WEAK.argmax().item(), Z_WEAK.argmin().item()) == (0, 3)
    assert not sure(Z_WEAK, 0.95).any()
    whole = negative_loss(R_STRONG, R_WEAK, Z_WEAK, 0.95, 5).item()
    assert whole == pytest.approx(1.4721442, abs=1e-7)
    assert R_WEAK.softmax(1).topk(3).values.sum().item() == pytest.approx(0.7913957, abs=1e-7)
    cut = negative_loss(R_STRONG, R_WEAK, Z_WEAK, 0.95, 3).item()
    assert cut == pytest.approx(1.1060184, abs=1e-7)
    assert separation_loss(R_WEAK, Z_WEAK).item() == pytest.approx(0.9546513, abs=1e-7)
    assert positive_loss(Z_STRONG, Z_WEAK, 0.5).item() == pytest.approx(1.0546932, abs=1e-7)
    assert negative_loss(R_STRONG, R_WEAK, Z_WEAK, 0.5, 5).item() == 0
    assert positive_loss(Z_STRONG, Z_WEAK, 0.95).item() == 0


def test_check_2_every_row_is_sure_or_not():
    """tau 0 leaves FixMatch and L_sep, tau above 1 no positive term."""
    weak, strong = logits(), logits(seed=1)
    assert negative_loss(strong, weak, weak, 0.0, 0).item() == 0
    assert positive_loss(strong, weak, 0.0).item() == pytest.approx(
        cross_entropy(strong, weak.argmax(1)).item()
    )
    assert positive_loss(strong, weak, 1.1).item() == 0
    split = sure(weak, 0.6)
    assert 0 < split.sum() < 6
    each = cross_entropy(strong, weak.argmax(1), reduction="none")
    assert positive_loss(strong, weak, 0.6).item() == pytest.approx(each[split].sum().item() / 6)


def test_check_3_what_each_term_reaches(build, batches, terms):
    method, given = build("mutexmatch", threshold=1.1), batches()
    parts = {
        "encoder": list(method.network.encoder.parameters()),
        "head": list(method.network.head.parameters()),
        "negative": list(method.negative.parameters()),
    }
    reached = {}
    for term in ("separation", "negative"):
        method.zero_grad()
        terms(method, given)[term].backward()
        reached[term] = {
            name
            for name, parameters in parts.items()
            if any(p.grad is not None and p.grad.abs().max() > 0 for p in parameters)
        }
    assert reached == {"separation": {"negative"}, "negative": {"encoder", "negative"}}


def test_check_3_targets_get_no_gradient():
    weak = logits().requires_grad_()
    strong = logits(seed=1).requires_grad_()
    loss = positive_loss(strong, weak, 0.0) + negative_loss(strong, weak, weak, 1.1, 0)
    (loss + separation_loss(strong, weak)).backward()
    assert weak.grad is None
    assert strong.grad.abs().max() > 0


def test_check_4_without_weight_encoder_and_head_follow_supervised_training(build, batches):
    given = batches()
    method = build("mutexmatch", weight=0.0)
    plain = build("supervised_grading")
    plain.augment = method.weak
    before = method.negative.weight.clone()
    for one in (method, plain):
        step_once(one, given)
    for own, other in zip(method.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    assert not torch.equal(method.negative.weight, before)


def test_check_5_equal_views_cost_the_entropy_of_the_target():
    negative, weak = logits(), logits(seed=1)
    target = negative.softmax(1)
    strong = negative.clone().requires_grad_()
    loss = negative_loss(strong, negative, weak, 0.6, 0)
    unsure = ~sure(weak, 0.6)
    entropy = -(target * target.log()).sum(1)
    assert loss.item() == pytest.approx((entropy * unsure).mean().item())
    loss.backward()
    assert strong.grad.abs().max().item() == pytest.approx(0, abs=1e-12)


def test_check_6_all_and_none_are_alike_and_one_keeps_the_favourite():
    strong, weak, z = logits(), logits(seed=1), logits(seed=2)
    assert torch.equal(
        negative_loss(strong, weak, z, 1.1, 0), negative_loss(strong, weak, z, 1.1, 5)
    )
    favourite = weak.argmax(1, keepdim=True)
    own = strong.gather(1, favourite)
    share = weak.softmax(1).gather(1, favourite)
    expected = (share * (torch.log(own.exp() + 4) - own)).mean()  # four removed ones count 1 each
    torch.testing.assert_close(negative_loss(strong, weak, z, 1.1, 1), expected)


def test_check_7_the_second_head_learns_the_least_likely_grade():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(200, 16, generator=g)
    known = features @ torch.randn(16, 5, generator=g)
    head = torch.nn.Linear(16, 5)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        separation_loss(head(features), known).backward()
        optimiser.step()
    assert (head(features).argmax(1) == known.argmin(1)).float().mean() > 0.95


def test_check_8_the_average_after_one_step_and_what_answers(build, batches):
    method = build("mutexmatch")
    old = {name: value.clone() for name, value in method.network.state_dict().items()}
    step_once(method, batches())
    new, average = method.network.state_dict(), method.average.state_dict()
    for name, value in old.items():
        torch.testing.assert_close(average[name], 0.999 * value + 0.001 * new[name])
    assert method.predictor() is method.average
    assert not any("negative" in name for name in method.predictor().state_dict())
    assert not any(parameter.requires_grad for parameter in method.average.parameters())


def test_check_9_fixmatch_has_no_second_head(build, batches, terms):
    found = terms(build("mutexmatch", negative=False, threshold=0.0), batches())
    whole = terms(build("mutexmatch", threshold=0.0), batches())
    assert set(found) == {"supervised", "positive"}
    assert set(whole) == {"supervised", "positive", "separation", "negative"}
    assert all(torch.equal(found[name], whole[name]) for name in found)


def test_the_share_of_sure_answers_is_logged(build, batches, terms):
    for threshold, share in ((0.0, 1.0), (1.1, 0.0)):
        method = build("mutexmatch", threshold=threshold)
        assert method.monitor() == {}
        terms(method, batches())
        assert method.monitor()["sure"] == share


def test_labelled_images_are_seen_weakly(build, batches, terms):
    method, given = build("mutexmatch"), batches()
    found = terms(method, given)
    weak = random_view(given["labelled"].image, method.weak, torch.Generator().manual_seed(0))
    expected = cross_entropy(method.network(weak), given["labelled"].truth)
    torch.testing.assert_close(found["supervised"], expected)


def test_labels_of_unlabelled_images_change_nothing(build, batches, terms):
    method, given = build("mutexmatch", threshold=0.3), batches()
    leaky = {**given, "unlabelled": replace(given["unlabelled"], grade=torch.full((4,), -1))}
    one, other = (terms(method, batch) for batch in (given, leaky))
    assert all(torch.equal(one[name], other[name]) for name in one)
