"""An encoder as a plain state dict, by the names of the library that its class is of.

So that it serves in nnU-Net, MONAI, timm or torchvision. Beside the weights lies what these, and
`medssl import`, need to know of it: sizes, normalisation, and how cells are merged. What has no
class elsewhere is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medssl.atomic import appearing
from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network, encoder_of
from medssl.networks.choice import NetworkChoice
from medssl.networks.foreign.families import NOTE
from medssl.networks.foreign.nnunet import theirs
from medssl.networks.heads import ManyHeads
from medssl.networks.merging import LEGACY
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.monai_tile_settings import AnyTileEncoder, MonaiTileSettings
from medssl.networks.primus_settings import SIZES, PrimusSettings, Size
from medssl.networks.tile_settings import TRANSFORMERS
from medssl.networks.unet_settings import UNetSettings
from medssl.train.checkpoint import load_checkpoint, load_weights, read_weights
from medssl.train.description import description_of
from medssl.train.encoder_checkpoint import read_encoder
from medssl.train.tile_checkpoint import read_tile_encoder

WEIGHTS = "model.safetensors"

Exported = tuple[dict[str, Tensor], dict[str, dict[str, Any]]]
"""Tensors by the names of another library, and JSON files by name."""


def export_encoder(checkpoint: Path, out: Path) -> None:
    """The verb: write weights and what is to be known of them as a new folder.

    Args:
        checkpoint: folder of an encoder, or of a trained segmentation network with one member.
        out: new folder.

    Raises:
        UsageError: `checkpoint` has no encoder that another library has a class for, or `out`
            exists.
        DataError: the checkpoint is damaged.
    """
    from safetensors.torch import save_file

    if out.exists():
        raise UsageError(f"{out} exists already", "", "choose another name, or delete it")
    tensors, files = _exported(checkpoint)
    with appearing(out, durable=True) as beside:
        beside.mkdir()
        save_file({key: one.clone().contiguous() for key, one in tensors.items()}, beside / WEIGHTS)
        for name, plain in files.items():
            (beside / name).write_text(json.dumps(plain, indent=2), encoding="utf-8")


def _exported(folder: Path) -> Exported:
    plain = description_of(folder)
    if plain.get("family") == "pretrain" and "tiles" in plain:
        return _of_images(read_tile_encoder(folder).encoder, read_weights(folder), plain)
    if plain.get("family", "segment") == "segment":
        predictor, trained = load_checkpoint(folder)
        if len(predictor.members) != 1:
            raise UsageError(
                f"{folder} holds {len(predictor.members)} networks",
                "an encoder is of one",
                "name a checkpoint of a single network",
            )
        encoder = encoder_of(predictor.members[0], trained.network)
        return _of_volumes(trained.network, encoder, len(trained.channels))
    described = read_encoder(folder)
    found = build_encoder(described.network, described.channels, seed=0)
    load_weights(folder, found)
    return _of_volumes(described.network, found, described.channels)


def _of_volumes(network: NetworkChoice, encoder: nn.Module, channels: int) -> Exported:
    own = dict(encoder.state_dict())
    if isinstance(network, UNetSettings):
        return _of_nnunet(network, own)
    if isinstance(network, MonaiSettings):
        return _of_monai(network, own, channels)
    if isinstance(network, PrimusSettings):
        return own, _primus_files(network, channels)
    raise _none(network.name)


def _of_nnunet(network: UNetSettings, own: Mapping[str, Tensor]) -> Exported:
    """With every tensor as often as its classes list it."""
    residual, tensors = network.name == "residual_unet", dict[str, Tensor]()
    for name, value in own.items():
        first = theirs(name, residual, [set(one.stride) != {1} for one in network.stages])
        tensors[first] = value
        for kind, place in (("conv", 0), ("norm", 1)):
            twin = first.replace(f".{kind}.weight", f".all_modules.{place}.weight")
            tensors[twin.replace(f".{kind}.bias", f".all_modules.{place}.bias")] = value
    stages, axes = network.stages, len(network.stages[0].kernel)
    arguments: dict[str, Any] = {
        "n_stages": len(stages),
        "features_per_stage": [one.width for one in stages],
        "kernel_sizes": [list(one.kernel) for one in stages],
        "strides": [list(one.stride) for one in stages],
        "n_blocks_per_stage" if residual else "n_conv_per_stage": [one.blocks for one in stages],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    architecture = {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": arguments,
    }
    configuration = "2d" if network.is_flat else "3d_fullres"
    plans = {"configurations": {configuration: {"architecture": architecture}}}
    return tensors, {"plans.json": plans, NOTE: {"family": "nnunet"}}


def _primus_files(network: PrimusSettings, channels: int) -> dict[str, dict[str, Any]]:
    """The adaptation plan of nnssl; tensors have the names of the original already."""
    own = Size(network.width, network.depth, network.heads)
    kind = next((name for name, size in SIZES.items() if size == own), None)
    if kind is None:
        raise _none(f"a Primus of {network.width} numbers a token")
    sides = list(network.input_shape or ())
    plan = {
        "architecture_plans": {"arch_class_name": kind, "arch_kwargs": None},
        "pretrain_plan": {"configurations": {"medssl": {"patch_size": sides}}},
        "pretrain_num_input_channels": channels,
        "recommended_downstream_patchsize": sides,
        "key_to_encoder": "eva",
        "key_to_stem": "down_projection",
        "keys_to_in_proj": ["down_projection.proj"],
        "key_to_lpe": "eva.pos_embed",
    }
    return {"adaptation_plan.json": plan, NOTE: {"family": "primus"}}


def _of_monai(network: MonaiSettings, own: Mapping[str, Tensor], channels: int) -> Exported:
    """By the names of the same modules in the whole network."""
    whole = build_network(network, channels, 1, seed=0)
    encoder = encoder_of(whole, network)
    inner = whole
    while isinstance(inner, ManyHeads):
        inner = inner.network
    places = {id(value): name for name, value in inner.state_dict(keep_vars=True).items()}
    tensors = {
        places[id(value)]: own[name] for name, value in encoder.state_dict(keep_vars=True).items()
    }
    arguments = {key: one for key, one in network.arguments.items() if key != "downsample"}
    merging = network.arguments.get("downsample", "merging")
    family = {
        LEGACY: "swin_unetr_until_monai_1_4",
        "mergingv2": "swin_unetr_mergingv2",
        "merging": "swin_unetr_since_monai_1_5",
    }[merging]
    note = {"family": family} if network.name == f"{PREFIX}SwinUNETR" else {}
    defined = {"_target_": network.name.removeprefix(PREFIX), **arguments, "in_channels": channels}
    return tensors, {"network.json": defined, NOTE: note}


def _of_images(
    settings: AnyTileEncoder, own: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> Exported:
    tensors = {name.removeprefix("backbone."): one for name, one in own.items()}
    if any(".adapter." in name for name in tensors):
        raise _none(f"{settings.name} with adapters")
    mean, std = settings.values
    images = {"image_mean": list(mean), "image_std": list(std), "size": settings.side}
    imported = plain.get("imported") or {}
    note: dict[str, Any] = {"family": imported.get("family")} if imported else {}
    files: dict[str, dict[str, Any]] = {"preprocessor_config.json": images}
    if isinstance(settings, MonaiTileSettings):
        tensors = {name.removeprefix("network."): one for name, one in tensors.items()}
        defined = {"_target_": settings.name.removeprefix(PREFIX), **settings.arguments}
        files["network.json"] = {**defined, "channels": settings.channels}
    elif settings.model is not None:
        tensors = {name.removeprefix("model."): one for name, one in tensors.items()}
        cfg = {"mean": list(mean), "std": list(std), "interpolation": settings.resize}
        said = {"architecture": settings.model, "model_args": settings.arguments}
        files["config.json"] = {**said, "num_classes": 0, "pretrained_cfg": cfg}
        if "dinov3" in settings.model:
            files["config.json"]["model_type"] = "dinov3_vit"
    elif size := TRANSFORMERS.get(settings.name):
        sizes = {"num_attention_heads": size.heads, "layer_norm_eps": settings.epsilon}
        files["config.json"] = {**sizes, "image_size": settings.side}
    elif settings.name == "densenet121":
        tensors = {name.replace(".layers.", "."): one for name, one in tensors.items()}
    elif settings.name == "resnet18_instance":
        raise _none(settings.name)
    return tensors, {**files, NOTE: note}


def _none(name: str) -> UsageError:
    return UsageError(
        f"the encoder of {name} cannot be exported",
        "no other library has a class for it",
        "pre-train plain_unet or residual_unet for nnU-Net, a network of MONAI, or a vit_... or "
        "timm:NAME encoder of tiles",
    )
