"""Which rows of a batch a network sees, where a batch is shared out over several calls.

A module whose answer to a row depends on others, or that draws a number for every row, asks here
what the whole batch is; without a share it sees all of it.

Legend: n rows that are here, N rows of the whole batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from medssl.data.draws import placed


@dataclass
class Rows:
    """The rows that a network sees.

    Attributes:
        total: N.
        index: [n] int64 on the CPU, which rows they are; those that only fill up a share are the
            last one again.
        extended: whether rows were added that the batch did not have.
    """

    total: int
    index: Tensor
    extended: bool = False

    def extend(self, index: Tensor, total: int) -> None:
        """Say that rows are appended to those here, and how many the whole batch has with them."""
        self.index, self.total, self.extended = torch.cat([self.index, index]), total, True

    def within(self, count: int) -> Tensor:
        """Where `count` values, the same number of each row here, stand among all N times as many.

        Raises:
            ValueError: the number of values is no multiple of the rows.
        """
        times, rest = divmod(count, len(self.index))
        if rest:
            raise ValueError(f"{count} values cannot be those of {len(self.index)} rows")
        return (self.index[:, None] * times + torch.arange(times)).flatten()


_seen: list[Rows] = []


def share() -> Rows | None:
    """The rows that are here, or None where the batch is whole."""
    return _seen[-1] if _seen else None


def rows_here(count: int) -> Rows:
    """The rows that are here; where the batch is whole, all `count` of them."""
    return _seen[-1] if _seen else Rows(count, torch.arange(count))


@contextmanager
def seeing(rows: Rows) -> Iterator[Rows]:
    """Inside the block, networks that share out a batch see these rows of it."""
    _seen.append(rows)
    try:
        yield rows
    finally:
        _seen.pop()


def drawn_for_all(draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int]) -> Tensor:
    """What `draw(shape)` gives for the rows here; it draws for the whole batch.

    So a row gets the same numbers however the batch is shared out.

    Args:
        shape: of the values that are here, rows or a multiple of them first.
    """
    rows = share()
    if rows is None:
        return draw(tuple(shape))
    times = shape[0] // len(rows.index)
    every = draw((rows.total * times, *shape[1:]))
    return every[placed(rows.within(shape[0]), every)]
