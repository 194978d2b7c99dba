"""Passes through networks that are carried out once more for their gradient.

What a pass computes in between need not be kept then: it costs a second pass instead of memory. The
second one draws the same numbers, sees the same rows, hooks and changes of features, and moves no
running statistics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from medssl.networks.encoder_decoder import Changed
from medssl.networks.rows import Rows, seeing, share


class Moment:
    """What a pass depends on beside its arguments, as it is now.

    Args:
        module: what is passed.
        generators: what it may draw by.
    """

    def __init__(self, module: nn.Module, generators: Sequence[Generator]) -> None:
        rows = share()
        self._module, self._rows = module, None if rows is None else replace(rows)
        self._states = [(one, one.get_state()) for one in generators]
        self._changed = Changed(module)
        self._hooks = [
            (one, one._forward_hooks.copy()) for one in module.modules() if one._forward_hooks
        ]

    def rewind(self) -> None:
        """Let the generators draw once more what they drew from this moment on."""
        for generator, state in self._states:
            generator.set_state(state)

    @contextmanager
    def again(self) -> Iterator[None]:
        """While it lasts, all is as it was; running statistics stay as they are."""
        states = [(generator, generator.get_state()) for generator, _ in self._states]
        norms = [one for one in self._module.modules() if isinstance(one, _BatchNorm)]
        with ExitStack() as stack:
            if self._rows is not None:
                stack.enter_context(seeing(replace(self._rows)))
            stack.enter_context(self._changed.again())
            for module, hooks in self._hooks:
                stack.callback(setattr, module, "_forward_hooks", module._forward_hooks)
                module._forward_hooks = hooks
            for norm in norms:
                stack.callback(setattr, norm, "_buffers", norm._buffers)
                norm._buffers = {
                    name: None if value is None else value.clone()
                    for name, value in norm._buffers.items()
                }
            for generator, state in states:
                stack.callback(generator.set_state, state)
            self.rewind()
            yield


def replayed(
    module: nn.Module,
    called: Callable[..., Any],
    generators: Sequence[Generator],
    args: Any,
    kwargs: Any,
) -> Any:
    """`called(*args, **kwargs)`, of which no more than the answer is kept for the gradient."""
    if not torch.is_grad_enabled():
        return called(*args, **kwargs)
    moment, done = Moment(module, generators), False

    def run(*given: Any, **named: Any) -> Any:
        nonlocal done
        if done:
            with moment.again():
                return called(*given, **named)
        done = True
        return called(*given, **named)

    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def blocks_of(method: nn.Module, learning: bool = False) -> list[nn.Module]:
    """Parts of networks that are passed one after the other: the outermost without a list in them.

    Blocks of a stage, stages of an encoder and a decoder; never a network as a whole, nor what has
    weights beside those of its layers.

    Args:
        learning: of networks that learn alone.
    """
    found: dict[nn.Module, None] = {}
    for network in _networks(method):
        if not learning or any(one.requires_grad for one in network.parameters()):
            found |= dict.fromkeys(_within(network))
    return list(found)


def _networks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if _is_list(child):
            yield from _networks(child)
        else:
            yield child


def _within(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if child._parameters or any(_is_list(one) for one in child.modules()):
            yield from _within(child)
        elif any(True for _ in child.children()):
            yield child


def _is_list(module: nn.Module) -> bool:
    """Whether a module is no more than what is in it, which is of several layers each."""
    if type(module) is nn.Sequential:
        return any(True for one in module for _ in one.children())
    return type(module).forward is nn.Module.forward


def keep_less(method: nn.Module, generators: Callable[[], Sequence[Generator]]) -> None:
    """Have the blocks of all networks that learn keep their answers alone for the gradient."""
    for block in blocks_of(method, learning=True):
        setattr(block, "forward", _kept_less(block, block.forward, generators))  # noqa: B010


def _kept_less(
    block: nn.Module, called: Callable[..., Any], generators: Callable[[], Sequence[Generator]]
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return replayed(block, called, generators(), args, kwargs)

    return forward


def in_turns(
    module: nn.Module,
    called: Callable[..., Any],
    generators: Sequence[Generator],
    rows: Rows,
    turns: int,
    part: Callable[[Rows], tuple[Any, Any]],
) -> tuple[list[Any], Rows]:
    """Answers for some rows at a time, of which only one turn's passes are held at once.

    Args:
        module: whose `called` is.
        rows: all rows that are here.
        part: arguments and named ones for some of them.

    Returns:
        the answers of each turn, and the rows that all of them are for, one turn after the other.
    """
    start = Moment(module, generators)
    answers, seen = [], []
    for index in rows.index.chunk(turns):
        turn = Rows(rows.total, index)
        start.rewind()  # every turn draws for all rows
        args, kwargs = part(turn)
        with seeing(turn):
            answers.append(replayed(module, called, generators, args, kwargs))
        seen.append(turn)
    index, extended = torch.cat([one.index for one in seen]), any(one.extended for one in seen)
    return answers, Rows(seen[0].total, index, extended)
