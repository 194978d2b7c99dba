"""Vision transformers of timm, facebook and Hugging Face as encoders of images.

What shapes them follows from the file. What does not (heads, epsilon, normalisation, pooling) is of
a published model of that size, or of the config.json and preprocessor_config.json that Hugging
Face's folders and timm's have beside the weights. Plain transformers of the usual sizes become
medssl's own; all others are built by timm.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.published import HEADS, PUBLISHED, Published
from medssl.networks.foreign.recognised import Facts, Family, Recognised, without
from medssl.networks.foreign.vit_names import (
    UNUSED,
    as_dinov3,
    as_timm,
    with_registers_of_facebook,
)
from medssl.networks.tile_settings import TIMM, TRANSFORMERS, TransformerSize
from medssl.networks.weights_file import WeightsFile

_STRANGE = {
    "q_norm": "normalised queries",
    "norm_pre": "a norm before its blocks",
    "fc_norm": "a norm of its mean token",
    "relative_position": "relative positions",
}
"""Parts of names of what no published transformer here has."""


@dataclass(frozen=True)
class Shape:
    """What shapes a transformer, as far as its file says it.

    Attributes:
        side: of the images whose positions it has; 0 where it has rotary ones.
        before: tokens with positions before those of the patches.
        ratio: of the MLP's width, of both halves where it is gated.
    """

    width: int
    depth: int
    patch: int
    channels: int
    side: int
    before: int
    registers: int
    ratio: float
    gated: bool
    scaled: bool


def tensors_of(file: WeightsFile) -> dict[str, Tensor]:
    """By timm's names, without heads and what only training uses."""
    plain = without(file.tensors, "module.", "backbone.", "model.")
    found = as_timm(plain)
    return {name: one for name, one in found.items() if not name.startswith(UNUSED)}


def _is_vit(tensors: Mapping[str, Tensor]) -> bool:
    proj = tensors.get("patch_embed.proj.weight")
    return proj is not None and proj.ndim == 4 and "cls_token" in tensors


def _shape(tensors: dict[str, Tensor]) -> Shape:
    width, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    inner = tensors.get("blocks.0.mlp.fc1.weight", tensors.get("blocks.0.mlp.w12.weight"))
    outer = tensors.get("blocks.0.mlp.fc2.weight", tensors.get("blocks.0.mlp.w3.weight"))
    separate = any(
        name.startswith(("blocks.0.mlp.w1.", "blocks.0.mlp.gate", "blocks.0.mlp.fc1_g"))
        for name in tensors
    )
    packed = inner is not None and outer is not None and inner.shape[0] == 2 * outer.shape[1]
    ratio = (inner.shape[0] if inner is not None else 0) / width
    side, before = _positions(tensors, patch, registers)
    scaled = any(name.endswith(("ls1.gamma", "gamma_1")) for name in tensors)
    return Shape(
        width, depth, patch, channels, side, before, registers, ratio, packed or separate, scaled
    )


def _positions(tensors: dict[str, Tensor], patch: int, registers: int) -> tuple[int, int]:
    """Side of the images, and how many tokens before the patches have a position."""
    if "pos_embed" not in tensors:
        return 0, 0
    count = tensors["pos_embed"].shape[1]
    for before in dict.fromkeys((0, 1, 1 + registers)):
        grid = round(max(0, count - before) ** 0.5)
        if grid and grid**2 == count - before:
            return grid * patch, before
    raise DataError(
        "the file's positions are of no square image",
        f"there are {count} of them",
        "give weights of square images",
    )


def _json(file: WeightsFile, name: str) -> dict[str, Any]:
    path = file.path.parent / name
    if not path.is_file():
        return {}
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON", do="take another copy") from error
    return plain if isinstance(plain, dict) else {}


@dataclass(frozen=True)
class Known:
    """What no file of weights says: from a published model, or from the files beside it.

    Attributes:
        epsilon: of every norm; None: timm's for such a model.
    """

    heads: int
    epsilon: float
    values: tuple[tuple[float, ...], tuple[float, ...]]
    pooling: str
    resize: str
    facts: Facts


def _beside(file: WeightsFile, model: Published | None) -> Known | None:
    """What config.json and preprocessor_config.json beside the file say; None: nothing."""
    said = _json(file, "config.json")
    heads = said.get("num_attention_heads", said.get("model_args", {}).get("num_heads"))
    if not isinstance(heads, int):
        return None
    images, cfg = _json(file, "preprocessor_config.json"), said.get("pretrained_cfg", {})
    mean = images.get("image_mean", cfg.get("mean"))
    std = images.get("image_std", cfg.get("std"))
    if mean is None or std is None:
        if model is None:
            raise UsageError(
                f"{file.path} does not say how its images were normalised",
                "there is no preprocessor_config.json with image_mean and image_std beside it",
                "put it there, or name the published model that it is with --family",
            )
        mean, std = model.values
    exact = said.get("layer_norm_eps", 1e-6)
    gated = said.get("use_swiglu_ffn") or said.get("use_gated_mlp")
    if said.get("hidden_act", "gelu") != "gelu" and not gated:
        raise DataError(
            f"{file.path} is of a transformer with another activation",
            f"its config.json says {said['hidden_act']}",
            "give one with gelu or SwiGLU",
        )
    facts = model.facts if model else Facts(str(said.get("architecture", "a transformer")))
    return Known(
        heads,
        float(exact),
        (tuple(map(float, mean)), tuple(map(float, std))),
        model.pooling if model else "cls",
        "bicubic" if cfg.get("interpolation") == "bicubic" else "bilinear",
        replace(facts, licence=str(cfg.get("license") or facts.licence)),
    )


def _of_model(file: WeightsFile, shape: Shape, name: str, model: Published) -> Known:
    """What is known of a published model, of whose size the file is.

    Raises:
        DataError: it is of another.
    """
    own = (shape.width, shape.depth, shape.patch, shape.registers, shape.scaled, shape.gated)
    its = (model.width, model.depth, model.patch, model.registers, model.scaled, model.gated)
    if own != its:
        raise DataError(
            f"{file.path} is no {name}",
            f"its width, depth, patch, registers, LayerScale and SwiGLU are {list(own)}, and "
            f"{name} has {list(its)}",
            "name another family, or put its config.json beside it",
        )
    return Known(HEADS[model.width], 1e-6, model.values, model.pooling, model.resize, model.facts)


def _fits(name: str, model: Published) -> Callable[[WeightsFile], bool]:
    def fits(file: WeightsFile) -> bool:
        tensors = tensors_of(file)
        if not _is_vit(tensors):
            return False
        shape = _shape(tensors)
        own = (shape.width, shape.depth, shape.patch, shape.registers, shape.scaled, shape.gated)
        its = (model.width, model.depth, model.patch, model.registers, model.scaled, model.gated)
        rotary = shape.side == 0
        return own == its and rotary == name.startswith("dinov3") and shape.side in (0, model.side)

    return fits


def _must_be_known(file: WeightsFile, tensors: Mapping[str, Tensor], name: str) -> None:
    """Refuse what would give other features than the weights were trained for.

    Raises:
        DataError: the file is of another kind of transformer, or lacks positions that it had.
    """
    if not _is_vit(tensors):
        raise DataError(f"{file.path} is no vision transformer", do="name another family")
    for mark, told in _STRANGE.items():
        if any(mark in one for one in tensors):
            raise DataError(
                f"{file.path} is of a transformer with {told}",
                "medssl knows none with published weights",
                "build it as timm:NAME and give the file as encoder.weights",
            )
    rotary = _json(file, "config.json").get("model_type") == "dinov3_vit" or (
        name.startswith("dinov3") and "reg_token" in tensors
    )
    if "pos_embed" not in tensors and not rotary:
        raise DataError(
            f"{file.path} lacks the positions of its patches",
            "the encoder would keep random ones",
            "take another copy, or put its config.json beside it",
        )


def _reader(name: str, model: Published | None) -> Callable[[WeightsFile], Recognised]:
    def read(file: WeightsFile) -> Recognised:
        tensors = tensors_of(file)
        _must_be_known(file, tensors, name)
        rotary = "pos_embed" not in tensors
        if not rotary:
            tensors = with_registers_of_facebook(tensors)
        shape = _shape(tensors)
        known = _beside(file, model)
        if known is None and model is not None:
            known = _of_model(file, shape, name, model)
        if known is None:
            raise UsageError(
                f"{file.path} does not say what transformer it is of",
                "there is no config.json beside it",
                "put it there, or name the published model that it is with --family",
            )
        side = shape.side or _side(file, model)
        network, prefix = _network(shape, known, side, rotary)
        if rotary:
            tensors = as_dinov3(tensors)
        left = tuple(one for one in as_timm(file.tensors) if one.startswith(UNUSED))
        return Recognised(
            name,
            f"{'timm ' if prefix else ''}{network.get('model', network['name'])}",
            network,
            False,
            shape.channels,
            {f"backbone.{prefix}{key}": one for key, one in tensors.items()},
            left,
            known.facts,
        )

    return read


def _side(file: WeightsFile, model: Published | None) -> int:
    told = _json(file, "config.json").get("image_size", model.side if model else 224)
    return int(told)


def _network(shape: Shape, known: Known, side: int, rotary: bool) -> tuple[dict[str, Any], str]:
    """Keys of `encoder`, and what stands before the names of its weights."""
    mean, std = known.values
    shared: dict[str, Any] = {
        "side": side,
        "mean": mean,
        "std": std,
        "pooling": known.pooling,
        "resize": known.resize,
        "channels": shape.channels,
    }
    size = TransformerSize(shape.patch, shape.width, shape.depth, known.heads)
    own = next((name for name, one in TRANSFORMERS.items() if one == size), None)
    plain = not (shape.registers or shape.scaled or shape.gated or rotary)
    if own is not None and plain and shape.ratio == 4 and shape.before == shape.channels - 2 == 1:
        return {**shared, "name": own, "epsilon": known.epsilon}, ""
    arguments: dict[str, Any] = {
        "img_size": side,
        "patch_size": shape.patch,
        "embed_dim": shape.width,
        "depth": shape.depth,
        "num_heads": known.heads,
        "dynamic_img_size": True,
    }
    if rotary:
        name = (
            "vit_small_plus_patch16_dinov3_qkvb" if shape.gated else "vit_small_patch16_dinov3_qkvb"
        )
        arguments |= {"num_reg_tokens": shape.registers, "global_pool": "token"}
        if shape.ratio and not shape.gated:
            arguments["mlp_ratio"] = shape.ratio
        return {**shared, "name": f"{TIMM}:{name}", "model": name, "arguments": arguments}, "model."
    if known.epsilon != 1e-6:
        raise DataError(
            "the file's transformer cannot be built by timm",
            f"its norms have the epsilon {known.epsilon}, timm's 1e-6",
            "give one with layer_norm_eps 1e-6",
        )
    arguments |= {
        "mlp_ratio": shape.ratio,
        "reg_tokens": shape.registers,
        "no_embed_class": shape.before == 0,
        **({"init_values": 1e-5} if shape.scaled else {}),
        **({"mlp_layer": "SwiGLUPacked", "act_layer": "silu"} if shape.gated else {}),
    }
    name = "vit_base_patch16_224"
    return {**shared, "name": f"{TIMM}:{name}", "model": name, "arguments": arguments}, "model."


def _configured(file: WeightsFile) -> bool:
    """Whether a transformer of no published size has its config.json beside it."""
    if not _is_vit(tensors_of(file)) or any(one.fits(file) for one in _MODELS.values()):
        return False
    said = _json(file, "config.json")
    return "num_attention_heads" in said or "num_heads" in said.get("model_args", {})


_MODELS = {
    name: Family(name, model.facts.title, _fits(name, model), _reader(name, model))
    for name, model in PUBLISHED.items()
}

FAMILIES = {
    **_MODELS,
    "vit": Family(
        "vit",
        "vision transformers of timm or Hugging Face with their config.json beside them",
        _configured,
        _reader("vit", None),
    ),
}
