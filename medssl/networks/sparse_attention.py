"""Exact sparse attention between selected rows and all rows, in memory linear in the rows.

The bag is given in pieces of rows; what a piece contributes to the selected rows is summed over the
pieces, so that no [N, N] and no [H, N, S] is ever whole. Source: Snuffy (ECCV 2024,
arXiv 2408.08258): `RowSoftmax` is the pattern of the paper's figure (mode A), `SoftAssignment` what
the released code computes (mode B).

Legend: N rows of the bag, n rows of a piece, S selected rows, E width, H heads, D = E / H.
"""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from medssl.networks.dropout import Dropout

Mode = Literal["A", "B", "B_normalised"]


class Selected(NamedTuple):
    """The selected rows as every piece meets them, each [H, S, D]; the query is scaled."""

    query: Tensor
    key: Tensor
    value: Tensor


class Part(NamedTuple):
    """A softmax-weighted sum over some of the keys (or rows), not yet divided; at least float32.

    Attributes:
        total: [H, m, D], the values weighted with exp(logit - peak), or with the assignment.
        mass: [H, m, 1], the weights themselves, summed.
        peak: [H, m, 1], the largest logit, a constant for the gradient.
    """

    total: Tensor
    mass: Tensor
    peak: Tensor


def exact(values: Tensor) -> Tensor:
    """At least float32: sums over many rows must not run in half precision."""
    return values if values.dtype == torch.float64 else values.float()


def weighted_sum(weight: Tensor, value: Tensor) -> Tensor:
    """Weight [H, m, k] times value [H, k, D], at least float32 also under autocast.

    Sums over thousands of rows would lose digits in bfloat16 and overflow in float16.
    """
    with torch.autocast(weight.device.type, enabled=False):
        return exact(weight) @ exact(value)


def softmax_part(query: Tensor, key: Tensor, value: Tensor, drop: nn.Module) -> Part:
    """What the keys [H, k, D] give to queries [H, m, D]; `drop` acts on the weights."""
    logits = exact(query @ key.mT)
    peak = logits.detach().amax(-1, keepdim=True)
    weight = logits.sub_(peak).exp_()
    return Part(weighted_sum(drop(weight), value), weight.sum(-1, keepdim=True), peak)


def own_part(query: Tensor, key: Tensor, value: Tensor, drop: nn.Module) -> Part:
    """What each row's own key gives to it: one key for each query, all [H, m, D]."""
    logit = exact(query * key).sum(-1, keepdim=True)
    peak = logit.detach()
    weight = (logit - peak).exp()
    return Part(drop(weight) * value, weight, peak)


def joined(one: Part, other: Part) -> Part:
    """The sum over the keys of both parts together."""
    peak = torch.maximum(one.peak, other.peak)
    first, second = (one.peak - peak).exp(), (other.peak - peak).exp()
    return Part(
        one.total * first + other.total * second, one.mass * first + other.mass * second, peak
    )


class SparseAttention(nn.Module, ABC):
    """Pre-norm multi-head attention by pieces.

    Attributes:
        raw_keys: keys are taken before the layer norm, as the release does.
    """

    def __init__(self, width: int, heads: int, raw_keys: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.raw_keys = heads, raw_keys
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.drop = Dropout(dropout)

    def selected(self, rows: Tensor) -> Selected:
        """Query, key and value of the selected rows [S, E]."""
        normed = self.norm(rows)
        return Selected(
            self._query(normed), self._key(rows, normed), self._split(self.value(normed))
        )

    @abstractmethod
    def gather(self, rows: Tensor, selected: Selected) -> Part:
        """The part of the selected rows' attention that comes from a piece [n, E] of all rows."""

    def exchange(self, rows: Tensor, selected: Selected) -> tuple[Tensor | None, Part]:
        """What a piece [n, E] of unselected rows takes from the selected ones, and gives to them.

        The first is [n, E], to be added to the rows, or None where they stay as they are.
        """
        return None, self.gather(rows, selected)

    @abstractmethod
    def collect(self, part: Part) -> Tensor:
        """What all pieces, joined, give to the selected rows: [S, E], to be added to them."""

    def _query(self, normed: Tensor) -> Tensor:
        query: Tensor = self.query(normed)
        return self._split(query * (normed.shape[1] // self.heads) ** -0.5)

    def _key(self, rows: Tensor, normed: Tensor) -> Tensor:
        return self._split(self.key(rows if self.raw_keys else normed))

    def _split(self, rows: Tensor) -> Tensor:
        """[m, E] to [H, m, D]."""
        return rows.reshape(len(rows), self.heads, -1).transpose(0, 1)

    def _out(self, heads: Tensor) -> Tensor:
        """[H, m, D] through the output map: [m, E]."""
        answer: Tensor = self.out(heads.transpose(0, 1).flatten(1))
        return answer


class RowSoftmax(SparseAttention):
    """Mode A: selected rows attend to all rows, the others to the selected ones and themselves.

    Attributes:
        attend: whether the other rows attend too; if false they pass unchanged.
    """

    def __init__(
        self, width: int, heads: int, raw_keys: bool, dropout: float, attend: bool
    ) -> None:
        super().__init__(width, heads, raw_keys, dropout)
        self.attend = attend

    def gather(self, rows: Tensor, selected: Selected) -> Part:
        """Keys and values of the piece, seen by the selected queries."""
        normed = self.norm(rows)
        value = self._split(self.value(normed))
        return softmax_part(selected.query, self._key(rows, normed), value, self.drop)

    def exchange(self, rows: Tensor, selected: Selected) -> tuple[Tensor | None, Part]:
        """Both directions; the piece is projected once."""
        if not self.attend:
            return None, self.gather(rows, selected)
        normed = self.norm(rows)
        query, key = self._query(normed), self._key(rows, normed)
        value = self._split(self.value(normed))
        given = softmax_part(selected.query, key, value, self.drop)
        taken = joined(
            softmax_part(query, selected.key, selected.value, self.drop),
            own_part(query, key, value, self.drop),
        )
        return self._out(taken.total / taken.mass), given

    def collect(self, part: Part) -> Tensor:
        """The softmax over all rows."""
        return self._out(part.total / part.mass)


class SoftAssignment(SparseAttention):
    """Mode B: every row spreads weight 1 over the selected rows, which sum the rows' values.

    Attributes:
        normalised: divide each sum by its weights (neither paper nor release does), so that the
            size of the bag does not enter.
    """

    def __init__(
        self, width: int, heads: int, raw_keys: bool, dropout: float, normalised: bool
    ) -> None:
        super().__init__(width, heads, raw_keys, dropout)
        self.normalised = normalised

    def gather(self, rows: Tensor, selected: Selected) -> Part:
        """The piece's values, spread over the selected rows."""
        normed = self.norm(rows)
        value = self._split(self.value(normed))
        spread = exact(self._query(normed) @ selected.key.mT).softmax(-1)
        mass = spread.sum(1).unsqueeze(-1)
        total = weighted_sum(self.drop(spread).mT, value)
        return Part(total, mass, torch.zeros_like(mass))

    def collect(self, part: Part) -> Tensor:
        """Sums over all rows, not means, unless normalised."""
        return self._out(part.total / part.mass if self.normalised else part.total)


def build_attention(
    mode: Mode, width: int, heads: int, raw_keys: bool, dropout: float, attend: bool
) -> SparseAttention:
    """The attention of that mode; `attend` is of mode A alone."""
    if mode == "A":
        return RowSoftmax(width, heads, raw_keys, dropout, attend)
    return SoftAssignment(width, heads, raw_keys, dropout, normalised=mode == "B_normalised")
