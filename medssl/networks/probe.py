"""What stands in place of a decoder to tell what an encoder knows."""

from torch import nn

from medssl.networks.channel_groups import Use
from medssl.networks.choice import NetworkChoice
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.fpn import LinearNetwork
from medssl.networks.neighbours import NeighbourNetwork

PROBES = (LinearNetwork, NeighbourNetwork)


def probe(encoder: VolumeEncoder, settings: NetworkChoice, classes: int) -> nn.Module:
    """The encoder with the probe of the settings: images [B, C, X, Y, Z] to [B, K, X, Y, Z]."""
    use: Use = getattr(settings, "use", "both")
    if settings.probed == "linear":
        return LinearNetwork(encoder, classes, use, settings.spatial_dims or 3)
    return NeighbourNetwork(encoder, classes, settings.nearest, use)
