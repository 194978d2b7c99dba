"""Which tensors of a file are those of a vision transformer, and what they say of its shape."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from medssl.errors import DataError
from medssl.networks.foreign.recognised import without
from medssl.networks.foreign.vit_names import UNUSED, as_timm
from medssl.networks.weights_file import WeightsFile


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


_AXES = {
    "patch_embed.proj.weight": 4,
    "cls_token": 3,
    "pos_embed": 3,
    "reg_token": 3,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.mlp.w12.weight": 2,
    "blocks.0.mlp.fc2.weight": 2,
    "blocks.0.mlp.w3.weight": 2,
}
"""Of the tensors by which a transformer is measured; those of tokens end in its width."""


def is_transformer(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors by timm's names are those of a vision transformer."""
    proj = tensors.get("patch_embed.proj.weight")
    if proj is None or "cls_token" not in tensors or not proj.numel():
        return False
    there = {name: tensors[name] for name in _AXES if name in tensors}
    return all(one.ndim == _AXES[name] for name, one in there.items()) and all(
        one.shape[2] == proj.shape[0] for name, one in there.items() if _AXES[name] == 3
    )


def shape_from(tensors: dict[str, Tensor]) -> Shape:
    """What the tensors of a transformer say of its shape.

    Raises:
        DataError: it has positions for no square image.
    """
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
