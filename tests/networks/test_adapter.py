"""The adapter as the sheet of Snuffy, section 7, states it."""

import pytest
import torch
from torch import nn

from medssl.networks.adapter import Adapter
from medssl.networks.vision_transformer import VisionTransformer, add_adapters


def trainable(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def small() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(16, 8, 16, 3, 2)


@pytest.mark.parametrize(
    ("width", "bottleneck", "block", "network"),
    [(384, 32, 24_992, 299_904), (768, 64, 99_136, 1_189_632)],
)
def test_adapters_have_the_published_number_of_parameters(width, bottleneck, block, network):
    assert trainable(Adapter(width, bottleneck, 1.0)) == block
    with torch.device("meta"):
        vit = VisionTransformer(224, 16, width, 12, 6)
        add_adapters(vit, bottleneck, 10.0)
    assert trainable(vit) == network


@pytest.mark.parametrize("training", [False, True])
def test_the_start_is_exactly_the_network_without_adapters(training):
    vit = small().train(training)
    image = torch.rand(3, 3, 16, 16)
    before = vit(image)
    add_adapters(vit, 4, 10.0)
    assert torch.equal(vit.train(training)(image), before)


def test_only_adapters_get_gradients_and_up_alone_at_first():
    """Up is zero, so Down gets none until Up has moved."""
    vit = small()
    add_adapters(vit, 4, 10.0)
    features = vit(torch.rand(2, 3, 16, 16))
    # A plain sum of what a layer norm gives is a constant, with gradients of rounding alone.
    (features * torch.linspace(0, 1, features.numel()).view_as(features)).sum().backward()
    names = {name for name, p in vit.named_parameters() if p.grad is not None and p.grad.any()}
    assert names
    assert all(".adapter.up." in name for name in names)


def test_the_branch_is_the_formula_and_reads_tokens_without_norm():
    adapter = Adapter(2, 1, 10.0).eval()
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.up.weight.copy_(torch.tensor([[2.0], [0.5]]))
        adapter.up.bias.copy_(torch.tensor([0.1, 0.2]))
    tokens = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]])
    expected = torch.tensor([[[41.0, 12.0], [1.0, 2.0]]])  # 10 (2 * 2 + 0.1), 10 (0.5 * 2 + 0.2)
    torch.testing.assert_close(adapter(tokens), expected)


def test_the_branch_runs_beside_the_mlp_from_the_attended_tokens():
    vit = small().eval()
    add_adapters(vit, 4, 10.0)
    block = vit.layers[0]
    for parameter in block.adapter.parameters():
        nn.init.normal_(parameter)
    tokens = torch.randn(2, 5, 16)
    attended = tokens + block.attn(block.norm1(tokens))
    expected = attended + block.mlp(block.norm2(attended)) + block.adapter(attended)
    torch.testing.assert_close(block(tokens), expected)


def test_stochastic_depth_never_drops_the_branch():
    vit = small().train()
    add_adapters(vit, 4, 1.0)
    block = vit.layers[0]
    nn.init.ones_(block.adapter.up.bias)
    block.drop_path.rate = 0.999999
    torch.manual_seed(0)
    tokens = torch.randn(2, 5, 16)
    torch.testing.assert_close(block(tokens), tokens + 1)


def test_dropout_of_a_tenth_acts_on_the_bottleneck_in_training_alone():
    adapter = Adapter(1, 10_000, 1.0)
    nn.init.ones_(adapter.down.weight)
    nn.init.constant_(adapter.up.weight, 1e-4)
    torch.manual_seed(0)
    seen = []
    adapter.dropout.register_forward_hook(lambda _, __, out: seen.append((out == 0).float().mean()))
    token = torch.ones(1, 1, 1)
    adapter.train()(token)
    assert adapter.eval()(token).item() == pytest.approx(1, abs=1e-4)
    assert seen[0] == pytest.approx(0.1, abs=0.015)
    assert seen[1] == 0


def test_down_starts_kaiming_normal_with_a_of_root_five():
    """Standard deviation sqrt(2 / (1 + 5)) / sqrt(width)."""
    adapter = Adapter(400, 300, 1.0)
    assert adapter.down.weight.std().item() == pytest.approx((1 / 3 / 400) ** 0.5, rel=0.02)
    assert not adapter.down.bias.any()
    assert not adapter.up.weight.any()
    assert not adapter.up.bias.any()
