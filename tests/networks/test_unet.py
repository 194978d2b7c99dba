"""The U-Nets of nnU-Net against the sheet of planning, sections 2.2 to 2.4 and 6."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from medssl.errors import UsageError
from medssl.methods.segment.losses import over_heads, supervised_loss
from medssl.networks.build import build_network
from medssl.networks.heads import heads_of
from medssl.networks.unet import ResidualBlock, UNet
from medssl.networks.unet_settings import Stage, UNetSettings

BOTH = ("plain_unet", "residual_unet")
SIX = (32, 64, 128, 256, 320, 320)

every_unet = pytest.mark.parametrize("name", BOTH)


def small(name: str = "plain_unet", **keys: Any) -> UNetSettings:
    return UNetSettings(name=name, **{"features": (4, 6, 8, 10), **keys})


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "count"), [("plain_unet", 31_195_594), (BOTH[1], 102_349_770)])
def test_six_stages_have_the_parameters_of_nnunet(name: str, count: int) -> None:
    with torch.device("meta"):
        network = build_network(UNetSettings(name=name, features=SIX), 1, 2, 0)
    assert sum(one.numel() for one in network.parameters()) == count


def test_what_is_not_given_follows_from_the_stages() -> None:
    plain, residual = (UNetSettings(name=name, features=SIX) for name in BOTH)
    assert (plain.blocks, plain.decoder_convs) == ((2,) * 6, (2,) * 5)
    assert (residual.blocks, residual.decoder_convs) == ((1, 3, 4, 6, 6, 6), (1,) * 5)
    assert plain.strides == ((1, 1, 1), *(((2, 2, 2),) * 5))
    assert plain.kernels == ((3, 3, 3),) * 6
    assert UNetSettings.model_validate_json(plain.model_dump_json()) == plain


def test_copied_weights_answer_as_the_dynunet_of_monai() -> None:
    """MONAI's has no biases but those of heads; ours are 0 at the start.

    Its decoder takes the kernel of the stage below, and ours, as nnU-Net's, that of the skip's.
    """
    from monai.networks.nets import DynUNet

    strides, kernels = [[1, 1, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]], [[3, 3, 3]] * 4
    network = build_network(small(strides=strides, kernels=kernels), 2, 3, 0).train()
    other = DynUNet(
        3, 2, 3, kernels, strides, strides[1:], filters=[4, 6, 8, 10],
        norm_name=("INSTANCE", {"affine": True}), deep_supervision=True, deep_supr_num=1,
    )  # fmt: skip
    own = network.network
    blocks = [other.input_block, *other.downsamples, other.bottleneck]
    pairs = list(zip(own.encoder.blocks, blocks, strict=True))
    pairs += zip(own.blocks, (up.conv_block for up in reversed(other.upsamples)), strict=True)
    for up, theirs in zip(own.ups, reversed(other.upsamples), strict=True):
        theirs.transp_conv.conv.weight.data = up.weight.data
    for stage, theirs in pairs:
        theirs.conv1.conv.weight.data = stage[0][0].weight.data
        theirs.conv2.conv.weight.data = stage[1][0].weight.data
    heads = [other.output_block, *other.deep_supervision_heads]
    for head, theirs in zip(own.heads, heads, strict=False):
        theirs.conv.conv.weight.data, theirs.conv.conv.bias.data = head.weight, head.bias
    image = noise(1, 2, 32, 16, 8)
    full, half = network.heads(image)
    answer, enlarged = other.train()(image).unbind(1)
    torch.testing.assert_close(full, answer)
    torch.testing.assert_close(half, enlarged[..., ::2, ::2, :])


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, (1, 1, 1)), (4, 4, (2, 2, 1))])
def test_a_residual_block_starts_as_its_skip(
    inputs: int, outputs: int, stride: tuple[int, ...]
) -> None:
    block, image = ResidualBlock(inputs, outputs, (3, 3, 3), stride), noise(1, inputs, 8, 8, 8)
    shrunk = torch.nn.functional.avg_pool3d(image, stride)
    torch.testing.assert_close(block(image), torch.where(shrunk > 0, shrunk, 0.01 * shrunk))


def test_where_channels_change_the_skip_has_a_convolution_and_a_norm_after_the_mean() -> None:
    block = ResidualBlock(4, 6, (3, 3, 3), (2, 2, 2))
    pool, conv, norm = block.skip
    assert (pool.kernel_size, conv.kernel_size, conv.bias) == ((2, 2, 2), (1, 1, 1), None)
    expected = torch.nn.functional.leaky_relu(norm(conv(pool(noise(1, 4, 8, 8, 8)))), 0.01)
    torch.testing.assert_close(block(noise(1, 4, 8, 8, 8)), expected)
    assert block.block[0].stride == (2, 2, 2)
    assert block.block[3].stride == (1, 1, 1)


@every_unet
def test_convolutions_start_by_he_and_biases_at_0(name: str) -> None:
    network = build_network(UNetSettings(name=name, features=(32, 64)), 1, 2, 0)
    for key, value in network.named_parameters():
        if value.ndim > 1 and value.numel() > 20_000 and ".ups." not in key:
            inputs = value.shape[1] * value[0, 0].numel()
            assert value.std().item() == pytest.approx(
                (2 / (1 + 0.01**2) / inputs) ** 0.5, rel=0.03
            )
        elif key.endswith("bias"):
            assert not value.any()


@every_unet
@pytest.mark.parametrize("z", [1, 2])
def test_sides_are_multiples_of_the_strides_axis_by_axis(name: str, z: int) -> None:
    settings = small(name, strides=[[1, 1, 1], [2, 2, 1], [2, 2, z], [2, 1, z]])
    assert settings.side_multiples == (8, 4, z * z)
    with pytest.raises(UsageError, match=r"nearest is train.patch=\[16, 12, 8\]") as caught:
        settings.must_take((18, 11, 8))
    assert f"multiples of 8, 4, {z * z} voxels, axis by axis" in str(caught.value)
    settings.must_take((16, 12, 8))
    network = build_network(settings, 1, 3, 0).train()
    maps = heads_of(network, noise(1, 1, 16, 12, 8))
    assert [tuple(one.shape) for one in maps] == [(1, 3, 16, 12, 8), (1, 3, 8, 6, 8)]
    assert network.encoder.strides == (1, (2, 2, 1), (4, 4, z), (8, 4, z * z))


@every_unet
def test_patches_are_refused_by_which_training_would_fail_and_no_others(name: str) -> None:
    settings = small(name, strides=[[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 1]])
    network = build_network(settings, 1, 2, 0).train()
    for patch, nearest in (((8, 8, 1), [8, 16, 1]), ((8, 8, 2), None), ((8, 16, 1), None)):
        if nearest is None:
            settings.must_take(patch)
            network(noise(2, 1, *patch))
            continue
        with pytest.raises(ValueError, match="more than 1 spatial"):
            network(noise(2, 1, *patch))
        with pytest.raises(UsageError) as caught:
            settings.must_take(patch)
        assert f"the nearest that does is train.patch={nearest}" in str(caught.value)


@every_unet
@pytest.mark.parametrize("stages", [2, 3, 5, 6])
def test_heads_are_weighted_as_in_nnunet(name: str, stages: int) -> None:
    """Section 6.5: halved from head to head, 0 at the coarsest, together 1."""
    weights = {2: [1], 3: [1], 5: [4 / 7, 2 / 7, 1 / 7], 6: [8 / 15, 4 / 15, 2 / 15, 1 / 15]}
    network = build_network(UNetSettings(name=name, features=(4,) * stages), 1, 2, 0).train()
    image = noise(1, 1, 64, 32, 32)
    label = (image[:, 0] > 0.5).to(torch.uint8)
    maps = network.heads(image)
    assert len(maps) == max(1, stages - 2)
    assert len(network.network.heads) == stages - 1
    side = torch.nn.functional.interpolate
    losses = [
        supervised_loss(
            one, side(label[:, None].float(), one.shape[2:], mode="nearest-exact")[:, 0]
        )
        for one in maps
    ]
    expected = sum(w * loss for w, loss in zip(weights[stages], losses, strict=True))
    torch.testing.assert_close(over_heads(maps, supervised_loss, label), expected)


@every_unet
def test_without_deep_supervision_one_head_learns(name: str) -> None:
    network = build_network(small(name, deep_supervision=False), 1, 2, 0).train()
    assert len(network.heads(noise(1, 1, 16, 16, 16))) == 1
    assert [one.weight.requires_grad for one in network.network.heads] == [True, False, False]
    deep = build_network(small(name), 1, 2, 0)
    assert [one.weight.requires_grad for one in deep.network.heads] == [True, True, False]
    assert deep.state_dict().keys() == network.state_dict().keys()


@every_unet
def test_of_a_patch_one_voxel_thick_it_is_2_d_as_others_are(name: str) -> None:
    settings = small(name).sized((16, 24, 1))
    assert (settings.spatial_dims, settings.side_multiples) == (2, (8, 8, 1))
    settings.must_take((16, 24, 1))
    with pytest.raises(UsageError, match=r"nearest is train.patch=\[16, 24, 1\]"):
        settings.must_take((15, 24, 1))
    with pytest.raises(UsageError, match=r"does is train.patch=\[8, 16, 1\]"):
        settings.must_take((8, 8, 1))
    network = build_network(settings, 1, 3, 0).train()
    maps = heads_of(network, noise(2, 1, 16, 24, 1))
    assert [tuple(one.shape) for one in maps] == [(2, 3, 16, 24, 1), (2, 3, 8, 12, 1)]
    assert {one.ndim for one in network.parameters()} == {1, 4}
    assert small(name).sized((16, 24, 8)).spatial_dims is None


@every_unet
def test_it_is_made_of_two_axes_too(name: str) -> None:
    stages = [
        Stage(width, (step, step), (3, 3), 2, convs)
        for width, step, convs in ((4, 1, 2), (6, 2, 2), (8, 2, 0))
    ]
    network = UNet(1, 2, stages, residual=name == "residual_unet").eval()
    assert network(noise(1, 1, 16, 12))[0].shape == (1, 2, 16, 12)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"strides": [[1, 1, 1]]}, "strides has 1 entries and is wanted for 4 stages"),
        ({"kernels": [[3, 3, 3]] * 5}, "kernels has 5 entries and is wanted for 4 stages"),
        ({"blocks": [2, 2]}, "blocks has 2 entries"),
        ({"decoder_convs": [1, 1, 1, 1]}, "wanted for 3 stages, as features has 4 and the deepest"),
        ({"strides": [[2, 2, 2]] * 4}, r"strides starts with \[2, 2, 2\]"),
        ({"kernels": [[3, 3, 2]] * 4}, r"kernels has \[3, 3, 2\]"),
    ],
)
def test_stages_that_do_not_fit_each_other_are_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(**keys)


def test_encoders_fit_where_every_stage_is_alike() -> None:
    one, same, deeper, other = (
        small(), small(blocks=[2] * 4, deep_supervision=False, decoder_convs=1),
        small(blocks=[2, 2, 2, 3]), small("residual_unet"),
    )  # fmt: skip
    assert one.encoder() == same.encoder()
    for first, second in itertools.combinations((one, deeper, other), 2):
        assert first.encoder() != second.encoder()
