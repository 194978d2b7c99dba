"""The vision transformer against published sizes, names and plain formulas."""

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm

from medssl.networks.tile_settings import TRANSFORMERS
from medssl.networks.vision_transformer import DropPath, VisionTransformer, resize_positions


def tiny(side: int = 32, pooling: str = "cls") -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(side, 8, 16, 3, 2, pooling).eval()


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("vit_small_16", 21_665_664), ("vit_small_8", 21_670_272), ("vit_base_16", 85_798_656)],
)
def test_the_published_networks_have_their_number_of_parameters(name, parameters):
    """DINO's ViT-S/16, ViT-S/8 and ViT-B/16 at 224 pixels, without a head."""
    size = TRANSFORMERS[name]
    with torch.device("meta"):
        network = VisionTransformer(224, *size)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_parameters_are_named_as_in_the_published_weights():
    names = set(tiny().state_dict())
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    layers = {"patch_embed.proj", "norm"} | {
        f"blocks.{n}.{part}" for n in range(3) for part in block
    }
    pairs = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert names == {"cls_token", "pos_embed"} | pairs


def by_hand(network: VisionTransformer, image: torch.Tensor) -> torch.Tensor:
    """The network's formula from its named parameters alone, one head after the other."""
    w = network.state_dict()
    patch = network.patch

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    cut = image.unfold(2, patch, patch).unfold(3, patch, patch)  # [B, 3, rows, columns, P, P]
    flat = cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    patches = flat @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(len(image), 1, -1), patches], 1) + w["pos_embed"]
    for n in range(len(network.blocks)):
        q, k, v = linear(norm(x, f"blocks.{n}.norm1"), f"blocks.{n}.attn.qkv").chunk(3, -1)
        mixed = []
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            scores = q[..., part] @ k[..., part].mT / 8**0.5
            mixed.append(scores.softmax(-1) @ v[..., part])
        x = x + linear(torch.cat(mixed, -1), f"blocks.{n}.attn.proj")
        hidden = gelu(linear(norm(x, f"blocks.{n}.norm2"), f"blocks.{n}.mlp.fc1"))
        x = x + linear(hidden, f"blocks.{n}.mlp.fc2")
    return norm(x, "norm")


def test_the_features_are_the_class_token_of_the_formula():
    network, image = tiny().double(), images(2, 3, 32, 32).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    torch.testing.assert_close(network(image), by_hand(network, image)[:, 0], rtol=1e-9, atol=1e-9)


def test_mean_pooling_takes_the_patches_alone_and_normalises_last():
    network, image = tiny(pooling="mean"), images(2, 3, 32, 32)
    expected = network.norm(network.tokens(image)[:, 1:].mean(1))
    torch.testing.assert_close(network(image), expected)
    assert not torch.allclose(network(image), tiny()(image))


@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (24, 40)])
def test_other_image_sizes_get_interpolated_positions(shape):
    assert tiny()(images(2, 3, *shape)).shape == (2, 16)


def test_a_side_that_is_no_multiple_of_the_patch_is_refused():
    with pytest.raises(ValueError, match=r"\(32, 36\) pixels.*patches of 8"):
        tiny()(images(1, 3, 32, 36))


def test_the_learned_grid_is_used_as_it_is():
    positions = torch.randn(1, 17, 6)
    assert resize_positions(positions, 4, 4) is positions


def test_resized_positions_keep_the_class_token_and_linear_slopes():
    """At half-pixel centres; torch's bicubic kernel follows a slope to 0.05."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    grid = torch.stack([rows, columns], -1).view(1, 64, 2)
    positions = torch.cat([torch.full((1, 1, 2), 99.0), grid], 1)
    resized = resize_positions(positions, 16, 4)
    assert resized.shape == (1, 65, 2)
    assert torch.equal(resized[:, 0], positions[:, 0])
    inside = resized[0, 1:].view(16, 4, 2)[4:12, 1:3]
    torch.testing.assert_close(inside[:, 0, 0], torch.arange(4, 12) / 2 - 0.25, rtol=0, atol=0.06)
    torch.testing.assert_close(inside[0, :, 1], torch.tensor([2.5, 4.5]), rtol=0, atol=0.06)


def test_drop_path_leaves_out_whole_images_and_keeps_the_mean():
    drop = DropPath().train()
    drop.rate = 0.25
    torch.manual_seed(0)
    found = drop(torch.ones(20_000, 2, 3))
    values = found[:, 0, 0]
    assert torch.equal(found, values[:, None, None].expand_as(found))
    assert sorted(set(values.tolist())) == pytest.approx([0, 4 / 3])
    assert values.mean() == pytest.approx(1, abs=0.02)


def test_drop_path_grows_with_depth_and_rests_in_evaluation():
    network, image = tiny(), images(4, 3, 32, 32)
    plain = network(image)
    network.set_drop_path(0.2)
    assert [block.drop_path.rate for block in network.layers] == pytest.approx([0, 0.1, 0.2])
    assert torch.equal(network(image), plain)
    torch.manual_seed(1)
    assert not torch.equal(network.train()(image), plain)
