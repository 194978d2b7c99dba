"""What of given weights fits a network, by name and shape, never by order; and what is refused.

A load is refused if it would give features that the weights were not trained for: if a tensor of
the file that belongs to what is loaded has no place, or if a part of what is loaded would keep its
random start. Heads and other whole parts that the network lacks are left out and reported; the
network's last blocks may be missing where the settings allow it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from medssl.errors import DataError

NEW = (".adapter.", "num_batches_tracked", "relative_position_index")
"""Parts of names of tensors that a file may lack: they change nothing at the start, or follow from
the network's shape."""

FAMILIES = {
    "storage_tokens": "DINOv3, with rotary positions and register tokens",
    "rope_embed": "a transformer with rotary positions",
    "register_tokens": "a transformer with register tokens",
    "reg_token": "a transformer with register tokens",
    "norm_pre": "a transformer with a norm before its blocks, e.g. CLIP's",
    "fc_norm": "a transformer with a norm of its mean token",
    "mlp.w12": "a transformer with SwiGLU, e.g. DINOv2 giant",
    "q_norm": "a transformer that normalises queries and keys",
    "ls1.": "a transformer with LayerScale",
    "gamma_1": "a transformer with LayerScale",
    "lambda1": "a transformer with LayerScale, under Hugging Face's names",
    "relative_position_bias_table": "a transformer with relative positions",
    "layers1c.": "SwinUNETR, version 2",
    "features.denseblock1": "a DenseNet",
    "down_projection": "Primus",
    "all_modules": "a network of dynamic-network-architectures",
    "encoder.layer.": "a transformer under Hugging Face's names",
    "running_mean": "a network with BatchNorm",
}
"""Parts of names of tensors, and the kind of network that a file with such names belongs to."""

BESIDE = ("storage_tokens", "rope_embed", "register_tokens", "reg_token", "norm_pre", "fc_norm")
"""Parts of names of tensors that act on the features though they are in no numbered block."""

ALL_OF_IT = ""
"""Stands for the block of what is in no numbered block: stem, tokens, positions, last norm."""


@dataclass(frozen=True)
class LoadReport:
    """What of a weights file went where.

    Attributes:
        matched: parameters that were loaded.
        missing: parameters of the network that the file lacks.
        misshapen: parameters that the file holds in another shape.
        unexpected: what the file holds and the network lacks, such as a head.
        share: of the scalars in parameters that count, those that were loaded, from 0 to 1.
        random: parameters that would keep their random start although the file has a part of
            their block, or a later block.
        adapted: what was changed to fit, in words.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    unexpected: tuple[str, ...]
    share: float
    random: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        own: Mapping[str, Tensor],
        found: Mapping[str, Tensor],
        counted: Collection[str],
        adapted: tuple[str, ...] = (),
    ) -> Self:
        """Compare a network's own tensors with those found; `counted` are names of `own`."""
        common = [name for name in own if name in found]
        matched = tuple(name for name in common if own[name].shape == found[name].shape)
        total = sum(own[name].numel() for name in counted)
        return cls(
            matched,
            missing=tuple(name for name in own if name not in found),
            misshapen=tuple(name for name in common if name not in set(matched)),
            unexpected=tuple(name for name in found if name not in own),
            share=sum(own[name].numel() for name in matched if name in counted) / total,
            random=tuple(_random(own, matched)),
            adapted=adapted,
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """Tensors of the file without a place in the network, though their part is loaded."""
        loaded = {_block(name) or _part(name) for name in self.matched}
        return tuple(
            name
            for name in self.unexpected
            if (_block(name) or _part(name)) in loaded or name.startswith(BESIDE)
        )

    def refuse_less(self, matched: float, source: str, key: str) -> None:
        """Refuse what would give other features than the weights were trained for.

        Args:
            matched: least `share`.
            source: where the weights are from, for messages.
            key: of the setting that `matched` is; empty: it cannot be set.

        Raises:
            DataError: the share is too small, or a part would be loaded incompletely.
        """
        if self.share < matched:
            examples = _some((*self.missing, *self.misshapen))
            raise DataError(
                f"{source} hold {self.share:.1%} of the encoder's parameters, at least "
                f"{matched:.0%} are wanted",
                f"they lack, or have in another shape, {examples}",
                f"name the encoder that they are of{f', or lower {key}' if key else ''}",
            )
        other = "name the encoder that they are of, or choose other weights"
        if self.dropped:
            raise DataError(
                f"{source} hold what this encoder has no place for: {_some(self.dropped)}",
                f"they are of {_family(self.dropped)}; without it the features would be others",
                other,
            )
        if self.random:
            raise DataError(
                f"{source} lack, or have in another shape, {_some(self.random)}",
                "the encoder would keep random values there, beside those that are loaded",
                other,
            )

    def __str__(self) -> str:
        """One line for people."""
        exact = f"; adapted: {', '.join(self.adapted)}" if self.adapted else ""
        left = f" ({_some(self.unexpected)})" if self.unexpected else ""
        return (
            f"{self.share:.1%} of the parameters matched ({len(self.matched)} tensors), "
            f"{len(self.missing)} missing, {len(self.misshapen)} of another shape, "
            f"{len(self.unexpected)} unexpected{left}{exact}"
        )


def must_be_numbers(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], names: Collection[str], source: str
) -> None:
    """Refuse values that no training leaves.

    Raises:
        DataError: one of the tensors `names` is of another kind of number, has a value that is not
            finite, or is all zeros where the network's own start is not.
    """
    for name in names:
        value = found[name]
        if value.is_floating_point() != own[name].is_floating_point() or value.is_complex():
            raise DataError(
                f"{source} hold {name} as {value.dtype}", "that is another kind of number"
            )
        if not bool(torch.isfinite(value).all()):
            raise DataError(
                f"{source} hold values in {name} that are not finite",
                "they are damaged, or their training failed",
                "take another copy, or weights of an earlier step",
            )
        if value.ndim > 1 and own[name].any() and not value.any():
            raise DataError(
                f"{source} hold nothing but zeros in {name}", "they are damaged or were not trained"
            )


def _random(own: Collection[str], matched: Collection[str]) -> Iterator[str]:
    """Parameters without weights in the file, except those of whole blocks at the network's end."""
    there = set(matched)
    order = list(dict.fromkeys(_block(name) for name in own))
    loaded = {_block(name) for name in there}
    last = max((order.index(block) for block in loaded), default=-1)
    for name in own:
        block = _block(name)
        if name in there or any(part in name for part in NEW):
            continue
        if block == ALL_OF_IT or order.index(block) <= last:
            yield name


def _block(name: str) -> str:
    """The numbered block that holds a tensor: `blocks.3` of `blocks.3.attn.qkv.weight`."""
    parts = name.split(".")
    number = next((place for place, part in enumerate(parts) if part.isdecimal()), None)
    return ALL_OF_IT if number is None else ".".join(parts[: number + 1])


def _part(name: str) -> str:
    return name.partition(".")[0]


def _some(names: Collection[str]) -> str:
    shown = ", ".join(tuple(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _family(names: Collection[str]) -> str:
    told = (text for mark, text in FAMILIES.items() if any(mark in name for name in names))
    return next(told, "another network")
