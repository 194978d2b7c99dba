"""2-D networks among volumes one voxel thick."""

import pytest
import torch
from torch import nn

from medssl.errors import UsageError
from medssl.networks.build import build_network
from medssl.networks.flat import Flat
from medssl.networks.heads import heads_of
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings

NETWORKS = [
    NetworkSettings(name="vnet", width=2, levels=3),
    NetworkSettings(name="unet3d", width=2, levels=3, norm="instance"),
    NetworkSettings(name="monai_unet", width=2, levels=3),
    UNetSettings(name="plain_unet", features=(4, 8)),
    UNetSettings(name="residual_unet", features=(4, 8)),
    MonaiSettings(name="monai:BasicUNet", features=[4, 4, 8, 8, 8, 4]),
]

every_network = pytest.mark.parametrize("settings", NETWORKS, ids=lambda one: one.name)


def kernels(network: nn.Module) -> set[int]:
    kinds = (nn.modules.conv._ConvNd,)
    return {len(one.kernel_size) for one in network.modules() if isinstance(one, kinds)}


@every_network
def test_a_patch_one_voxel_thick_makes_a_network_2d(settings):
    flat = settings.sized((32, 32, 1))
    assert flat.spatial_dims == 2
    assert flat.sized((32, 32, 1)) == flat
    assert settings.sized((32, 32, 32)).spatial_dims is None
    network = build_network(flat, 3, 2, seed=0).eval()
    assert kernels(network) == {2}
    image = torch.randn(2, 3, 32, 32, 1)
    with torch.no_grad():
        answer = network(image)
        inner = heads_of(network.network, image.squeeze(-1))[0]
    assert answer.shape == (2, 2, 32, 32, 1)
    assert torch.equal(answer.squeeze(-1), inner)


@every_network
def test_its_description_builds_it_again(settings):
    flat = settings.sized((32, 32, 1))
    again = type(flat).model_validate_json(flat.model_dump_json())
    assert again == flat
    one, other = (build_network(kind, 1, 2, seed=3).state_dict() for kind in (flat, again))
    assert all(torch.equal(one[key], other[key]) for key in one.keys() | other.keys())


def test_3d_networks_are_described_as_before():
    assert "spatial_dims" not in NetworkSettings().model_dump()


def test_helping_heads_are_volumes_too():
    settings = UNetSettings(name="plain_unet", features=(4, 8, 8, 8)).sized((32, 32, 1))
    network = build_network(settings, 1, 2, seed=0).train()
    shapes = [tuple(one.shape) for one in heads_of(network, torch.randn(2, 1, 32, 32, 1))]
    assert shapes == [(2, 2, 32, 32, 1), (2, 2, 16, 16, 1)]


def test_several_slices_at_once_are_refused():
    with pytest.raises(ValueError, match="given 4 slices at once"):
        Flat(nn.Identity())(torch.zeros(1, 1, 8, 8, 4))


def test_what_cannot_be_2d_says_so():
    with pytest.raises(ValueError, match=r"spatial_dims=2 .* set train\.patch=\[32, 32\]"):
        NetworkSettings(spatial_dims=2).sized((32, 32, 32))
    with pytest.raises(UsageError, match="monai_unet has no encoder of its own"):
        NetworkSettings(name="monai_unet", spatial_dims=2).must_have_encoder()
    with pytest.raises(UsageError, match=r"the nearest is train\.patch=\[32, 16, 1\]"):
        NetworkSettings().sized((30, 20, 1)).must_take((30, 20, 1))
