"""CLAM: its size, its attention, and the clusters it learns from."""

from math import exp, log

import pytest
import torch

from medssl.methods.method import Progress
from medssl.methods.registry import settings_class
from medssl.methods.slide.clam import Attended, ClamNetwork, smooth_top1_svm

Settings = settings_class("clam")


def step(method, batches):
    return method(batches, Progress(1, 10), torch.Generator())


def test_parameters_are_counted_as_in_the_release():
    """Linear 1024 -> 512, gated attention of 256, readout, a patch classifier for each class."""
    with torch.device("meta"):
        network = ClamNetwork(Settings(), 1024, 2)
    expected = (1024 * 512 + 512) + 2 * (512 * 256 + 256) + 257 + (2 * 512 + 2) + 2 * 1026
    assert expected == 790_791
    assert sum(p.numel() for p in network.parameters()) == expected


def test_the_smooth_svm_by_hand():
    """Margin 1: scores (2, 1), truth 0: log(1 + exp(1 + 1 - 2)); truth 1: log(exp(2) + 1)."""
    logits, labels = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1])
    expected = (log(1 + exp(0)) + log(exp(2) + 1)) / 2
    assert smooth_top1_svm(logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize(("branches", "attentions"), [("single", 1), ("multi", 3)])
def test_each_branch_pools_the_patches_with_its_own_weights(build, bag, branches, attentions):
    network = build("clam", classes=3, branches=branches, embed_width=6).eval().network
    rows = bag(20)["bags"].features
    found = network.attend(rows)
    assert found.attention.shape == (attentions, 20)
    torch.testing.assert_close(found.attention.sum(1), torch.ones(attentions))
    pooled = found.attention @ network.embed(rows)
    if branches == "single":
        expected = network.readouts[0](pooled[0])
    else:
        expected = torch.cat([network.readouts[k](pooled[k]) for k in range(3)])
    torch.testing.assert_close(found.logits, expected)
    answer = network(rows)
    shown = int(answer.probability.argmax()) if attentions > 1 else 0
    assert torch.equal(answer.attention, found.attention[shown])


class TestClusters:
    """Attention rises with the index: the last patches are the most attended."""

    @pytest.fixture
    def found(self):
        rows = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
        return Attended(rows, torch.arange(10.0).softmax(0).unsqueeze(0), torch.zeros(2))

    def test_the_label_s_classifier_tells_the_most_from_the_least_attended(self, build, found):
        method = build("clam", embed_width=6, patches=3, instance_loss="cross_entropy")
        logits = method.network.instances[1](found.rows).log_softmax(1)
        expected = -(logits[[9, 8, 7], 1].sum() + logits[[0, 1, 2], 0].sum()) / 6
        torch.testing.assert_close(method.clusters(found, 1), expected)

    def test_where_classes_exclude_each_other_the_others_deny_the_most_attended(self, build, found):
        method = build(
            "clam", embed_width=6, patches=3, instance_loss="cross_entropy", subtyping=True
        )
        own, other = (method.network.instances[k](found.rows).log_softmax(1) for k in (1, 0))
        first = -(own[[9, 8, 7], 1].sum() + own[[0, 1, 2], 0].sum()) / 6
        second = -other[[9, 8, 7], 0].mean()
        torch.testing.assert_close(method.clusters(found, 1), (first + second) / 2)

    def test_the_two_ends_never_overlap(self, build, found):
        method = build("clam", embed_width=6, patches=8, instance_loss="cross_entropy")
        logits = method.network.instances[0](found.rows).log_softmax(1)
        expected = -(logits[5:, 1].sum() + logits[:5, 0].sum()) / 10
        torch.testing.assert_close(method.clusters(found, 0), expected)

    def test_a_bag_of_one_has_no_ends(self, build, found):
        method = build("clam", embed_width=6)
        one = Attended(found.rows[:1], torch.ones(1, 1), torch.zeros(2))
        assert method.clusters(one, 0).item() == 0


def test_the_losses_are_weighted_seven_to_three(build, bag):
    batches = bag(20)
    terms = step(build("clam").eval(), batches)
    other = step(build("clam", bag_weight=0.5).eval(), batches)
    torch.testing.assert_close(terms["bag"] / 0.7, other["bag"] / 0.5)
    torch.testing.assert_close(terms["clusters"] / 0.3, other["clusters"] / 0.5)
    logits = build("clam").eval().network.attend(batches["bags"].features).logits
    torch.testing.assert_close(terms["bag"], -0.7 * logits.log_softmax(0)[1])


def test_initial_biases_are_zero(build):
    network = build("clam").network
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert not any(bool(m.bias.any()) for m in linear)
