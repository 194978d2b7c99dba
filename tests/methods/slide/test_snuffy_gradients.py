"""Sheet section 4: the branches share nothing but the choice of tokens."""

import pytest
import torch

from medssl.methods.method import Progress

NO_DROPOUT = {"block_dropout": 0.0, "attn_dropout": 0.0}
MODES = ["A", "B", "B_normalised"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def step(method, batches, seed=0):
    return method(batches, Progress(1, 10), seeded(seed))


def features(batches):
    return batches["bags"].features


@pytest.mark.parametrize("mode", MODES)
def test_both_losses_reach_every_parameter(build, bag, mode):
    method = build("snuffy", mode=mode, lambda_total=6, depth=2, chunk=4, mix_learned=True)
    sum(step(method, bag(20)).values()).backward()
    for name, parameter in method.named_parameters():
        assert bool(parameter.grad.isfinite().all()), name
        # The softmax does not see what is added to all its logits.
        assert name.endswith("key.bias") or bool(parameter.grad.any()), name


def test_the_bag_s_loss_gives_none_to_the_head(build, bag):
    method = build("snuffy", lambda_total=6)
    step(method, bag(20))["bag"].backward()
    assert method.network.head.weight.grad is None
    assert method.network.readout.weight.grad is not None


@pytest.mark.parametrize("label", [0, 1])
def test_the_max_loss_gives_the_head_the_best_patch_and_the_transformer_nothing(build, bag, label):
    method, batches = build("snuffy", lambda_total=6, mix=0.5), bag(20, label=label)
    step(method, batches)["max"].backward()
    network = method.network
    scores = network.head(features(batches)).detach().squeeze(1)
    best = features(batches)[scores.argmax()]
    expected = 0.5 * (scores.max().sigmoid() - label) * best
    torch.testing.assert_close(network.head.weight.grad[0], expected)
    assert all(p.grad is None for p in network.encoder.parameters())
    assert network.readout.weight.grad is None


@pytest.mark.parametrize("mode", MODES)
def test_finite_differences_of_the_whole_network(build, mode):
    method = build(
        "snuffy",
        width=4,
        mode=mode,
        lambda_total=3,
        chunk=3,
        depth=2,
        mlp_ratio=1,
        **NO_DROPOUT,
    )
    network = method.network.double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.6, generator=seeded(2))
    bag = torch.randn(6, 4, dtype=torch.float64, generator=seeded(1), requires_grad=True)

    def run(bag, *weights):
        return network(bag, seeded(5)).bag

    assert torch.autograd.gradcheck(run, (bag, *network.parameters()), fast_mode=True)
