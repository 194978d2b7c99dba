"""A network from its settings, with its own seed."""

import torch
from torch import nn

from medssl.errors import UsageError
from medssl.networks.conv_encoder import ConvEncoder
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.fpn import FpnNetwork, LinearNetwork
from medssl.networks.joint_encoder import JointEncoder
from medssl.networks.settings import ENCODER_KEYS, NetworkSettings
from medssl.networks.slice_unet import SliceUNet
from medssl.networks.swin import SwinEncoder
from medssl.networks.transfer import PretrainedEncoder, transfer
from medssl.networks.unet3d import UNet3d
from medssl.networks.vnet import VNet


def build_network(
    settings: NetworkSettings,
    channels: int,
    classes: int,
    seed: int,
    encoder: PretrainedEncoder | None = None,
) -> nn.Module:
    """Network of `settings`: images [B, channels, X, Y, Z] to logits [B, classes, X, Y, Z].

    Equal seeds give equal weights; torch's global generator is left as it was.

    Args:
        encoder: weights that the network's encoder starts from; all else comes from the seed.

    Raises:
        UsageError: the network has no encoder of its own, and one is given.
        DataError: too few weights of `encoder` fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _build(settings, channels, classes)
    if encoder is not None:
        transfer(encoder_of(network, settings), encoder)
    if settings.frozen:
        encoder_of(network, settings).requires_grad_(False)
    return network


def build_encoder(settings: NetworkSettings, channels: int, seed: int) -> VolumeEncoder:
    """The encoder of `build_network(settings, channels, 1, seed)`, weight by weight.

    Raises:
        UsageError: the network has no encoder of its own.
    """
    return encoder_of(build_network(settings, channels, 1, seed), settings)


def encoder_of(network: nn.Module, settings: NetworkSettings) -> VolumeEncoder:
    """`network.encoder`, by the convention of all networks that have one.

    Raises:
        UsageError: the network has no encoder of its own.
    """
    found = getattr(network, "encoder", None)
    if not isinstance(found, VolumeEncoder):
        raise UsageError(
            f"network.name={settings.name} has no encoder of its own",
            "so none can be pre-trained for it, nor put into it",
            f"choose one of: {', '.join(ENCODER_KEYS)}",
        )
    return found


def _build(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    plain = (settings.width, settings.levels, settings.norm, settings.dropout)
    if settings.name == "vnet":
        return VNet(channels, classes, *plain)
    if settings.name == "unet3d":
        return UNet3d(channels, classes, *plain)
    if settings.name == "monai_unet":
        return _monai_unet(settings, channels, classes)
    if settings.name == "slice_unet":
        return _slice_unet(settings, channels, classes)
    encoder = (
        _swin(settings, channels) if settings.name == "swin_fpn" else _conv(settings, channels)
    )
    if settings.decoder == "linear":
        return LinearNetwork(encoder, classes, settings.use)
    return FpnNetwork(encoder, classes, settings.decoder_width, settings.dropout, settings.use)


def _swin(settings: NetworkSettings, channels: int) -> VolumeEncoder:
    return SwinEncoder(
        channels,
        settings.width,
        settings.levels,
        settings.embed_stride,
        settings.depths,
        settings.heads,
        settings.window,
        settings.checkpointing,
        settings.drop_path,
    )


def _conv(settings: NetworkSettings, channels: int) -> VolumeEncoder:
    return ConvEncoder(channels, settings.width, settings.levels)


def _slice_unet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    transformer = settings.slice_transformer if settings.film else None
    return SliceUNet(
        JointEncoder(channels, settings.slice_encoder, transformer, settings.neighbours),
        classes,
        settings.decoder_width,
        settings.norm,
        settings.dropout,
        settings.slice_spacing,
    )


def _monai_unet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
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
