"""What settings of networks say before anything is built is what the built networks do."""

from itertools import product

import pytest
import torch

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.settings import NetworkSettings

SMALL = {
    "swin_fpn": {"width": 4, "depths": (1, 1), "heads": (1, 1), "window": 2},
    "slice_unet": {
        "slice_encoder": {"name": "conv", "width": 4, "levels": 2, "norm": "group"},
        "slice_transformer": {"width": 8, "heads": 2, "layers": 1, "points": 2, "hidden": 8},
    },
}


def settings(name: str, norm: str = "batch") -> NetworkSettings:
    return NetworkSettings(name=name, norm=norm, **{"width": 4, "levels": 3, **SMALL.get(name, {})})


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("vnet", "batch"),
        ("vnet", "instance"),
        ("vnet", "group"),
        ("unet3d", "batch"),
        ("unet3d", "instance"),
        ("monai_unet", "batch"),
        ("monai_unet", "instance"),
        ("conv_fpn", "instance"),
        ("swin_fpn", "instance"),
        ("slice_unet", "batch"),
        ("slice_unet", "instance"),
    ],
)
def test_patches_are_refused_by_which_training_would_fail_and_no_others(
    name: str, norm: str
) -> None:
    chosen = settings(name, norm)
    network, side = build_network(chosen, 1, 2, 0).train(), chosen.side_multiple
    odd = [(1, 1, 1), (2, 2, 1), (2, 2, 2), (3, 2, 1)] if side == 1 else []
    patches = [(side, side, side), (side, side, 2 * side), *odd]
    for patch, items in product(patches, (1, 2)):
        try:
            network(torch.randn(items, 1, *patch))
        except ValueError:
            with pytest.raises(UsageError, match="the nearest that does is"):
                chosen.must_take(patch, items)
        else:
            chosen.must_take(patch, items)


@pytest.mark.parametrize("name", ["vnet", "unet3d", "conv_fpn", "swin_fpn", "slice_unet"])
def test_the_cells_that_an_encoder_embeds_are_known_before_it_is_built(name: str) -> None:
    assert settings(name).cell == build_encoder(settings(name), 1, 0).embed_stride
