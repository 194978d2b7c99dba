"""A 2-D network on an encoder of images: its maps, its levels, what it takes."""

import pytest
import torch

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.image_fpn_settings import ImageFpnSettings
from medssl.networks.transfer import PretrainedEncoder

TINY = {"name": "vit_tiny", "side": 32}
KINDS = {
    "vit_tiny": (TINY, [(128, 4)]),
    "resnet18": ({"name": "resnet18"}, [(64, 16), (128, 8), (256, 4), (512, 2)]),
    "resnet50": ({"name": "resnet50"}, [(256, 16), (512, 8), (1024, 4), (2048, 2)]),
    "densenet121": ({"name": "densenet121"}, [(1024, 2)]),
}


def settings(**encoder: object) -> ImageFpnSettings:
    return ImageFpnSettings(name="image_fpn", image_encoder=encoder).sized((64, 64, 1))


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_maps_become_logits_of_the_images_size(name):
    encoder, maps = KINDS[name]
    network = build_network(settings(**encoder), 1, 3, seed=0).eval()
    image = torch.rand(2, 1, 64, 64, 1)
    found = network.encoder(image)
    assert [(one.shape[1], one.shape[2]) for one in found] == maps
    assert network.encoder.widths == tuple(width for width, _ in maps)
    assert network.encoder.strides == tuple((64 // side, 64 // side, 1) for _, side in maps)
    assert network(image).shape == (2, 3, 64, 64, 1)


@pytest.mark.parametrize("name", KINDS)
def test_every_weight_of_the_encoder_is_of_one_level(name):
    encoder = build_encoder(settings(**KINDS[name][0]), 3, seed=0)
    levels = [id(one) for layer in encoder.layers() for one in layer.parameters()]
    assert sorted(levels) == sorted(id(one) for one in encoder.parameters())


def test_grey_images_are_three_equal_channels():
    network = build_network(settings(**TINY), 1, 2, seed=0).eval()
    coloured = build_network(settings(**TINY), 3, 2, seed=0).eval()
    image = torch.rand(1, 1, 64, 64, 1)
    torch.testing.assert_close(network(image), coloured(image.expand(-1, 3, -1, -1, -1)))


def test_what_it_starts_from_is_what_it_has():
    given = build_encoder(settings(**TINY), 3, seed=7).state_dict()
    network = build_network(settings(**TINY), 3, 2, 0, PretrainedEncoder(given))
    assert all(torch.equal(network.encoder.state_dict()[k], v) for k, v in given.items())


def test_volumes_and_other_channels_are_refused():
    with pytest.raises(UsageError, match="is for 2-D images"):
        ImageFpnSettings(name="image_fpn").must_take((32, 32, 32))
    with pytest.raises(UsageError, match=r"the nearest is train\.patch=\[48, 48, 1\]"):
        settings(**TINY).must_take((50, 50, 1))
    with pytest.raises(UsageError, match="takes no images of 2 channels"):
        build_network(settings(**TINY), 2, 2, 0)
