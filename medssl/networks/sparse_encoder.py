"""A transformer over a whole bag: sparse attention, feed-forward, final norm and mean by pieces.

A layer's other rows do not depend on what its selected rows become, so each piece passes through
the whole layer at once. In training a piece is computed again in the backward pass, with the same
dropout. Only the rows between two layers are ever whole.

Source: Snuffy (ECCV 2024, arXiv 2408.08258).

Legend: N rows of the bag, S selected rows, E width.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medssl.networks.dropout import Dropout
from medssl.networks.selection import selected_first
from medssl.networks.sparse_attention import Part, Selected, SparseAttention, exact, joined

Activation = Literal["relu", "gelu"]
Finish = Callable[[Tensor], Tensor]
"""What is done to the rows that leave a layer, piece by piece."""


class SparseBlock(nn.Module):
    """One pre-norm layer: attention with the selected rows, then a feed-forward of every row.

    Attributes:
        chunk: rows of a piece.
        recompute: pieces are computed again in the backward pass rather than kept.
    """

    def __init__(
        self,
        attention: SparseAttention,
        width: int,
        ratio: int,
        activation: Activation,
        dropout: float,
        chunk: int,
        recompute: bool,
    ) -> None:
        super().__init__()
        self.chunk, self.recompute = chunk, recompute
        self.attention = attention
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, ratio * width)
        self.narrow = nn.Linear(ratio * width, width)
        self.activation = nn.ReLU(inplace=True) if activation == "relu" else nn.GELU()
        self.drop = Dropout(dropout)

    def forward(
        self, rows: Tensor, count: int, finish: Finish, only_selected: bool = False
    ) -> list[Tensor]:
        """Rows [N, E], the first `count` selected, to what `finish` makes of each piece, in order.

        With `only_selected` the other rows are read but not carried on.
        """
        chosen, others = torch.split(rows, [count, len(rows) - count])
        run = self._runner(len(rows))
        selected = self.attention.selected(chosen)
        rest: list[Tensor] = []

        def given() -> Iterator[Part]:
            for piece in self._pieces(chosen):
                yield run(self.attention.gather, piece, selected)
            for piece in self._pieces(others):
                if only_selected:
                    yield run(self.attention.gather, piece, selected)
                    continue
                output, part = run(self._other, piece, selected, finish)
                rest.append(output)
                yield part

        updated = chosen + self.drop(self.attention.collect(reduce(joined, given())))
        return [run(self._leave, piece, finish) for piece in self._pieces(updated)] + rest

    def _pieces(self, rows: Tensor) -> tuple[Tensor, ...]:
        return torch.split(rows, self.chunk) if len(rows) else ()

    def _runner(self, rows: int) -> Callable[..., Any]:
        """How a piece is computed; a bag of one piece gains nothing from computing it twice."""
        if not (self.recompute and torch.is_grad_enabled() and rows > self.chunk):
            return lambda function, *given: function(*given)
        return lambda function, *given: checkpoint(function, *given, use_reentrant=False)

    def _other(self, rows: Tensor, selected: Selected, finish: Finish) -> tuple[Tensor, Part]:
        """A piece of unselected rows through the layer, and what it gives to the selected ones."""
        taken, given = self.attention.exchange(rows, selected)
        if taken is not None:
            rows = rows + self.drop(taken)
        return self._leave(rows, finish), given

    def _leave(self, rows: Tensor, finish: Finish) -> Tensor:
        hidden = self.drop(self.activation(self.widen(self.norm(rows))))
        return finish(rows + self.drop(self.narrow(hidden)))


class SparseEncoder(nn.Module):
    """Layers of sparse attention, a final norm, and the mean of the rows.

    Attributes:
        pool: over all rows, or over those selected in the last layer.
    """

    def __init__(
        self, blocks: list[SparseBlock], width: int, pool: Literal["all", "selected"]
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.pool = pool

    def forward(self, features: Tensor, select: Callable[[], Tensor]) -> Tensor:
        """Features [N, E] to the pooled embedding [E].

        `select` is asked once per layer for the indices [S] of its selected rows.
        """
        rows, places = features, torch.arange(len(features), device=features.device)
        *inner, last = self.blocks
        for block in inner:
            rows, places, count = _reorder(rows, places, select())
            rows = torch.cat(block(rows, count, lambda piece: piece))
        rows, _, count = _reorder(rows, places, select())
        only_selected = self.pool == "selected"
        sums = torch.stack(last(rows, count, self._total, only_selected)).sum(0)
        return sums / (count if only_selected else len(rows))

    def _total(self, rows: Tensor) -> Tensor:
        return exact(self.norm(rows)).sum(0)


def _reorder(rows: Tensor, places: Tensor, selected: Tensor) -> tuple[Tensor, Tensor, int]:
    """The rows with the selected patches first, where each patch then is, and the selected count.

    `places` [N] says where in `rows` each patch was.
    """
    order = selected_first(selected, len(rows))
    now = torch.empty_like(places)
    now[order] = torch.arange(len(rows), device=rows.device)
    return rows.index_select(0, places[order]), now, len(selected)
