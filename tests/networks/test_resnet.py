"""DSMIL's ResNet18: torchvision's names and sizes, norms without parameters."""

import torch
from torch import nn

from medssl.networks.resnet import ResNet18


def test_it_is_resnet18_without_norm_parameters_and_classifier():
    """11,689,512 of torchvision's, less 9,600 of its norms and 513,000 of its classifier."""
    assert sum(p.numel() for p in ResNet18().parameters()) == 11_689_512 - 9_600 - 513_000


def test_parameters_are_named_as_torchvision_names_them():
    names = set(ResNet18().state_dict())
    blocks = {
        f"layer{n}.{block}.conv{c}.weight" for n in range(1, 5) for block in (0, 1) for c in (1, 2)
    }
    mapped = {f"layer{n}.0.downsample.0.weight" for n in (2, 3, 4)}
    assert names == {"conv1.weight"} | blocks | mapped


def test_every_convolution_has_an_instance_norm():
    kinds = [type(module) for module in ResNet18().modules()]
    assert kinds.count(nn.Conv2d) == kinds.count(nn.InstanceNorm2d) == 20


def test_maps_halve_five_times_and_their_mean_is_the_feature():
    network = ResNet18().eval()
    shapes = {}
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:]))
        )
    image = torch.rand(2, 3, 64, 64)
    assert network(image).shape == (2, 512)
    assert shapes == {
        "conv1": (64, 32, 32), "layer1": (64, 16, 16), "layer2": (128, 8, 8),
        "layer3": (256, 4, 4), "layer4": (512, 2, 2),
    }  # fmt: skip


def test_the_contrast_of_a_tile_does_not_matter():
    """What InstanceNorm is there for: differences between stains and scanners."""
    torch.manual_seed(0)
    network, image = ResNet18().eval().double(), 100 * torch.rand(1, 3, 64, 64).double()
    torch.testing.assert_close(network(image), network(3 * image), rtol=0, atol=1e-3)
