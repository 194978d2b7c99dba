"""Weights of which each process holds a part: PyTorch's fully_shard (FSDP2).

The blocks of every network are sharded. The method as a whole joins them, so that a block's weights
are fetched while the one before is computed. What is in no block (stems, positions, prototypes) is
whole in every process, as without sharding.

A method computes its steps sharded. For all else (validating, saving) it is `whole` for a while:
modules and weights are then as if nothing were sharded. The optimiser has the parts, as plain
tensors; what is saved of it is of whole weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from medssl.networks.on_host import OnHost
from medssl.train.distributed import TEAM
from medssl.train.replay import blocks_of

Face = tuple[type[nn.Module], dict[str, Any]]
"""The class of a module, and those of its attributes that sharding changes."""

_ABSENT = object()


class _Scaler(torch.amp.GradScaler):
    """Scales gradients; what is not finite in one process's part is found by all."""

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Undo the scale, see `torch.amp.GradScaler`."""
        super().unscale_(optimizer)
        if self.is_enabled():
            for found in self._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values():
                TEAM.sum(found).clamp_(max=1)  # fused optimisers know of 0 and 1 alone


class Sharding:
    """Shards a method over the processes that are together.

    Args:
        method: with equal weights in all processes, on the device where it trains.

    Attributes:
        scaler: class of what scales gradients.
    """

    scaler = _Scaler

    def __init__(self, method: nn.Module, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        before = {module: (type(module), dict(vars(module))) for module in method.modules()}
        for module in before:
            vars(module).update({key: copy(vars(module)[key]) for key in _changed(module)})
        _shard(method, device)
        self._hidden: dict[nn.Module, Face] = {}
        self._parts: dict[nn.Parameter, nn.Parameter] = {}
        for module, (kind, known) in before.items():
            added = dict.fromkeys(vars(module).keys() - known, _ABSENT)
            self._hidden[module] = kind, {key: known[key] for key in _changed(module)} | added
            for name, whole in known["_parameters"].items():
                part = module._parameters[name]
                if isinstance(part, DTensor):
                    self._parts[whole] = cast("nn.Parameter", part)
            module.register_load_state_dict_pre_hook(_parted)  # type: ignore[no-untyped-call]
        self._held = {part: nn.Parameter(_local(part)) for part in self._parts.values()}
        self._part_of = {held: part for part, held in self._held.items()}
        self._forget()

    def held(self, weight: nn.Parameter) -> nn.Parameter:
        """What this process holds of a weight, as the optimiser has it: its part, or all of it."""
        return self._held.get(weight, weight)

    def weight(self, held: nn.Parameter) -> nn.Parameter:
        """The weight of which it is held."""
        return self._part_of.get(held, held)

    def pass_gradients(self) -> None:
        """Give what the optimiser has the gradients of the weights."""
        for part, held in self._held.items():
            held.grad = None if part.grad is None else _local(part.grad)

    def norms(self, groups: Sequence[Sequence[nn.Parameter]]) -> list[Tensor]:
        """Norm of the gradients of each group of weights, all processes' parts together."""
        parts = [[one for one in group if one in self._held] for group in groups]
        rest = [[one for one in group if one not in self._held] for group in groups]
        squares = TEAM.sum(torch.stack([self._square(group) for group in parts]))
        return list((squares + torch.stack([self._square(group) for group in rest])).sqrt())

    def _square(self, weights: Sequence[nn.Parameter]) -> Tensor:
        """Square of the norm of the gradients that are here."""
        found = [_local(one.grad) for one in weights if one.grad is not None]
        if not found:
            return torch.zeros((), device=self._device)
        return nn.utils.get_total_norm(found) ** 2

    @contextmanager
    def whole(self) -> Iterator[None]:
        """While it lasts, every process has the method as if nothing were sharded, not to learn."""
        self.gather()
        try:
            yield
        finally:
            self._turn()
            self._forget()

    @torch.no_grad()
    def gather(self) -> None:
        """As `whole`, from now on."""
        for whole, part in self._parts.items():
            whole.data = cast("DTensor", part).full_tensor()
        self._turn()

    @torch.no_grad()
    def optimiser_state(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """As `optimiser.state_dict()` of whole weights, on the CPU; asked in every process."""
        packed = optimiser.state_dict()
        weights = [self.weight(one) for group in optimiser.param_groups for one in group["params"]]
        for place, kept in packed["state"].items():
            packed["state"][place] = {
                name: _whole(value, weights[place]) for name, value in kept.items()
            }
        return packed

    @torch.no_grad()
    def take_part(self, optimiser: torch.optim.Optimizer) -> None:
        """Leave the optimiser, which has read the state of whole weights, that of what it has."""
        for held, part in self._part_of.items():
            kept = optimiser.state.get(held, {})
            for name, value in kept.items():
                if _is_of(value, part):
                    kept[name] = _local(_part(value, part)).clone()

    def _turn(self) -> None:
        """From sharded to whole modules, and back."""
        for module, hidden in self._hidden.items():
            self._hidden[module] = _put_on(module, hidden)

    def _forget(self) -> None:
        """Free the whole weights."""
        for whole in self._parts:
            whole.data = whole.data.new_empty(0)


def _changed(module: nn.Module) -> list[str]:
    """Attributes that sharding changes."""
    return [key for key in vars(module) if key == "_parameters" or "_hooks" in key]


def _shard(method: nn.Module, device: torch.device) -> None:
    """Shard every block, inner ones first, then join them by the method."""
    mesh = init_device_mesh(device.type, (TEAM.size,))
    single = {one for one in method.parameters() if one.ndim == 0}  # which cannot be sharded
    blocks = set(blocks_of(method))
    with ExitStack() as stack:
        for module in method.modules():
            if isinstance(module, OnHost):
                stack.enter_context(module.kept_aside())
        for module in reversed(list(method.modules())):
            if module in blocks:
                module.register_forward_hook(_no_view)
                fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=single)
        rest = {one for one in method.parameters() if not isinstance(one, DTensor)}
        fully_shard(method, mesh=mesh, ignored_params=rest)


def _no_view(_: nn.Module, __: Any, answer: Any) -> Any:
    """An answer that is no view of another tensor.

    What changes a view in place would undo the hook by which the weights are fetched for the
    gradient.
    """
    return tree_map_only(Tensor, lambda one: one if one._base is None else one.clone(), answer)


def _put_on(module: nn.Module, face: Face) -> Face:
    """Give a module another face; returns the one it had."""
    kind, wanted = face
    own = vars(module)
    had = type(module), {key: own.get(key, _ABSENT) for key in wanted}
    module.__class__ = kind
    for key, value in wanted.items():
        if value is _ABSENT:
            own.pop(key, None)
        else:
            own[key] = value
    return had


def _parted(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the own part of whole weights that are loaded."""
    for name, part in module._parameters.items():
        value = state.get(prefix + name)
        if isinstance(part, DTensor) and _is_of(value, part):
            state[prefix + name] = _part(value, part)


def _is_of(value: Any, part: Any) -> bool:
    """Whether a value has an entry for each of a whole weight."""
    plain = isinstance(value, Tensor) and not isinstance(value, DTensor)
    return plain and value.shape == part.shape


def _part(value: Tensor, part: Any) -> DTensor:
    given = value.to(part.device)
    return distribute_tensor(given, part.device_mesh, part.placements, src_data_rank=None)


def _whole(value: Any, weight: nn.Parameter) -> Any:
    """A value of an optimiser, of which each process has that of its part of a weight."""
    if not isinstance(value, Tensor):
        return value
    if isinstance(weight, DTensor) and value.ndim:
        value = DTensor.from_local(
            value, weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride()
        ).full_tensor()
    return value.cpu() if TEAM.leads else value.new_empty(0)


def _local(value: Tensor) -> Tensor:
    """This process's part of a tensor."""
    with torch.no_grad():
        return value.to_local() if isinstance(value, DTensor) else value
