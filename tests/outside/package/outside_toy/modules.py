"""The network `two_levels`."""

from torch import nn

from medssl.networks.settings import NetworkSettings


def two_levels(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """Down to half the resolution, and up again."""
    return nn.Sequential(
        nn.Conv3d(channels, settings.width, 2, stride=2),
        nn.LeakyReLU(),
        nn.Conv3d(settings.width, settings.width, 3, padding=1),
        nn.LeakyReLU(),
        nn.ConvTranspose3d(settings.width, classes, 2, stride=2),
    )
