"""Options beyond the release: true labels in boxes, averages, strong views."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from medssl.methods.method import Progress
from medssl.methods.segment.cutmix import Mixture
from medssl.methods.segment.tracoco import certain_logits

PLAIN = {
    "noise": {"amplitude": 0},
    "translation": {"enabled": False},
    "unsupervised": {"weight": 1.0, "rampup_steps": 1},
}
LABELS = {"pseudo": {"kind": "cross_entropy"}}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_labels_as_logits_are_sure():
    label = torch.tensor([0, 2, 1]).reshape(1, 3, 1, 1)
    logits = certain_logits(label, torch.zeros(1, 3, 3, 1, 1))
    assert torch.equal(logits.argmax(1), label)
    assert torch.equal(logits.softmax(1).max(1).values, torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize("truth", [False, True])
def test_a_box_of_a_labelled_patch_may_bring_its_labels(build, batches, terms, monkeypatch, truth):
    """Rows 0 and 1 are labelled; both unlabelled ones get a box of row 0."""
    box = (slice(0, 4), slice(0, 8), slice(0, 8))
    method = build("tracoco", cutmix={"networks": [1], "truth": truth}, **PLAIN, **LABELS)
    monkeypatch.setattr(method, "_mixture", lambda *_: Mixture([0, 1, 0, 0], [box] * 4))
    given = batches()
    found = terms(method, given, parts=[0])["pseudo_1"]
    labelled, weak = (given[kind].image[:, 0] for kind in ("labelled", "unlabelled"))
    image, target = weak.clone(), method.pair[1](weak).argmax(1)
    image[:, :, :4] = labelled[0, :, :4]
    said = method.pair[1](labelled).argmax(1)
    target[:, :4] = given["labelled"].truth[0, :4] if truth else said[0, :4]
    torch.testing.assert_close(found, cross_entropy(method.pair[0](image), target))


def test_true_labels_of_boxes_are_those_of_labelled_patches_alone(build, batches, terms):
    method = build("tracoco", cutmix={"networks": [1, 2], "truth": True}, **PLAIN)
    plain, other = batches(), batches()
    other["unlabelled"].label = torch.full((2, 8, 8, 8), 1, dtype=torch.uint8)
    found = [{k: v.item() for k, v in terms(method, one).items()} for one in (plain, other)]
    assert found[0] == found[1]


def test_without_a_decay_there_are_no_averages(build):
    method = build("tracoco")
    assert not any("average" in name for name in method.state_dict())
    assert list(method.predictor().members) == list(method.pair)


def test_averages_follow_teach_and_predict(build, batches, terms):
    method = build("cps", average={"decay": 0.9}, norm="batch", **PLAIN)
    start = weights(method.averages)
    with torch.no_grad():
        for one in (*method.pair.parameters(), *method.pair.buffers()):
            one.add_(1)
    statistic = next(iter(method.pair.buffers())).clone()
    method.after_step(Progress(50, 100))
    torch.testing.assert_close(weights(method.averages), start + 0.1)
    torch.testing.assert_close(next(iter(method.averages.buffers())), statistic - 0.9)
    assert list(method.predictor().members) == list(method.averages)
    seen: list[int] = []
    for number, average in enumerate(method.averages):
        average.register_forward_hook(lambda *_, n=number: seen.append(n))
    sum(terms(method, batches()).values()).backward()
    assert seen == [1, 0]
    assert all(p.grad is None for p in method.averages.parameters())


def test_averages_may_teach_or_predict_alone(build, batches, terms):
    predicts = build("cps", average={"decay": 0.9, "teaches": False}, **PLAIN)
    for average in predicts.averages:
        average.forward = None  # would fail if asked
    terms(predicts, batches())
    teaches = build("cps", average={"decay": 0.9, "predicts": False}, **PLAIN)
    assert list(teaches.predictor().members) == list(teaches.pair)


def test_only_what_learns_from_pseudo_labels_sees_a_strong_view(build, batches, terms):
    strong = {"blur": {"probability": 1.0, "sigma": [1.0, 1.0]}}
    method, given = build("cps", strong=strong, **PLAIN), batches()
    met: dict[int, list[Tensor]] = {0: [], 1: []}
    for number, network in enumerate(method.pair):
        network.register_forward_pre_hook(lambda _, x, n=number: met[n].append(x[0]))
    terms(method, given, parts=[0])
    weak = given["unlabelled"].image[:, 0]
    (taught_from,) = met[1]
    assert torch.equal(taught_from, weak)
    assert torch.equal(met[0][0], torch.cat([given["labelled"].image[:, 0], weak]))
    assert met[0][-1].std() < 0.5 * weak.std()
