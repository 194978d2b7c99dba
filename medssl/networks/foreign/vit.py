"""Vision transformers of timm, facebook and Hugging Face as encoders of images.

What shapes them follows from the file. What does not (heads, epsilon, normalisation, pooling) is of
a published model of that size, or of the config.json and preprocessor_config.json that Hugging
Face's folders and timm's have beside the weights. Plain transformers of the usual sizes become
medssl's own; all others are built by timm.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.published import PUBLISHED, Published
from medssl.networks.foreign.recognised import Family, Recognised
from medssl.networks.foreign.vit_known import Known, config_of, known_beside, known_of
from medssl.networks.foreign.vit_names import (
    UNUSED,
    as_dinov3,
    as_timm,
    with_registers_of_facebook,
)
from medssl.networks.foreign.vit_shape import Shape, is_transformer, shape_from, tensors_of
from medssl.networks.tile_settings import TIMM, TRANSFORMERS, TransformerSize
from medssl.networks.weights_file import WeightsFile

_STRANGE = {
    "q_norm": "normalised queries",
    "norm_pre": "a norm before its blocks",
    "fc_norm": "a norm of its mean token",
    "relative_position": "relative positions",
}
"""Parts of names of what no published transformer here has."""


def _fits(name: str, model: Published) -> Callable[[WeightsFile], bool]:
    def fits(file: WeightsFile) -> bool:
        tensors = tensors_of(file)
        if not is_transformer(tensors):
            return False
        shape = shape_from(tensors)
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
    if not is_transformer(tensors):
        raise DataError(f"{file.path} is no vision transformer", do="name another family")
    for mark, told in _STRANGE.items():
        if any(mark in one for one in tensors):
            raise DataError(
                f"{file.path} is of a transformer with {told}",
                "medssl knows none with published weights",
                "build it as timm:NAME and give the file as encoder.weights",
            )
    rotary = config_of(file).model_type == "dinov3_vit" or (
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
        shape = shape_from(tensors)
        known = known_beside(file, model)
        if known is None and model is not None:
            known = known_of(file, shape, name, model)
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
    return config_of(file).image_size or (model.side if model else 224)


def _network(shape: Shape, known: Known, side: int, rotary: bool) -> tuple[dict[str, Any], str]:
    """Keys of `encoder`, and what stands before the names of its weights."""
    if shape.width % known.heads:
        raise DataError(
            "the file's transformer cannot be built",
            f"its {shape.width} features cannot be shared out among {known.heads} heads",
            "correct its config.json",
        )
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
    if not is_transformer(tensors_of(file)) or any(one.fits(file) for one in _MODELS.values()):
        return False
    return config_of(file).heads is not None


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
