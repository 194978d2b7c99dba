"""Max and mean pooling and ABMIL, by their formulas."""

import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.methods.method import Progress
from medssl.methods.settings.abmil import Settings

NAMES = ["max_pool", "mean_pool", "abmil", "dsmil", "transmil", "clam"]
SMALLER = {"transmil": {"embed_width": 32, "landmarks": 8}}


def step(method, batches):
    return method(batches, Progress(1, 10), torch.Generator().manual_seed(0))


def features(batches):
    return batches["bags"].features


def test_the_largest_logit_answers_and_only_its_patch_teaches(build, bag):
    method, batches = build("max_pool"), bag(9)
    head, rows = method.network.head, features(batches)
    logits = (rows @ head.weight.T + head.bias).detach().squeeze(1)
    answer = method.predictor()(rows)
    assert answer.probability[1].item() == pytest.approx(logits.max().sigmoid().item())
    torch.testing.assert_close(answer.instances[:, 1], logits.sigmoid())
    step(method, batches)["max"].backward()
    expected = (logits.max().sigmoid() - 1) * rows[logits.argmax()]
    torch.testing.assert_close(head.weight.grad[0], expected)


def test_the_mean_of_the_logits_answers(build, bag):
    method, batches = build("mean_pool"), bag(9)
    head, rows = method.network.head, features(batches)
    logits = (rows @ head.weight.T + head.bias).detach().squeeze(1)
    answer = method.predictor()(rows)
    assert answer.probability[1].item() == pytest.approx(logits.mean().sigmoid().item())
    torch.testing.assert_close(answer.instances[:, 1], logits.sigmoid())
    step(method, batches)["mean"].backward()
    expected = (logits.mean().sigmoid() - 1) * rows.mean(0)
    torch.testing.assert_close(head.weight.grad[0], expected)


@pytest.mark.parametrize("gated", [False, True])
def test_abmil_is_the_softmax_weighted_sum(build, bag, gated):
    method, batches = build("abmil", gated=gated, hidden=5), bag(9)
    network, rows = method.network, features(batches)
    weights = dict(network.named_parameters())
    hidden = (rows @ weights["scores.tanh.0.weight"].T + weights["scores.tanh.0.bias"]).tanh()
    if gated:
        gate = rows @ weights["scores.gate.0.weight"].T + weights["scores.gate.0.bias"]
        hidden = hidden * gate.sigmoid()
    scores = (hidden @ weights["scores.score.weight"].T)[:, 0]
    attention = scores.exp() / scores.exp().sum()
    logit = (attention[:, None] * rows).sum(0) @ weights["readout.weight"][0] + weights[
        "readout.bias"
    ]
    answer = method.predictor()(rows)
    torch.testing.assert_close(answer.attention, attention)
    torch.testing.assert_close(answer.probability[1:], logit.sigmoid())
    assert answer.instances is None
    torch.testing.assert_close(step(method, batches)["bag"], -logit.sigmoid().log().squeeze())


def test_layers_of_abmil_embed_each_patch_before_it_is_weighted(build, bag):
    method = build("abmil", layers=(7, 3), hidden=5).eval()
    network, rows = method.network, features(bag(9))
    weights = dict(network.named_parameters())
    embedded = rows
    for layer in (0, 3):
        weight, bias = (weights[f"embed.{layer}.{part}"] for part in ("weight", "bias"))
        embedded = (embedded @ weight.T + bias).clamp_min(0)
    attention = network.scores(embedded).squeeze(1).softmax(0)
    logit = (attention @ embedded) @ weights["readout.weight"][0] + weights["readout.bias"]
    answer = method.predictor()(rows)
    torch.testing.assert_close(answer.attention, attention)
    torch.testing.assert_close(answer.probability[1:], logit.sigmoid())


def test_dropout_of_embedded_patches_is_of_training_alone(build, bag):
    method, batches = build("abmil", layers=(64,), dropout=0.5), bag(9)
    torch.manual_seed(0)
    one, other = (step(method.train(), batches)["bag"].item() for _ in range(2))
    assert one != other
    one, other = (step(method.eval(), batches)["bag"].item() for _ in range(2))
    assert one == other


def test_abmil_of_the_classical_bags_has_the_layers_of_its_paper(build):
    method = build("abmil", **Settings.presets["classical"])
    shapes = [tuple(one.shape) for one in method.network.parameters() if one.ndim == 2]
    width = shapes[0][1]
    assert shapes == [(256, width), (128, 256), (64, 128), (64, 64), (1, 64), (1, 64)]


@pytest.mark.parametrize("name", ["max_pool", "mean_pool", "abmil", "dsmil"])
def test_positive_bags_can_weigh_more(build, bag, name):
    plain = build(name, counts=(30, 10))
    weighed = build(name, counts=(30, 10), positive_weight=True)
    for label, factor in ((0, 1.0), (1, 3.0)):
        one, other = (step(method, bag(9, label=label)) for method in (plain, weighed))
        torch.testing.assert_close(sum(other.values()), factor * sum(one.values()))
    with pytest.raises(UsageError, match="has no training bag"):
        build(name, counts=(30, 0), positive_weight=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_bag_of_one_trains_and_answers_and_an_empty_one_is_refused(build, bag, name, classes):
    method = build(name, classes=classes, **SMALLER.get(name, {}))
    terms = step(method, bag(1))
    sum(terms.values()).backward()
    answer = method.eval().predictor()(features(bag(1)))
    assert answer.probability.shape == (classes,)
    assert answer.probability.sum().item() == pytest.approx(1)
    with pytest.raises(DataError, match="no patch"):
        step(method, bag(0))


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_the_losses_little(build, bag, name):
    method, batches = build(name, **SMALLER.get(name, {})).eval(), bag(40)
    exact = step(method, batches)
    with torch.autocast("cpu", torch.bfloat16):
        found = step(method, batches)
    sum(found.values()).backward()
    for term, value in exact.items():
        assert found[term].dtype == torch.float32
        torch.testing.assert_close(found[term], value, rtol=0.05, atol=0.02)
