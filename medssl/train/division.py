"""Networks of a method that share out the rows of every batch: over processes, and in turns.

All processes hold the whole batch and carry out the whole step of a method: its mixing of items,
its losses, queues and teachers are those of one process with that batch, and equal in all. What
costs time and memory, the passes of images through networks, is shared out: each network is given a
part of the rows in each process, and its answers are collected. So a method needs to know nothing
of processes, whatever it does with the rows of its batch.

The gradient of collected answers goes back to the process that made each; every process has the
same loss, so it needs no message. Gradients of weights are then averaged over processes.

Legend: n rows of a process, N rows of the batch, P processes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from functools import partial, wraps
from typing import Any, NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten, tree_unflatten

from medssl.data.bags.bag import Bags, BagStream
from medssl.data.draws import placed
from medssl.errors import UsageError
from medssl.networks.dropout import Dropout
from medssl.networks.rows import Rows, drawn_for_all, seeing, share
from medssl.train.distributed import Team
from medssl.train.replay import in_turns

IMAGE_AXES = 4
"""Axes of a batch of images or maps, at least. Vectors and tokens cost little and stay whole."""
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Division:
    """Shares out rows while it is `on`.

    Args:
        turns: in how many turns the rows that are here are passed; for the gradient, the passes
            of each are carried out once more, so that those of one turn alone are held.
    """

    def __init__(self, team: Team, turns: int = 1) -> None:
        self.team, self.turns = team, turns
        self.generators: Sequence[Generator] = ()
        self._on = False

    @contextmanager
    def on(self, generators: Sequence[Generator] = (), whole: bool = False) -> Iterator[None]:
        """While it lasts, the networks share out the rows that they are given.

        Args:
            generators: by which they may draw.
            whole: nothing is shared out, as every process has a batch of its own.
        """
        self._on = not whole and (self.team.together or self.turns > 1)
        self.generators = generators
        try:
            yield
        finally:
            self._on = False

    def equip(self, method: nn.Module) -> None:
        """Have every module of a method share out its rows where it is called first.

        Also what a module offers beside `forward`, if its class names it in `by_rows`.
        """
        for module in method.modules():
            if isinstance(module, _BatchNorm):
                whole = partial(self._normalised, module, module.forward)
                setattr(module, "forward", whole)  # noqa: B010
            elif isinstance(module, DROPOUTS) and not isinstance(module, Dropout):
                whole = partial(_dropped, module, module.forward)
                setattr(module, "forward", whole)  # noqa: B010
            for name in ("forward", *getattr(module, "by_rows", ())):
                setattr(module, name, self._shared(module, getattr(module, name)))

    def _shared(self, module: nn.Module, called: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(called)
        def shared(*args: Any, **kwargs: Any) -> Any:
            if not self._on or share() is not None:
                return called(*args, **kwargs)
            leaves, spec = tree_flatten((args, kwargs))
            first = next((leaf for leaf in leaves if isinstance(leaf, Tensor)), None)
            if first is None or first.ndim < IMAGE_AXES or not len(first):
                return called(*args, **kwargs)

            def part(rows: Rows) -> Any:
                given = [_taken(leaf, rows, first) for leaf in leaves]
                return tree_unflatten(given, spec)

            rows = self._rows(len(first))
            if self.turns > 1:
                asked = self.generators, rows, self.turns
                answers, rows = in_turns(module, called, *asked, part)
                _, shape = tree_flatten(answers[0])
                found = [
                    torch.cat(one) if isinstance(one[0], Tensor) else one[0]
                    for one in zip(*(tree_flatten(each)[0] for each in answers), strict=True)
                ]
            else:
                with seeing(rows):
                    args, kwargs = part(rows)
                    found, shape = tree_flatten(called(*args, **kwargs))
            layout = self._layout(rows)
            return tree_unflatten([self._collected(one, rows, layout) for one in found], shape)

        return shared

    def _rows(self, total: int) -> Rows:
        """This process's part of so many rows; all parts are equally long."""
        length = -(-total // self.team.parts)
        start = self.team.rank * length if self.team.together else 0
        return Rows(total, torch.arange(start, start + length).clamp_max(total - 1))

    def _layout(self, rows: Rows) -> "Layout":
        """Where the rows of the batch are among those of all processes."""
        size = self.team.parts
        if not rows.extended:
            lengths = [len(rows.index)] * size
            every = torch.cat([self._rows_of(rank, rows) for rank in range(size)])
        else:
            parts = self.team.collected(rows.index.tolist())
            lengths = [len(part) for part in parts]
            every = torch.tensor([row for part in parts for row in part])
        return Layout.of(every, lengths, rows.total, self.team.rank if size > 1 else 0)

    def _rows_of(self, rank: int, rows: Rows) -> Tensor:
        length = len(rows.index)
        return torch.arange(rank * length, (rank + 1) * length).clamp_max(rows.total - 1)

    def _collected(self, answer: Any, rows: Rows, layout: "Layout") -> Any:
        """An answer for the rows here, as one for all rows."""
        if not isinstance(answer, Tensor):
            return answer
        if answer.ndim == 0 or len(answer) != len(rows.index):
            raise RuntimeError(
                f"a network gave {tuple(answer.shape)} for {len(rows.index)} rows: what is no row "
                "of the batch cannot be shared out over processes or turns"
            )
        if not self.team.together and not rows.extended:
            return answer
        found: Tensor = _Collect.apply(answer, layout, self.team)  # type: ignore[no-untyped-call]
        return found

    def _normalised(
        self, module: _BatchNorm, whole: Callable[..., Tensor], values: Tensor
    ) -> Tensor:
        """Batch normalisation by the statistics of all rows, wherever they are."""
        rows = share()
        learns = module.training or module.running_mean is None
        if not self.team.together or not self._on or rows is None or not learns:
            return whole(values)
        layout = self._layout(rows)
        times = len(values) // len(rows.index)
        kept = placed((layout.here[:, None] * times + torch.arange(times)).flatten(), values)
        dims = [0, *range(2, values.ndim)]
        wide = values.float() if values.element_size() < 4 else values
        own = wide[kept]
        count = own.new_full((1,), own.numel() / own.shape[1])
        count = self.team.sum(count)
        mean = self._sum(own.sum(dims)) / count
        shape = (1, -1, *[1] * (values.ndim - 2))
        var = self._sum(((own - mean.view(shape)) ** 2).sum(dims)) / count
        _follow(module, mean.detach(), var.detach(), count)
        found: Tensor = (wide - mean.view(shape)) * (var.view(shape) + module.eps).rsqrt()
        if module.affine:
            found = found * module.weight.view(shape) + module.bias.view(shape)
        return found.to(values.dtype)

    def _sum(self, own: Tensor) -> Tensor:
        found: Tensor = _Sum.apply(own, self.team)  # type: ignore[no-untyped-call]
        return found


class Layout(NamedTuple):
    """Where rows are.

    Attributes:
        lengths: rows of each process.
        place: [N], where each row of the batch stands among the rows of all processes in turn.
        here: where the rows that are taken from this process stand in it.
        which: which rows of the batch these are.
    """

    lengths: Sequence[int]
    place: Tensor
    here: Tensor
    which: Tensor

    @classmethod
    def of(cls, every: Tensor, lengths: Sequence[int], total: int, rank: int) -> "Layout":
        """Of the row that each place of each process holds; of equal ones the first counts."""
        place = torch.full((total,), len(every))
        place.scatter_reduce_(0, every, torch.arange(len(every)), "amin")
        start = sum(lengths[:rank])
        mine = (place >= start) & (place < start + lengths[rank])
        which = mine.nonzero().flatten()
        return cls(lengths, place, place[which] - start, which)


class _Collect(torch.autograd.Function):
    """Rows of all processes; the gradient of each row goes to the process that it came from."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, layout: Layout, team: Team) -> Tensor:
        ctx.layout, ctx.size, ctx.shape = layout, team.parts, own.shape
        every = torch.cat(team.stacked(own, layout.lengths))
        return every[placed(layout.place, own)]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        layout: Layout = ctx.layout
        own = gradient.new_zeros(ctx.shape)
        # The mean over processes divides it again.
        own[placed(layout.here, own)] = gradient[placed(layout.which, own)] * ctx.size
        return own, None, None


class _Sum(torch.autograd.Function):
    """A sum over processes, and so is its gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return team.sum(own.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return ctx.team.sum(gradient.contiguous().clone()), None


def _taken(leaf: Any, rows: Rows, first: Tensor) -> Any:
    """The rows here of an argument that has a row for each of the batch."""
    if not isinstance(leaf, Tensor) or leaf.ndim == 0 or len(leaf) != rows.total:
        return leaf
    return leaf[placed(rows.index, first)]


def whole_batch(part: Any, team: Team) -> Any:
    """A batch from the equally large parts that the processes have, on their device.

    Args:
        part: a dataclass of tensors with the items first, of tuples with one entry for each item,
            or of such.
    """
    return replace(part, **{name: _joined(one, team) for name, one in vars(part).items()})


def _joined(value: Any, team: Team) -> Any:
    if isinstance(value, Tensor):
        return torch.cat(team.stacked(value, [len(value)] * team.size))
    if isinstance(value, tuple):
        return tuple(one for part in team.collected(value) for one in part)
    return whole_batch(value, team) if is_dataclass(value) else value


class PartStream(Protocol):
    """A stream that can make a part of a batch."""

    @property
    def size(self) -> int:
        """Items of a batch."""

    def batch(self, number: int) -> Any:
        """Batch `number`, counted from 0."""

    def part_of(self, number: int, part: slice) -> Any:
        """Some items of that batch, as they are in it."""


class OwnPart(NamedTuple):
    """A stream of which each process makes its part of a batch."""

    stream: PartStream
    part: slice

    def batch(self, number: int) -> Any:
        """This process's part of batch `number`."""
        return self.stream.part_of(number, self.part)


class OwnBags(NamedTuple):
    """A stream of bags of which each process takes some."""

    stream: BagStream
    part: slice

    def batch(self, number: int) -> Bags:
        """This process's bags of batch `number`."""
        return self.stream.pieces(number, self.part)


def own_part(stream: Any, team: Team) -> Any:
    """The stream, of which this process makes its part where batches can be shared out evenly.

    Raises:
        UsageError: a step has too few bags for all processes.
    """
    if team.together and isinstance(stream, BagStream):
        if stream.size < team.size:
            raise UsageError(
                f"{team.size} processes cannot share {stream.size} bag{'s' * (stream.size > 1)}",
                "a step has so many, and a bag is not divided",
                f"set train.batch_bags={team.size} or more, or start fewer processes",
            )
        return OwnBags(stream, slice(team.rank, None, team.size))
    if not team.together or not hasattr(stream, "part_of") or stream.size % team.size:
        return stream
    length = stream.size // team.size
    return OwnPart(stream, slice(team.rank * length, (team.rank + 1) * length))


@torch.no_grad()
def _follow(module: _BatchNorm, mean: Tensor, var: Tensor, count: Tensor) -> None:
    """Move the running statistics, as torch's own batch norms do."""
    if module.running_mean is None or module.running_var is None:
        return
    rate = module.momentum
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        if rate is None:
            rate = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean.to(module.running_mean.dtype), rate or 0.0)
    unbiased = var * count / (count - 1)
    module.running_var.lerp_(unbiased.to(module.running_var.dtype), rate or 0.0)


def _dropped(module: nn.Module, whole: Callable[..., Tensor], values: Tensor) -> Tensor:
    """Dropout whose draws for a row are those of the whole batch."""
    if share() is None or not module.training:
        return whole(values)
    shape = values.shape
    if not isinstance(module, nn.Dropout):  # whole channels
        shape = torch.Size([*shape[:2], *[1] * (values.ndim - 2)])
    drawn = drawn_for_all(lambda full: whole(values.new_ones(full)), shape)
    return values * drawn
