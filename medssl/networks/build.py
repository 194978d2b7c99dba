"""A network from its settings, with its own seed."""

import torch
from torch import nn

from medssl.errors import UsageError
from medssl.networks.channel_groups import Use
from medssl.networks.choice import SKIP, NetworkChoice
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.flat import Flat
from medssl.networks.probe import PROBES, probe
from medssl.networks.skip_decoder import SkipNetwork
from medssl.networks.transfer import PretrainedEncoder, transfer, transfer_decoder
from medssl.registry import load


def build_network(
    settings: NetworkChoice,
    channels: int,
    classes: int,
    seed: int,
    encoder: PretrainedEncoder | None = None,
) -> nn.Module:
    """Network of `settings`: images [B, channels, X, Y, Z] to logits [B, classes, X, Y, Z].

    A 2-D one takes images of Z = 1. Equal seeds give equal weights; torch's global generator is
    left as it was.

    Args:
        encoder: weights that the network's encoder starts from, and its decoder where they are
            of one of its kind; all else comes from the seed.

    Raises:
        UsageError: the network has no encoder of its own, and one is given.
        DataError: too few weights of `encoder` fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = load(settings.kind.build)(settings, channels, classes)
        if settings.probed is not None and not isinstance(network, PROBES):
            network = probe(encoder_of(network, settings), settings, classes)
        if settings.is_flat:
            network = Flat(network)
        if settings.decoder == SKIP:
            use: Use = getattr(settings, "use", "both")
            network = SkipNetwork(encoder_of(network, settings), classes, use)
    if encoder is not None:
        transfer(encoder_of(network, settings), encoder)
        transfer_decoder(network, encoder)
    if settings.frozen:
        encoder_of(network, settings).requires_grad_(False)
    return network


def build_encoder(
    settings: NetworkChoice, channels: int, seed: int, start: PretrainedEncoder | None = None
) -> VolumeEncoder:
    """The encoder of `build_network(settings, channels, 1, seed, start)`, weight by weight.

    Raises:
        UsageError: the network has no encoder of its own.
        DataError: too few weights of `start` fit.
    """
    return encoder_of(build_network(settings, channels, 1, seed, start), settings)


def encoder_of(network: nn.Module, settings: NetworkChoice) -> VolumeEncoder:
    """`network.encoder`, by the convention of all networks that have one.

    Raises:
        UsageError: the network has no encoder of its own, or that of another package is none.
    """
    settings.must_have_encoder()
    found = getattr(network, "encoder", None)
    if not isinstance(found, VolumeEncoder):
        raise UsageError(
            f"the network {settings.name} cannot be used",
            "it names encoder_keys, and its `encoder` is no VolumeEncoder",
            "correct its package",
        )
    return found
