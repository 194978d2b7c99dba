"""Files of nnU-Net and of nnssl: U-Nets of dynamic-network-architectures.

Source: sheet of foreign weights, sections 1.3 and T10. Every convolution and norm is listed twice
(`conv` and `all_modules.0`), and the encoder again within the decoder; such twins must be equal.
Strides are not in the weights: they come from the plan that the checkpoint carries, or from the
kernels of the decoder, which are as long.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, equal

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.beside import checked, read_object
from medssl.networks.foreign.nnunet_plans import Configuration, Intensities, Plans, Start
from medssl.networks.foreign.recognised import (
    Facts,
    Family,
    Recognised,
    divided,
    shape_of,
    without,
)
from medssl.networks.weights_file import WeightsFile

_TWIN = re.compile(r"\.all_modules\.(\d)\.")

AXES = "SPL"
"""Of the arrays that nnU-Net gives its networks, for an image that is stored as most are."""

_UNSTATED = Facts("a U-Net of nnU-Net")

OPENMIND = Facts(
    "OpenMind, pre-trained by nnssl on 114,000 volumes of heads",
    "CC BY 4.0",
    "Wald, Ulrich et al., An OpenMind for 3D medical vision self-supervised learning, ICCV 2025",
    True,
    {"mr": {"spacing": [1.0, 1.0, 1.0], "orientation": AXES, "intensity": "zscore"}},
    (160, 160, 160),
)

_RESIDUAL = {"conv1.conv": "block.0", "conv1.norm": "block.1"} | {
    "conv2.conv": "block.3",
    "conv2.norm": "block.4",
}
_KIND = {"conv": 0, "norm": 1}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return without(tensors, "module.", "_orig_mod.")


def _fits(file: WeightsFile) -> bool:
    found = _plain(file.tensors)
    return any(name.startswith("encoder.stages.0.") for name in found) and any(
        ".all_modules." in name or ".convs." in name for name in found
    )


def _without_twins(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor once.

    Raises:
        DataError: two that are one in the network differ.
    """
    found = {}
    for name, value in tensors.items():
        first = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
        first = _TWIN.sub(lambda one: f".{('conv', 'norm')[int(one[1]) % 2]}.", first)
        if first == name:
            found[name] = value
        elif first not in tensors:
            found.setdefault(first, value)
        elif tensors[first].shape != value.shape or not equal(tensors[first], value):
            raise DataError(
                "the file is no whole checkpoint of nnU-Net",
                f"{first} and {name} are one tensor in the network and differ in the file",
                "take another copy",
            )
    return found


def _renamed(name: str) -> str | None:
    """Our name for a tensor of an encoder."""
    parts = name.split(".")
    if parts[0] != "encoder":
        return None
    end = parts[-1]
    if parts[1] == "stem":
        return f"first.{_KIND[parts[4]]}.{end}"
    if parts[3] == "blocks":
        stage, block = parts[2], parts[4]
        inner = ".".join(parts[5:-1])
        if parts[5] == "skip":
            place = int(parts[6]) + _KIND[parts[7]]
            return f"blocks.{stage}.{block}.skip.{place}.{end}"
        return f"blocks.{stage}.{block}.{_RESIDUAL[inner]}.{end}"
    stage, conv, kind = parts[2], parts[5], parts[6]  # encoder.stages.0.0.convs.1.conv.weight
    return f"blocks.{stage}.{conv}.{_KIND[kind]}.{end}"


def theirs(name: str, residual: bool, pools: Sequence[bool]) -> str:
    """The name that nnU-Net gives to one of our tensors; the reverse of how they are read.

    Args:
        pools: of each stage, whether it shrinks the image, so that a mean precedes its skip.
    """
    parts = name.split(".")
    end = parts[-1]
    if parts[0] == "first":
        return f"encoder.stem.convs.0.{('conv', 'norm')[int(parts[1])]}.{end}"
    if not residual:
        stage, conv, kind = parts[1:4]
        return f"encoder.stages.{stage}.0.convs.{conv}.{('conv', 'norm')[int(kind)]}.{end}"
    stage, block, part, place = parts[1:5]
    start = f"encoder.stages.{stage}.blocks.{block}"
    if part == "block":
        back = {ours: other for other, ours in _RESIDUAL.items()}
        return f"{start}.{back[f'block.{place}']}.{end}"
    first = int(pools[int(stage)] and block == "0")
    return f"{start}.skip.{first}.{('conv', 'norm')[int(place) - first]}.{end}"


def _tensors(file: WeightsFile) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    once = _without_twins(_plain(file.tensors))
    try:
        return divided(once, _renamed)
    except (KeyError, IndexError, ValueError) as error:
        raise DataError(
            "the file is no U-Net of nnU-Net that medssl can build",
            f"it names {next(iter(once))} and others of another form",
            "give one of PlainConvUNet or ResidualEncoderUNet",
        ) from error


def _count(names: Mapping[str, Tensor], stage: int) -> int:
    start = f"blocks.{stage}."
    return len({name.split(".")[2] for name in names if name.startswith(start)})


def _strides(
    file: WeightsFile, stages: int, planned: Sequence[int | list[int]] | None
) -> list[list[int]]:
    """Of every stage against the one before."""
    if planned is not None:
        return [[one] * 3 if isinstance(one, int) else one for one in planned]
    tensors = _plain(file.tensors)
    names = [f"decoder.transpconvs.{number}.weight" for number in reversed(range(stages - 1))]
    if all(name in tensors for name in names):
        return [[1, 1, 1], *(list(tensors[name].shape[2:]) for name in names)]
    raise UsageError(
        f"{file.path} does not say by how much its stages shrink the image",
        "it holds neither a plan nor a decoder",
        "put its plans.json, or adaptation_plan.json, beside it",
    )


def _of_nnssl(file: WeightsFile) -> bool:
    """Whether the checkpoint, or a JSON beside it, has a plan of nnssl."""
    if "nnssl_adaptation_plan" in file.beside:
        return True
    return "pretrain_plan" in read_object(file.path.parent / "adaptation_plan.json")


def _plans(file: WeightsFile) -> tuple[Plans, Configuration]:
    """What the checkpoint, or a JSON beside it, says of images and architecture, if anything."""
    chosen, beside = "3d_fullres", file.path.parent / "plans.json"
    if "init_args" in file.beside:
        start = checked(Start, file.beside["init_args"], f"init_args in {file.path}")
        plans, chosen = start.plans, start.configuration or chosen
    else:
        plans = checked(Plans, read_object(beside), beside)
    plain = plans.configurations.get(chosen, {})
    return plans, checked(Configuration, plain, f"the configuration {chosen} of {file.path}")


def _read(file: WeightsFile) -> Recognised:
    plans, configuration = _plans(file)
    weights, left = _tensors(file)
    residual = "first.0.weight" in weights
    stages = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    features, kernels = [], []
    for stage in range(stages):
        first = f"blocks.{stage}.0.{'block.0' if residual else '0'}.weight"
        if first not in weights or weights[first].ndim != 5:
            raise DataError(
                "the file is no 3-D U-Net of nnU-Net that medssl can build",
                f"it lacks stage {stage}, or has it in another shape",
                "give one of PlainConvUNet or ResidualEncoderUNet",
            )
        features.append(weights[first].shape[0])
        kernels.append(list(weights[first].shape[2:]))
    name = "residual_unet" if residual else "plain_unet"
    openmind = _of_nnssl(file)
    known = configuration.architecture.arch_kwargs.strides
    strides = [1, *[2] * (stages - 1)] if openmind else known
    network = {
        "name": name,
        "features": features,
        "strides": _strides(file, stages, strides),
        "kernels": kernels,
        "blocks": [_count(weights, stage) for stage in range(stages)],
    }
    stem = "first.0.weight" if residual else "blocks.0.0.0.weight"
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return Recognised(
        "nnunet",
        f"dynamic_network_architectures {kind}",
        network,
        True,
        shape_of(weights, stem, 5, "nnunet")[1],
        weights,
        left,
        OPENMIND if openmind else _stated(plans, configuration, file),
    )


def _stated(plans: Plans, configuration: Configuration, file: WeightsFile) -> Facts:
    """What plans say of the images; what they do not say stays open.

    The axes of nnU-Net's arrays are those of SimpleITK, z y x in LPS, and so are its kernels.
    """
    schemes, spacing = set(configuration.normalization_schemes), configuration.spacing
    if len(spacing) != 3 or plans.transpose_forward != [0, 1, 2]:
        return _UNSTATED
    chain: dict[str, Any] = {"spacing": spacing, "orientation": AXES}
    if schemes == {"ZScoreNormalization"}:
        return replace(_UNSTATED, preprocess={"mr": {**chain, "intensity": "zscore"}})
    of_channels = plans.foreground_intensity_properties_per_channel
    if schemes == {"CTNormalization"} and set(of_channels) == {"0"}:
        found = checked(Intensities, of_channels["0"], f"the plans of {file.path}")
        window, zscore = [found.percentile_00_5, found.percentile_99_5], [found.mean, found.std]
        return replace(_UNSTATED, preprocess={"ct": {**chain, "window": window, "zscore": zscore}})
    return _UNSTATED


FAMILIES = {
    "nnunet": Family(
        "nnunet",
        "nnU-Net and nnssl: PlainConvUNet and ResidualEncoderUNet, e.g. OpenMind's ResEnc-L",
        _fits,
        _read,
    )
}
