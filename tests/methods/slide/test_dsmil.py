"""DSMIL by its formulas."""

import pytest
import torch

from medssl.methods.method import Progress


@pytest.mark.parametrize("classes", [2, 3])
def test_patches_are_weighed_by_their_likeness_to_the_best_one_of_each_output(build, bag, classes):
    method = build("dsmil", classes=classes, query_width=5)
    network, rows = method.network, bag(9)["bags"].features
    found = network.streams(rows)
    queries = network.query(rows)
    readout = network.readout
    embeddings = []
    for output, column in enumerate(network.head(rows).unbind(1)):
        logits = queries @ queries[column.argmax()] / 5**0.5
        attention = logits.exp() / logits.exp().sum()
        torch.testing.assert_close(found.attention[:, output], attention)
        embeddings.append((attention[:, None] * rows).sum(0))
    expected = (readout.weight * torch.stack(embeddings)).sum((1, 2)) + readout.bias
    torch.testing.assert_close(found.bag, expected)


def test_the_attention_shown_sums_to_one(build, bag):
    for classes in (2, 3):
        answer = build("dsmil", classes=classes).predictor()(bag(9)["bags"].features)
        assert answer.attention.sum().item() == pytest.approx(1)
        assert answer.instances.shape == (9, classes)


def test_losses_are_halved_and_the_bag_stream_does_not_teach_the_head(build, bag):
    method, batches = build("dsmil"), bag(9, label=0)
    found = method.network.streams(batches["bags"].features)
    terms = method(batches, Progress(1, 10), torch.Generator())
    torch.testing.assert_close(terms["bag"], -0.5 * (1 - found.bag.sigmoid()).log().squeeze())
    best = found.patches.amax(0).sigmoid()
    torch.testing.assert_close(terms["max"], -0.5 * (1 - best).log().squeeze())
    terms["bag"].backward()
    assert method.network.head.weight.grad is None
    assert bool(method.network.query[0].weight.grad.any())


def test_the_answer_is_the_bag_s_or_the_mean_of_both(build, bag):
    rows = bag(9)["bags"].features
    one, both = (build("dsmil", answer=answer) for answer in ("bag", "mean"))
    found = one.network.streams(rows)
    bag_answer, best = found.bag.sigmoid(), found.patches.amax(0).sigmoid()
    torch.testing.assert_close(one.predictor()(rows).probability[1:], bag_answer)
    torch.testing.assert_close(both.predictor()(rows).probability[1:], (bag_answer + best) / 2)
