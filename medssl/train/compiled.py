"""Networks that torch compiles where it can; where it cannot, they run as they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from medssl.networks.heads import ManyHeads

Note = Callable[[str], None]


def compile_networks(
    method: nn.Module, device: torch.device, note: Note, plain: bool = True, graphs: bool = False
) -> None:
    """Have torch compile each network of a method when it is called first.

    Args:
        note: is told, in one sentence, why one is not.
        plain: whether nothing else was done to the passes: several processes, turns, and blocks
            that are computed again do not go together with this.
        graphs: capture each as CUDA graphs, one for each shape that it is given.
    """
    if not plain:
        note(
            "train.compile is left out: it does not go together with several processes, "
            "train.accumulate and train.checkpointing"
        )
        return
    if reason := _why_not(device):
        note(f"train.compile is left out: {reason}")
        return
    if graphs and device.type != "cuda":
        note("networks are compiled and not captured: CUDA graphs need a GPU of NVIDIA")
        graphs = False
    for child in method.children():
        for network in child if isinstance(child, nn.ModuleList) else [child]:
            # Methods ask one of several heads for `heads`, which is no call of the whole.
            _compile(network.network if isinstance(network, ManyHeads) else network, note, graphs)


def _why_not(device: torch.device) -> str:
    """Why nothing can be compiled here, e.g. for want of a compiler; empty: it can."""
    torch._dynamo.reset()
    try:
        given = torch.ones(8, device=device, requires_grad=True)
        torch.autograd.backward(torch.compile(_probe)(given).sum())
    except Exception as error:  # whatever the compiler or its tools raise
        return _reason(error)
    return ""


def _probe(values: Tensor) -> Tensor:
    return (values * 2).exp()


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip() if lines else 'no reason is given'}"


def _compile(network: nn.Module, note: Note, graphs: bool) -> None:
    """Compile a network; if that fails in its first call, it runs as it is from then on."""
    network.compile(mode="reduce-overhead" if graphs else None)
    compiled: Callable[..., Any] | None = network._compiled_call_impl
    if compiled is None:
        raise RuntimeError("torch compiled nothing")

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            found = compiled(*args, **kwargs)
            # The next pass writes over what a graph has answered.
            return tree_map_only(Tensor, Tensor.clone, found) if graphs else found
        except torch._dynamo.exc.TorchDynamoException as error:
            note(f"{type(network).__name__} runs as it is, not compiled: {_reason(error)}")
            network._compiled_call_impl = None
            return network(*args, **kwargs)

    network._compiled_call_impl = call
