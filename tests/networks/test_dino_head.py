"""DINO's head against its formula."""

import pytest
import torch

from medssl.networks.dino_head import DinoHead


def head(fixed_gain: bool = False) -> DinoHead:
    torch.manual_seed(0)
    return DinoHead(6, 10, 4, 7, fixed_gain)


def features() -> torch.Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def test_scores_are_cosines_between_bottleneck_and_prototypes_at_first():
    network, x = head(), features()
    bottleneck = network.mlp(x)
    expected = torch.nn.functional.cosine_similarity(
        bottleneck[:, None], network.prototypes.direction[None], dim=2
    )
    torch.testing.assert_close(network(x), expected)


def test_a_gain_scales_its_prototypes_scores():
    network, x = head(), features()
    before = network(x)
    with torch.no_grad():
        network.prototypes.gain[2] = 3.0
    after = network(x)
    torch.testing.assert_close(after[:, 2], 3 * before[:, 2])
    assert torch.equal(after[:, 3:], before[:, 3:])


def test_three_layers_with_gelu_between():
    network, x = head(), features()
    first, _, second, _, third = network.mlp
    gelu = torch.nn.functional.gelu
    torch.testing.assert_close(network.mlp(x), third(gelu(second(gelu(first(x))))))
    assert [tuple(layer.weight.shape) for layer in (first, second, third)] == [
        (10, 6), (10, 10), (4, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("fixed_gain", [False, True])
def test_the_gain_is_trained_unless_it_is_fixed(fixed_gain):
    names = {name for name, p in head(fixed_gain).named_parameters() if not p.requires_grad}
    assert names == ({"prototypes.gain"} if fixed_gain else set())


def test_a_resting_last_layer_gets_no_gradient_and_passes_it_on():
    network = head()
    network(features(), frozen=True).square().sum().backward()
    assert network.prototypes.direction.grad is None
    assert network.prototypes.gain.grad is None
    assert network.mlp[0].weight.grad.abs().sum() > 0
    assert torch.equal(network(features(), frozen=True), network(features()))


def test_the_published_head_has_its_number_of_parameters():
    """384 -> 2048 -> 2048 -> 256 -> 65,536 with a gain each."""
    with torch.device("meta"):
        network = DinoHead(384, 2048, 256, 65536, False)
    layers = (384 + 1) * 2048 + (2048 + 1) * 2048 + (2048 + 1) * 256
    assert sum(p.numel() for p in network.parameters()) == layers + 257 * 65536
