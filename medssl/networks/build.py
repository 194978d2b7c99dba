"""A network from its settings, with its own seed."""

import torch
from torch import nn

from medssl.networks.settings import NetworkSettings
from medssl.networks.unet3d import UNet3d
from medssl.networks.vnet import VNet


def build_network(settings: NetworkSettings, channels: int, classes: int, seed: int) -> nn.Module:
    """Network of `settings`: images [B, channels, X, Y, Z] to logits [B, classes, X, Y, Z].

    Equal seeds give equal weights; torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(settings, channels, classes)


def _build(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    plain = (settings.width, settings.levels, settings.norm, settings.dropout)
    if settings.name == "vnet":
        return VNet(channels, classes, *plain)
    if settings.name == "unet3d":
        return UNet3d(channels, classes, *plain)
    from monai.networks.nets import UNet

    network: nn.Module = UNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=classes,
        channels=[settings.width * 2**level for level in range(settings.levels)],
        strides=[2] * (settings.levels - 1),
        num_res_units=settings.residual_units,
        norm=settings.norm,
        dropout=settings.dropout,
    )
    return network


def side_multiple(settings: NetworkSettings) -> int:
    """Patch sides must be a multiple of this many voxels."""
    return 1 << (settings.levels - 1)
