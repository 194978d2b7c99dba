"""ResNets and DenseNet121 by torchvision's names, which timm and TorchXRayVision use too.

Source: sheet of foreign weights, sections 1.1, T14 and T15.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medssl.networks.foreign.recognised import Facts, Family, Recognised, without
from medssl.networks.tile_settings import IMAGENET
from medssl.networks.weights_file import WeightsFile

_HEADS = ("fc.", "classifier.", "op_threshs")

_IMAGENET = Facts("a ResNet with ImageNet's normalisation", citation="He et al., CVPR 2016")
_XRV = Facts(
    "TorchXRayVision",
    "that of its data (NIH, PadChest, CheXpert, MIMIC): for research",
    "Cohen et al., TorchXRayVision, MIDL 2022",
    None,
)


def _plain(file: WeightsFile) -> dict[str, Tensor]:
    return without(file.tensors, "module.", "model.", "backbone.", "encoder.")


def _resnet(tensors: Mapping[str, Tensor]) -> str | None:
    """ResNet18 or ResNet50; None for others."""
    if "layer1.0.bn1.running_mean" not in tensors or "conv1.weight" not in tensors:
        return None
    counts = tuple(
        len({name.split(".")[1] for name in tensors if name.startswith(f"layer{level}.")})
        for level in range(1, 5)
    )
    wide = "layer1.0.conv3.weight" in tensors
    if counts == (2, 2, 2, 2) and not wide:
        return "resnet18"
    return "resnet50" if counts == (3, 4, 6, 3) and wide else None


def _grey(tensors: Mapping[str, Tensor], stem: str) -> bool:
    return stem in tensors and tensors[stem].ndim == 4 and tensors[stem].shape[1] == 1


def _recognised(
    family: str, original: str, network: dict[str, Any], tensors: Mapping[str, Tensor],
    weights: Mapping[str, Tensor], facts: Facts,
) -> Recognised:  # fmt: skip
    left = tuple(name for name in tensors if name.startswith(_HEADS))
    return Recognised(
        family, original, network, False, network.get("channels", 3),
        {f"backbone.{name}": one for name, one in weights.items()}, left, facts,
    )  # fmt: skip


def _read_resnet(file: WeightsFile) -> Recognised:
    tensors = _plain(file)
    name = _resnet(tensors) or "resnet50"
    grey = _grey(tensors, "conv1.weight")
    mean, std = _RANGE if grey else IMAGENET
    kept = {key: one for key, one in tensors.items() if not key.startswith(_HEADS)}
    network = {"name": name, "side": 512 if grey else 224, "mean": mean, "std": std}
    return _recognised(
        "xrv_resnet" if grey else "resnet",
        f"torchvision {name}",
        network | ({"channels": 1} if grey else {}),
        tensors,
        kept,
        _XRV if grey else _IMAGENET,
    )


_RANGE = ((0.5,), (1 / 2048,))
"""Of TorchXRayVision: 0..1 becomes -1024..1024."""


def _dense_name(name: str) -> str:
    """MONAI's name for a tensor of torchvision's DenseNet, of old files or new."""
    plain = re.sub(r"(denselayer\d+)\.(norm|conv)\.?([12])\.", r"\1.layers.\2\3.", name)
    return plain.removeprefix("features.")


def _is_dense(file: WeightsFile) -> bool:
    tensors = _plain(file)
    return "features.denseblock3.denselayer24.conv2.weight" in tensors or (
        "features.denseblock3.denselayer24.conv.2.weight" in tensors
    )


def _read_dense(file: WeightsFile) -> Recognised:
    tensors = _plain(file)
    kept = {
        f"features.{_dense_name(key)}": one
        for key, one in tensors.items()
        if not key.startswith(_HEADS)
    }
    grey = _grey(tensors, "features.conv0.weight")
    mean, std = _RANGE if grey else IMAGENET
    network: dict[str, Any] = {"name": "densenet121", "side": 224, "mean": mean, "std": std}
    facts = _XRV if grey else Facts("DenseNet121 with ImageNet's normalisation")
    return _recognised(
        "densenet121",
        f"{'torchxrayvision' if grey else 'torchvision'} DenseNet121",
        network | ({"channels": 1} if grey else {}),
        tensors,
        kept,
        facts,
    )


FAMILIES = {
    "resnet": Family(
        "resnet",
        "ResNet18 and ResNet50 with BatchNorm; of one channel, those of TorchXRayVision",
        lambda file: _resnet(_plain(file)) is not None,
        _read_resnet,
    ),
    "densenet121": Family(
        "densenet121",
        "DenseNet121; of one channel, that of TorchXRayVision",
        _is_dense,
        _read_dense,
    ),
}
