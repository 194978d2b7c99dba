"""Encoders of volumes of other projects: small ones, with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.networks.foreign.originals import Original, draw, filled, original, saved


class MergingUntil14(nn.Module):
    """MONAI 0.9 to 1.4: of the eight cells 010 and 001 are taken twice, 110 and 011 never."""

    def __init__(self, dim, norm_layer=nn.LayerNorm, spatial_dims=3):
        super().__init__()
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x):
        x0 = x[:, 0::2, 0::2, 0::2, :]
        x1 = x[:, 1::2, 0::2, 0::2, :]
        x2 = x[:, 0::2, 1::2, 0::2, :]
        x3 = x[:, 0::2, 0::2, 1::2, :]
        x4 = x[:, 1::2, 0::2, 1::2, :]
        x5 = x[:, 0::2, 1::2, 0::2, :]
        x6 = x[:, 0::2, 0::2, 1::2, :]
        x7 = x[:, 1::2, 1::2, 1::2, :]
        return self.reduction(self.norm(torch.cat([x0, x1, x2, x3, x4, x5, x6, x7], -1)))


def swin(v2: bool, downsample: Any = MergingUntil14, channels: int = 1) -> nn.Module:
    from monai.networks.nets import SwinUNETR

    torch.manual_seed(0)
    return filled(
        SwinUNETR(
            in_channels=channels,
            out_channels=3,
            feature_size=12,
            num_heads=(3, 6, 12, 24),
            use_v2=v2,
            downsample=downsample,
        )
    )


def _swin_case(path: Path, network: nn.Module, family: str | None) -> Original:
    return Original(
        path,
        family,
        draw(1, 1, 64, 32, 32),
        lambda image: network.swinViT(image, True),
        lambda encoder: encoder,
    )


def voco(place: Path) -> Original:
    """As VoCo saves it: version 2, wrapped, with decoder, student and teacher."""
    network = swin(True)
    names = {f"module.backbone.{k}": v for k, v in network.state_dict().items()}
    names = {k.replace("swinViT", "swin_vit"): v for k, v in names.items()}
    more = {"module.student.0.weight": torch.ones(2, 2)}
    path = saved(place / "VoCo_B_SSL_head.pt", {"state_dict": names | more, "epoch": 3})
    return _swin_case(path, network, None)


def monai_ssl(place: Path) -> Original:
    """MONAI's model_swinvit.pt: the transformer alone, its MLP under older names."""
    network = swin(False)
    names = {
        f"module.{k}".replace("linear1", "fc1").replace("linear2", "fc2"): v
        for k, v in network.swinViT.state_dict().items()
    }
    path = saved(place / "weights.pt", {"state_dict": names})
    return _swin_case(path, network, None)


def suprem(place: Path) -> Original:
    network = swin(False)
    names = {f"module.backbone.{k}": v for k, v in network.state_dict().items()}
    names["module.organ_embedding"] = torch.ones(3, 4)
    return _swin_case(saved(place / "w.pth", {"net": names}), network, None)


def swin_1_4(place: Path) -> Original:
    network = swin(True)
    path = saved(place / "w.pth", network.state_dict())
    return _swin_case(path, network, "swin_unetr_until_monai_1_4")


def swin_1_5(place: Path) -> Original:
    network = swin(True, "merging")
    path = saved(place / "w.pth", network.state_dict())
    return _swin_case(path, network, "swin_unetr_since_monai_1_5")


def swin_v2_merging(place: Path) -> Original:
    network = swin(False, "mergingv2")
    path = saved(place / "w.pth", network.state_dict())
    return _swin_case(path, network, "swin_unetr_mergingv2")


def unet(residual: bool, deep: bool = True) -> nn.Module:
    module = original("dynamic_network_architectures.architectures.unet")
    torch.manual_seed(0)
    shared = {
        "input_channels": 1,
        "n_stages": 4,
        "features_per_stage": (4, 8, 12, 12),
        "conv_op": nn.Conv3d,
        "kernel_sizes": ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
        "num_classes": 3,
        "n_conv_per_stage_decoder": 1,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": deep,
    }
    if residual:
        return filled(module.ResidualEncoderUNet(n_blocks_per_stage=(1, 3, 2, 1), **shared))
    return filled(module.PlainConvUNet(n_conv_per_stage=2, **shared))


def _unet_case(path: Path, network: Any) -> Original:
    return Original(path, None, draw(1, 1, 16, 32, 32), network.encoder, lambda e: e)


def nnunet_plain(place: Path) -> Original:
    """As nnU-Net saves it, with plans, and a number of numpy among its logs."""
    import numpy as np

    network = unet(False)
    kwargs = {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]}
    configuration = {
        "spacing": [2.5, 0.8, 0.8],
        "normalization_schemes": ["CTNormalization"],
        "architecture": {"arch_kwargs": kwargs},
    }
    intensities = {"mean": 90.0, "std": 40.0, "percentile_00_5": -50.0, "percentile_99_5": 200.0}
    plans = {
        "transpose_forward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    held = {
        "network_weights": network.state_dict(),
        "logging": {"dice": [np.float64(0.5), np.float32(0.25)]},
        "init_args": {"plans": plans, "configuration": "3d_fullres"},
    }
    return _unet_case(saved(place / "checkpoint_final.pth", held), network)


def nnunet_residual(place: Path) -> Original:
    """Weights alone: strides are those of the decoder's kernels."""
    network = unet(True)
    return _unet_case(saved(place / "w.pth", {"network_weights": network.state_dict()}), network)


def nnssl_residual(place: Path) -> Original:
    """As nnssl saves ResEnc-L, whose plan says the architecture; here with fewer channels."""
    module = original("dynamic_network_architectures.architectures.unet")
    torch.manual_seed(0)
    network = filled(
        module.ResidualEncoderUNet(
            1, 6, (2, 4, 6, 8, 8, 8), nn.Conv3d, 3, (1, 2, 2, 2, 2, 2), (1, 3, 4, 6, 6, 6), 1, 1,
            True, nn.InstanceNorm3d, {"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
    )  # fmt: skip
    encoder = {k: v for k, v in network.state_dict().items() if k.startswith("encoder.")}
    plan = {
        "architecture_plans": {"arch_class_name": "ResEncL"},
        "key": "stages",
    }
    held = {"network_weights": encoder, "nnssl_adaptation_plan": plan}
    return Original(
        saved(place / "w.pth", held), None, draw(1, 1, 64, 64, 32), network.encoder, lambda e: e
    )


def nnssl_primus(place: Path) -> Original:
    """As nnssl saves Primus: with decoder and mask token, and the plan in the checkpoint."""
    module = original("dynamic_network_architectures.architectures.primus")
    torch.manual_seed(0)
    network = filled(module.PrimusS(1, 2, (8, 8, 8), (32, 32, 16)))
    plan = {
        "architecture_plans": {"arch_class_name": "PrimusS", "arch_kwargs": None},
        "pretrain_plan": {"configurations": {"onemmiso": {"patch_size": (32, 32, 16)}}},
        "pretrain_num_input_channels": 1,
        "recommended_downstream_patchsize": (160, 160, 160),
        "key_to_encoder": "eva",
        "key_to_stem": "down_projection",
        "keys_to_in_proj": ("down_projection.proj",),
        "key_to_lpe": "eva.pos_embed",
    }
    held = {"network_weights": network.state_dict(), "nnssl_adaptation_plan": plan}

    def features(image: Tensor) -> list[Tensor]:
        """What the whole network hands to its decoder."""
        seen: list[Tensor] = []
        handle = network.up_projection.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
        network(image)
        handle.remove()
        return seen

    path = saved(place / "checkpoint_final.pth", held)
    return Original(path, None, draw(2, 1, 32, 32, 16), features, lambda e: e)


def bundle(place: Path) -> Original:
    """A bundle of MONAI: configuration, metadata, weights."""
    from monai.networks.nets import SegResNet

    torch.manual_seed(0)
    network = filled(
        SegResNet(3, init_filters=8, in_channels=1, out_channels=2, blocks_down=(1, 2, 2))
    )
    defined = {
        "_target_": "SegResNet",
        "spatial_dims": 3,
        "init_filters": 8,
        "in_channels": 1,
        "out_channels": 2,
        "blocks_down": [1, 2, 2],
    }
    (place / "configs").mkdir()
    (place / "models").mkdir()
    (place / "configs" / "inference.json").write_text(json.dumps({"network_def": defined}))
    (place / "configs" / "metadata.json").write_text(json.dumps({"monai_version": "1.3.0"}))
    saved(place / "models" / "model.pt", network.state_dict())

    def features(image: Tensor) -> list[Tensor]:
        last, down = network.encode(image)
        return [*down[:-1], last]

    return Original(place, None, draw(1, 1, 16, 16, 16), features, lambda encoder: encoder)


CASES = {
    "voco": voco,
    "monai_ssl": monai_ssl,
    "suprem": suprem,
    "swin_unetr_until_monai_1_4": swin_1_4,
    "swin_unetr_since_monai_1_5": swin_1_5,
    "swin_unetr_mergingv2": swin_v2_merging,
    "nnunet, plain": nnunet_plain,
    "nnunet, residual": nnunet_residual,
    "nnssl ResEnc-L": nnssl_residual,
    "nnssl Primus": nnssl_primus,
    "monai_bundle": bundle,
}
