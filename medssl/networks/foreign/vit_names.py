"""Names of vision transformers: Hugging Face's and facebook's as timm's.

Source: sheet of foreign weights, section 1.2. Queries, keys and values that stand alone are put on
top of each other; facebook's DINOv2 keeps no position for registers, so that of the class token is
added to it, as timm does.
"""

import re
from collections.abc import Mapping

from torch import Tensor, cat, zeros_like

from medssl.errors import DataError

_HF = (
    (r"^(vit|dinov2|dinov2_with_registers|dinov3_vit|model)\.(?=embeddings|encoder|layer)", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.(register_tokens|mask_token)$", r"\1"),
    (r"^(encoder\.)?layers?\.(\d+)\.", r"blocks.\2."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)

_SHORT = {"q": "query", "k": "key", "v": "value"}

UNUSED = (
    *("mask_token", "masked_embed", "rope_embed.periods", "pooler.", "head.", "fc.", "decoder_"),
    "local_cls_norm",
)
"""Beginnings of names of what is no part of the encoder: heads and what only training uses."""


def as_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by timm's names, whichever of the three they had.

    Raises:
        DataError: queries, keys and values are not all there.
    """
    found: dict[str, Tensor] = {}
    apart: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        plain = name
        for pattern, by in _HF:
            plain = re.sub(pattern, by, plain)
        plain = plain.replace("register_tokens", "reg_token").replace("storage_tokens", "reg_token")
        if part := re.fullmatch(r"(blocks\.\d+\.attn)\.(query|key|value|[qkv])\.(\w+)", plain):
            kind = _SHORT.get(part[2], part[2])
            apart.setdefault(f"{part[1]}.qkv.{part[3]}", {})[kind] = value
        else:
            found[plain] = value
    for name, parts in apart.items():
        if name.endswith("bias") and "key" not in parts and {"query", "value"} <= parts.keys():
            parts["key"] = zeros_like(parts["query"])  # DINOv3 has none
        if parts.keys() != {"query", "key", "value"}:
            raise DataError(
                "the file is no whole transformer",
                f"of {name} it holds {', '.join(sorted(parts))} alone",
                "take another copy",
            )
        if len({part.shape for part in parts.values()}) > 1 or not parts["query"].ndim:
            raise DataError(
                "the file is no whole transformer",
                f"the parts of {name} differ in shape, or have none",
                "take another copy",
            )
        found[name] = cat([parts[kind] for kind in ("query", "key", "value")])
    return found


def with_registers_of_facebook(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's registers have no positions; timm then keeps none for the class token either."""
    positions, count = found["pos_embed"], found["pos_embed"].shape[1]
    if "reg_token" not in found or round((count - 1) ** 0.5) ** 2 != count - 1:
        return found
    changed = {
        "cls_token": found["cls_token"] + positions[:, :1],
        "pos_embed": positions[:, 1:],
    }
    return {**found, **changed}


def as_dinov3(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv3 by the names of timm's Eva: LayerScale, biases and gated MLPs are called otherwise.

    The bias of keys is masked in training and counts as 0, whatever the file holds.
    """
    named: dict[str, Tensor] = {}
    for name, value in found.items():
        if name.endswith("attn.qkv.bias_mask"):
            continue
        if name.endswith("attn.qkv.bias"):
            if value.ndim != 1 or len(value) % 3:
                raise DataError(
                    "the file is no whole transformer",
                    f"{name} has the shape {list(value.shape)}, which is not of three parts",
                    "take another copy",
                )
            query, _, last = value.chunk(3)
            named[name.replace("qkv.bias", "q_bias")] = query
            named[name.replace("qkv.bias", "v_bias")] = last
            continue
        plain = re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)
        for theirs, ours in {
            ".mlp.w1.": ".mlp.fc1_g.",
            ".mlp.w2.": ".mlp.fc1_x.",
            ".mlp.w3.": ".mlp.fc2.",
            ".mlp.down_proj.": ".mlp.fc2.",
        }.items():
            plain = plain.replace(theirs, ours)
        gated = any(".mlp.gate_proj." in one for one in found)
        plain = plain.replace(".mlp.gate_proj.", ".mlp.fc1_g.")
        plain = plain.replace(".mlp.up_proj.", ".mlp.fc1_x." if gated else ".mlp.fc1.")
        named[plain] = value
    return named
