"""The networks of medssl by name; each is built from its settings, channels and classes."""

from torch import nn

from medssl.networks.conv_encoder import ConvEncoder
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.fpn import FpnNetwork
from medssl.networks.mixed_encoder import MixedEncoder
from medssl.networks.probe import probe
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_unet import SliceUNet
from medssl.networks.swin import SwinEncoder
from medssl.networks.unet3d import UNet3d
from medssl.networks.vnet import VNet


def vnet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """A V-Net, 3-D or 2-D."""
    sizes = settings.width, settings.levels
    dims = settings.spatial_dims or 3
    return VNet(channels, classes, *sizes, settings.norm, settings.dropout, dims)


def unet3d(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """A U-Net, 3-D or 2-D."""
    sizes = settings.width, settings.levels
    dims = settings.spatial_dims or 3
    return UNet3d(channels, classes, *sizes, settings.norm, settings.dropout, dims)


def swin_fpn(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """A Swin transformer with a pyramid of features, or a linear map of them."""
    encoder = SwinEncoder(
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
    return _decoded(encoder, settings, classes)


def conv_fpn(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """A convolutional encoder with a pyramid of features, or a linear map of them."""
    return _decoded(ConvEncoder(channels, settings.width, settings.levels), settings, classes)


def slice_unet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """A 2-D U-Net on slices that a transformer joins."""
    transformer = settings.slice_transformer if settings.film else None
    return SliceUNet(
        MixedEncoder(channels, settings.slice_encoder, transformer, settings.neighbours),
        classes,
        settings.decoder_width,
        settings.norm,
        settings.dropout,
        settings.slice_spacing,
    )


def monai_unet(settings: NetworkSettings, channels: int, classes: int) -> nn.Module:
    """MONAI's U-Net with residual units."""
    from monai.networks.nets import UNet

    network: nn.Module = UNet(
        spatial_dims=settings.spatial_dims or 3,
        in_channels=channels,
        out_channels=classes,
        channels=[settings.width * 2**level for level in range(settings.levels)],
        strides=[2] * (settings.levels - 1),
        num_res_units=settings.residual_units,
        norm=settings.norm,
        dropout=settings.dropout,
    )
    return network


def _decoded(encoder: VolumeEncoder, settings: NetworkSettings, classes: int) -> nn.Module:
    if settings.probed is not None:
        return probe(encoder, settings, classes)
    return FpnNetwork(encoder, classes, settings.decoder_width, settings.dropout, settings.use)
