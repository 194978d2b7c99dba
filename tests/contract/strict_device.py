"""A device that exists nowhere: its tensors hold values, and meet no tensor of another device.

What is computed on it is computed on the CPU, so that wherever a GPU would refuse to go on
(a tensor was made on the wrong device) or would wait (a value is asked for), it shows here.

Torch knows one device of others at a time, and keeps it until the process ends: use it in a process
of its own.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "strict"

ops = torch.ops.aten
WAITS = {
    ops._local_scalar_dense: "item",
    ops.is_nonzero: "bool",
    ops.equal: "equal",
    ops.nonzero: "nonzero",
    ops.masked_select: "masked_select",
    ops.bincount: "bincount",
    ops._unique2: "unique",
    ops.unique_dim: "unique",
    ops.unique_consecutive: "unique",
}
"""What makes the host wait for a device: its result, or its shape, depends on values."""
INDEXED = {ops.index, ops.index_put, ops.index_put_, ops._index_put_impl_, ops._unsafe_index}
LISTS = {torch.tensor, torch.as_tensor}
CPU = torch.device("cpu")

_devices: dict[int, torch.device] = {}
"""Where generators are, by their address: torch hands on new Python objects of the same ones."""


class StrictTensor(Tensor):
    """A tensor on the device, whose values `inner` holds."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "StrictTensor":
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __repr__(self, **_: Any) -> str:
        return f"StrictTensor({self.inner!r})"

    def as_subclass(self, cls: Any) -> "StrictTensor":  # type: ignore[override]
        """Itself: meta data of MONAI do not go along, and are not asked for."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "StrictTensor":
        if id(self) not in memo:
            copied = StrictTensor(self.inner.detach().clone()).requires_grad_(self.requires_grad)
            copied._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = copied
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} runs where no strict device is")


class StrictGenerator(torch.Generator):
    """A generator that says it is on the device asked for; its numbers are those of the CPU."""

    def __new__(cls, device: Any = "cpu") -> "StrictGenerator":
        return super().__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self._of = torch.device(NAME, 0) if torch.device(device).type == NAME else CPU
        _devices[self._cdata] = self._of
        finalize(self, _devices.pop, self._cdata, None)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._of

    def manual_seed(self, seed: int) -> "StrictGenerator":
        super().manual_seed(seed)
        return self


class _Backend:
    """What torch asks of a device's module."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def _lazy_init(self) -> None: ...


def _indexed(index: Any, device: torch.device) -> Any:
    """An index whose lists and arrays are tensors on the device, as torch would make them."""
    if isinstance(index, tuple):
        return tuple(_indexed(one, device) for one in index)
    if isinstance(index, list | np.ndarray):
        return torch.as_tensor(index).to(device)
    return index


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether both are the same part of one storage."""
    if not (isinstance(one, StrictTensor) and isinstance(other, StrictTensor)):
        return False
    start = one.inner.data_ptr() == other.inner.data_ptr()
    alike = one.shape == other.shape and one.dtype == other.dtype
    steps = zip(one.shape, one.inner.stride(), other.inner.stride(), strict=True)
    return start and alike and all(a == b for side, a, b in steps if side > 1)


class _Calls(TorchFunctionMode):
    """Calls that python answers, or that torch refuses for a subclass."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in LISTS and given.get("device") is not None:
            device = torch.device(given.pop("device"))
            return func(*args, **given).to(device)
        if func in {Tensor.__getitem__, Tensor.__setitem__} and isinstance(args[0], StrictTensor):
            args = (args[0], _indexed(args[1], args[0].device), *args[2:])
        if func is Tensor.tolist and isinstance(args[0], StrictTensor):
            return args[0].detach().cpu().tolist()
        return func(*args, **given)


class Strict(TorchDispatchMode):
    """Carries out what happens on the device.

    Attributes:
        waited: how often the host waited for the device to answer, by the reason.
        uploads: how often it waited until values of its own were copied to the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waited: Counter[str] = Counter()
        self.uploads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        leaves, _ = tree_flatten((args, given))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        on = any(isinstance(one, StrictTensor) for one in tensors)
        packet = func.overloadpacket
        copies = packet in {ops._to_copy, ops.copy_}
        if copies and not given.get("non_blocking") and self._uploads(packet, args, given):
            self.uploads += 1
        if on and not copies:
            self._must_be_here(func, args, tensors)
        if on:
            self._count(func, args, given)
        if packet is ops.copy_:
            on = isinstance(args[0], StrictTensor)
        elif given.get("device") is not None:
            on = given["device"].type == NAME
            self._must_draw_here(func, given)
            given["device"] = CPU
        elif on:
            self._must_draw_here(func, given, NAME)
        if packet is ops._fused_sdp_choice:
            return 0
        if packet is ops.copy_ and _is_same(args[0], args[1]):
            return args[0]  # as torch does, which knows the storage
        inner_args, inner = tree_map_only(StrictTensor, lambda one: one.inner, (args, given))
        found = func(*inner_args, **inner)
        if on and torch.Tag.inplace_view in func.tags:
            with no_dispatch():  # what is known of the shape outside changes as well
                func(*args, **given)
        return self._wrapped(func, leaves, found, on)

    def _wrapped(self, func: Any, leaves: list[Any], found: Any, on: bool) -> Any:
        """The answer on the device; what an operation writes to is the tensor it was given."""
        known = {id(one.inner): one for one in leaves if isinstance(one, StrictTensor)}

        def wrap(one: Tensor) -> Tensor:
            if id(one) in known:
                return known[id(one)]
            return StrictTensor(one) if on else one

        return tree_map_only(Tensor, wrap, found)

    def _must_be_here(self, func: Any, args: Any, tensors: list[Tensor]) -> None:
        """Single numbers of the CPU may meet tensors of a device, value by value."""
        others = [one for one in tensors if not isinstance(one, StrictTensor)]
        numbers = torch.Tag.pointwise in func.tags or func.overloadpacket in {
            *(ops.fill_, ops.fill, ops.masked_fill, ops.masked_fill_),
            *(ops.index_put, ops.index_put_, ops._index_put_impl_, ops.lift_fresh),
        }
        bad = [one for one in others if one.ndim or not numbers]
        if bad:
            shapes = ", ".join(str(tuple(one.shape)) for one in bad)
            raise RuntimeError(f"{func} is given tensors of the CPU of shapes {shapes}")

    def _must_draw_here(self, func: Any, given: dict[str, Any], there: str | None = None) -> None:
        generator = given.get("generator")
        device = there or given["device"].type
        if generator is not None and _devices.get(generator._cdata, CPU).type != device:
            raise RuntimeError(f"{func} on {device} is given a generator of another device")

    def _uploads(self, packet: Any, args: Any, given: dict[str, Any]) -> bool:
        """Whether values of the host are copied to the device."""
        source = args[1] if packet is ops.copy_ else args[0]
        there = args[0].device if packet is ops.copy_ else given.get("device", CPU)
        return not isinstance(source, StrictTensor) and there is not None and there.type == NAME

    def _downloads(self, packet: Any, args: Any, given: dict[str, Any]) -> bool:
        """Whether values of the device are copied to the host."""
        if packet is ops.copy_:
            return not isinstance(args[0], StrictTensor)
        device = given.get("device")
        return packet is ops._to_copy and device is not None and device.type != NAME

    def _count(self, func: Any, args: Any, given: dict[str, Any]) -> None:
        packet = func.overloadpacket
        if packet in WAITS:
            self.waited[WAITS[packet]] += 1
        elif self._downloads(packet, args, given):
            self.waited["copy to the CPU"] += 1
        elif packet in INDEXED:
            masks = [one for one in args[1] if one is not None and one.dtype == torch.bool]
            filled = packet not in {ops.index, ops._unsafe_index} and args[2].numel() == 1
            if masks and not (filled and len(masks) == 1):
                self.waited["boolean index"] += 1
        elif packet is ops.repeat_interleave and given.get("output_size") is None:
            self.waited["repeat_interleave"] += 1


def install() -> torch.device:
    """Make the device known to torch, once for all in this process."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
        usual = torch.Generator
        for module in [torch, *(one for name, one in sys.modules.items() if "medssl" in name)]:
            if getattr(module, "Generator", None) is usual:
                setattr(module, "Generator", StrictGenerator)  # noqa: B010
    return torch.device(NAME, 0)


@contextmanager
def strict() -> Iterator[Strict]:
    """While it lasts, tensors can be made and used on the device."""
    with _Calls(), Strict() as mode:
        yield mode
