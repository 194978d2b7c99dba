"""Any network as an encoder and a decoder: its features are reached, changed and given."""

from copy import deepcopy
from itertools import chain

import pytest
import torch
from torch import nn

from medssl.methods.segment.features import channels_kept
from medssl.networks.build import build_network
from medssl.networks.encoder_decoder import changed_features, divide, drop_encoder, innermost
from medssl.networks.encoder_search import Unparted, find_parts
from medssl.networks.heads import heads_of
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings
from tests.pipeline.test_monai_networks import FLAT, NETWORKS

UNKNOWN = {
    "AutoEncoder": ({"channels": [4, 8], "strides": [2, 2]}, [8, 8, 8]),
    "FlexibleUNet": ({"backbone": "efficientnet-b0"}, [32, 32, 32]),
    "HighResNet": ({}, [8, 8, 8]),
    "LocalNet": ({"num_channel_initial": 4, "extract_levels": [0, 1, 2]}, [16, 16, 16]),
    "RegUNet": ({"num_channel_initial": 4, "depth": 2}, [16, 16, 16]),
    "SegResNetDS2": ({"init_filters": 4, "blocks_down": [1, 1, 1]}, [8, 8, 8]),
}
"""Classes of MONAI of which it is not written down what their encoder is."""
OURS = {
    name: (NetworkSettings(name=name, width=12, levels=2, dropout=0.0), (32, 32, 32))
    for name in ("vnet", "unet3d", "conv_fpn", "swin_fpn", "monai_unet")
}
OURS |= {
    name: (UNetSettings(name=name, features=(4, 6, 8)), (16, 16, 16))
    for name in ("plain_unet", "residual_unet")
}
MONAI = {
    case: (
        MonaiSettings(
            **{key: value for key, value in arguments.items() if key != "name"},
            name=f"monai:{case.partition(',')[0]}",
        ),
        (*patch, 1)[:3],
    )
    for case, (arguments, patch) in chain(
        ((name, one[:2]) for name, one in NETWORKS.items()),
        ((f"{name}, 2-D", one[:2]) for name, one in FLAT.items()),
        UNKNOWN.items(),
    )
}
CASES = OURS | MONAI


@pytest.fixture
def make():
    """A network of a case, whose features can be changed, and images for it."""

    def build(case):
        settings, patch = CASES[case]
        network = build_network(settings.sized(patch), 1, 2, seed=0)
        divide(network, find_parts(network, 1, patch))
        return network, torch.randn(2, 1, *patch, generator=torch.Generator().manual_seed(0))

    return build


def answers(network, image, change=None):
    """Of all heads, with the same draws each time."""
    torch.manual_seed(0)
    if change is None:
        return heads_of(network, image)
    with changed_features(network, change):
        return heads_of(network, image)


def unchanged(features):
    return features


@pytest.mark.parametrize("case", CASES)
def test_unchanged_features_give_the_bits_of_the_plain_network(case, make):
    network, image = make(case)
    names = list(build_network(CASES[case][0].sized(image.shape[2:]), 1, 2, 0).state_dict())
    for training in (True, False):
        network.train(training)
        before = deepcopy(network.state_dict())  # codes of a VQVAE move as it passes
        plain = answers(network, image)
        network.load_state_dict(before)
        found = answers(network, image, unchanged)
        assert len(found) == len(plain)
        for one, other in zip(found, plain, strict=True):
            assert torch.equal(one, other)
    assert list(network.state_dict()) == names


@pytest.mark.parametrize("case", CASES)
def test_added_items_with_dropped_channels_answer_otherwise_and_the_rest_as_before(case, make):
    network, image = make(case)
    network.eval()
    drawn = torch.Generator().manual_seed(1)
    shares = []

    def widened(features):
        maps = []
        for one in features.maps:
            kept = channels_kept(one[1:].shape, 0.5, drawn, one.device)
            shares.append((kept == 0).float().flatten())
            assert kept.shape == (1, one.shape[1], *[1] * (one.ndim - 2))
            maps.append(torch.cat([one, one[1:] * kept]))
        image = torch.cat([features.image, features.image[1:]])
        return features._replace(image=image, maps=maps)

    with torch.no_grad():
        plain = network(image)
        (found,) = answers(network, image, widened)
        assert len(found) == 3
        torch.testing.assert_close(found[:2], plain, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found[2], plain[1], atol=1e-4)
        assert 0.2 < torch.cat(shares).mean() < 0.8
        assert torch.equal(network(image), plain)


@pytest.mark.parametrize("case", CASES)
def test_a_second_decoder_reads_the_features_of_the_one_encoder(case, make):
    network, image = make(case)
    second = deepcopy(network)
    parts = innermost(network).halves.parts
    divide(second, parts)
    drop_encoder(second)
    kept = []
    for one in (network, second):
        one.eval()
    (plain,) = answers(network, image, lambda one: kept.append(one) or one)
    (same,) = answers(second, image, kept.pop())
    assert torch.equal(same, plain)
    first = answers(network.train(), image, lambda one: kept.append(one) or one)
    second_answers = answers(second.train(), image, kept[0])
    assert [one.shape for one in second_answers] == [one.shape for one in first]
    of_decoder = dict(innermost(second).named_parameters())
    assert not any(name.startswith(f"{one}.") for name in of_decoder for one in parts.encoder)
    encoder = {
        id(one): one
        for name in parts.encoder
        for one in innermost(network).get_submodule(name).parameters()
    }
    whole = {id(one) for one in network.parameters()}
    assert len(of_decoder) + len(encoder) == len(whole)
    assert len(list(second.parameters())) == len(of_decoder), "nor do its wrappers hold one"
    sum(one.square().mean() for one in second_answers).backward()
    assert any(one.grad is not None and one.grad.any() for one in encoder.values())
    assert any(one.grad is not None for one in of_decoder.values())
    decoder = [one for one in innermost(network).parameters() if id(one) not in encoder]
    assert all(one.grad is None for one in decoder)


@pytest.mark.parametrize("case", ["vnet", "SegResNet", "LocalNet"])
def test_a_copy_changes_its_own_features(case, make):
    network, image = make(case)
    copy = deepcopy(network).eval()
    with torch.no_grad():
        for one in network.parameters():
            one.zero_()
        (found,) = answers(copy, image, unchanged)
        assert torch.equal(found, copy(image))


KNOWN = [
    *("AttentionUnet", "BasicUNet", "DynUNet, deep", "MedNeXt, deep", "SegResNet", "SegResNetDS"),
    *("SwinUNETR", "VNet"),
]
"""Whose encoder a trial finds as it is written down."""


@pytest.mark.parametrize("case", KNOWN)
def test_a_trial_finds_the_encoder_that_is_known(case, make):
    network, image = make(case)
    inner = innermost(network)
    torch.manual_seed(0)
    known = inner.halves.encode(image).maps
    inner.__class__ = type("Unheard", (type(inner),), {"__module__": "another.package"})
    torch.manual_seed(0)
    found = divide(network, find_parts(network, 1, image.shape[2:])).encode(image).maps
    for one, other in zip(found, known, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("case", ["vnet", "unet3d"])
def test_a_trial_finds_the_encoder_of_networks_of_medssl(case, make):
    """As one's own network by entry point would be searched, whose encoder has no known kind."""
    network, image = make(case)
    known = network.halves.encode(image).maps
    network.encoder.__class__ = type(
        "Unheard", (nn.Module,), {"forward": type(network.encoder).stages}
    )
    assert len(find_parts(network, 1, image.shape[2:]).maps) == len(known)
    found = divide(network, find_parts(network, 1, image.shape[2:])).encode(image).maps
    for one, other in zip(found, known, strict=True):
        assert torch.equal(one, other)


def test_features_of_unet_plus_plus_are_those_of_its_encoder_alone(make):
    network, _ = make("BasicUNetPlusPlus")
    assert innermost(network).halves.parts.encoder == tuple(f"conv_{n}_0" for n in range(5))


def test_images_that_a_decoder_reads_keep_their_rows():
    """A decoder with a skip from the image itself."""

    class Skipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv3d(1, 4, 2, 2), nn.ConvTranspose3d(4, 2, 2, 2)

        def forward(self, image):
            return self.up(self.down(image)) + image

    network, image = Skipped().eval(), torch.randn(3, 1, 8, 8, 8)
    divide(network, find_parts(network, 1, (8, 8, 8)))
    order = torch.tensor([2, 0, 1])

    def turned(features):
        return features._replace(
            image=features.image[order], maps=[one[order] for one in features.maps]
        )

    with changed_features(network, turned):
        found = network(image)
    torch.testing.assert_close(found, network(image)[order])


class Slices(nn.Module):
    """A network of the slices of its images, all in one batch."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, image):
        slices = image.movedim(-1, 1).flatten(0, 1)
        found = self.last(self.first(slices))
        return found.unflatten(0, (len(image), -1)).movedim(1, -1)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (nn.Conv3d(1, 2, 1), "no more than one layer with weights"),
        (nn.Sequential(nn.Conv3d(1, 2, 1)), "no more than one layer with weights"),
        (nn.Sequential(nn.InstanceNorm3d(1), nn.Conv3d(1, 2, 1)), "no more than one layer"),
        (nn.Sequential(nn.Conv3d(2, 4, 1), nn.Conv3d(4, 2, 1)), "it fails on patches of"),
        (Slices(), "its features are not of one item each"),
    ],
)
def test_what_has_no_inside_says_so(network, why):
    with pytest.raises(Unparted, match=why):
        find_parts(network, 1, (8, 8, 8))
