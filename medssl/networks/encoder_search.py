"""Which modules of a network are its encoder.

Of networks that are known it is said here; of others a trial pass tells: the encoder is what runs
before the coarsest feature map is first made finer, and the features are what it hands on.

Legend: B items, C channels, X Y Z voxels; 2-D networks have no Z.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from medssl.networks.encoder import VolumeEncoder
from medssl.networks.encoder_decoder import Parts, Place, innermost
from medssl.networks.flat import Flat
from medssl.networks.monai_encoders import CHAINS

ENCODERS = {
    "AHNet": ("conv1", "pool1", "bn0", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "HyenaNDUNETR": ("swinViT", "encoder1", "encoder2", "encoder3", "encoder4", "encoder10"),
    "SwinUNETR": ("swinViT", "encoder1", "encoder2", "encoder3", "encoder4", "encoder10"),
    "UNETR": ("vit", "encoder1", "encoder2", "encoder3", "encoder4"),
}
"""Classes of MONAI whose encoder is no chain, and its modules."""

ITEMS = 2
"""Of the trial pass: as many as batch norms need."""

Node = tuple[Any, int]
"""A value in the graph of gradients: what it comes from, and which of its values it is."""


class Unparted(Exception):
    """A network has no features between an encoder and a decoder; says why."""


@dataclass
class Call:
    """A call of a module in the trial pass; times are counted from 0.

    Attributes:
        given, found: shapes of the maps that it read and answered.
        nodes: of the values that it answered, None where one has no gradient.
        rows: of each of them, whether it has a row for each item.
    """

    name: str
    start: int
    given: list[torch.Size]
    end: int = -1
    found: list[torch.Size] = field(default_factory=list)
    nodes: list[Node | None] = field(default_factory=list)
    rows: list[bool] = field(default_factory=list)

    def refines(self, image: torch.Size) -> int | None:
        """Voxels of the coarsest map that it makes finer; None: it makes none finer."""
        coarser = [
            one.numel()
            for one in self.given
            for other in self.found
            if other.numel() > one.numel()
            and all(a <= b <= c for a, b, c in zip(one, other, image, strict=True))
        ]
        return min(coarser, default=None)


class Trial(NamedTuple):
    """A pass of zeros: its calls in their order, and the values of the answer."""

    image: torch.Size
    calls: list[Call]
    answer: list[Node]


def find_parts(network: nn.Module, channels: int, patch: Sequence[int]) -> Parts:
    """The encoder of a network that is given patches [B, C, X, Y, Z].

    Args:
        network: it is left as it was.
        patch: sides in voxels.

    Raises:
        Unparted: it has no encoder whose features could be reached.
    """
    inner = innermost(network)
    of_monai = type(inner).__module__.startswith("monai.")
    kind = type(inner).__name__ if of_monai else ""
    if kind in CHAINS:
        names = {one: name for name, one in inner.named_modules()}
        levels = tuple(
            tuple(names[module] for module in level) for level in CHAINS[kind](inner).levels
        )
        return Parts(tuple(name for level in levels for name in level), levels)
    axes = 2 if isinstance(network, Flat) else 3
    trial = _tried(inner, torch.Size((ITEMS, channels, *patch[:axes])))
    if isinstance(getattr(inner, "encoder", None), VolumeEncoder) and any(
        one.name == "encoder" for one in trial.calls
    ):
        return Parts(("encoder",), (("encoder",),))
    names_of = ENCODERS.get(kind)
    encoder = set(names_of) if names_of else _before(inner, trial, _refined(inner, trial))
    return _parts(inner, trial, encoder)


def _parts(network: nn.Module, trial: Trial, encoder: set[str]) -> Parts:
    calls = [one for one in trial.calls if one.name in encoder]
    within = {one for name in encoder for one in network.get_submodule(name).parameters()}
    if not within:
        raise Unparted("nothing with weights comes before its last layer")
    if not {*network.parameters()} - within:
        raise Unparted("nothing with weights comes after its features")
    counted: dict[str, int] = {}
    places: dict[Node, tuple[Place, bool]] = {}
    for one in sorted(calls, key=lambda call: call.end):
        call = counted[one.name] = counted.get(one.name, -1) + 1
        for leaf, (node, rows) in enumerate(zip(one.nodes, one.rows, strict=True)):
            if node is not None:
                places[node] = Place(one.name, call, leaf), rows
        last = one.name, call
    crossing = [places[node] for node in _first_met(trial.answer, places.keys())]
    if not crossing:
        raise Unparted("nothing of its encoder reaches its answer")
    if not all(rows for _, rows in crossing):
        raise Unparted("its features are not of one item each")
    order = list(places.values())
    crossing.sort(key=order.index)
    maps = tuple(place for place, _ in crossing)
    return Parts(tuple(name for name in counted), maps=maps, last=last)


def _first_met(answer: Sequence[Node], wanted: Any) -> list[Node]:
    """The wanted values that the answer is made of, without another wanted one in between."""
    found: dict[Node, None] = {}
    seen, left = set(answer), list(answer)
    while left:
        node = left.pop()
        if node in wanted:
            found[node] = None
            continue
        for following in node[0].next_functions:
            if following[0] is not None and following not in seen:
                seen.add(following)
                left.append(following)
    return list(found)


def _refined(network: nn.Module, trial: Trial) -> int:
    """When the coarsest map is first made finer; of networks of one size, when the last layer is.

    Raises:
        Unparted: there is no layer before it.
    """
    sides = trial.image[2:]
    coarsest = {one.start: voxels for one in trial.calls if (voxels := one.refines(sides))}
    if coarsest:
        least = min(coarsest.values())
        return min(start for start, voxels in coarsest.items() if voxels == least)
    layers = [one for one in trial.calls if _maps_channels(network, one.name)]
    if len(layers) < 2:
        raise Unparted("it has no more than one layer with weights")
    least = min((shape.numel() for one in layers for shape in one.found), default=0)
    at_least = [one.end for one in layers if any(size.numel() == least for size in one.found)]
    ended = max(at_least, default=layers[-1].end)
    return min((one.start for one in layers if one.start > ended), default=layers[-1].start)


def _maps_channels(network: nn.Module, name: str) -> bool:
    """Whether a module is a layer such as a convolution, and no norm or activation."""
    return any(one.ndim > 1 for one in network.get_submodule(name).parameters(recurse=False))


def _before(network: nn.Module, trial: Trial, time: int) -> set[str]:
    """The outermost modules that are only called before a time, but for heads of the answer."""
    ends: dict[str, int] = {}
    answer = set(trial.answer)
    for one in trial.calls:
        end = time if answer.intersection(one.nodes) else one.end
        ends[one.name] = max(end, ends.get(one.name, -1))

    def within(module: nn.Module, prefix: str) -> Iterator[str]:
        for name, child in module.named_children():
            path = prefix + name
            if path in ends and ends[path] < time:
                yield path
            else:
                yield from within(child, f"{path}.")

    return set(within(network, ""))


def _tried(network: nn.Module, image: torch.Size) -> Trial:
    """A pass of zeros in training mode.

    Tensors without values tell; only where a network needs values it is given zeros.
    """
    for device in ("meta", "cpu"):
        tried = deepcopy(network).to(device).train().requires_grad_()
        zeros = torch.zeros(image, device=device, requires_grad=True)
        try:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                return _watched(tried, zeros)
        except Exception as error:  # whatever a network of another package fails with
            reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'without a reason'}"
    raise Unparted(f"it fails on patches of {list(image[2:])}: {reason}")


def _watched(network: nn.Module, image: Tensor) -> Trial:
    calls: list[Call] = []
    open_calls: list[Call] = []
    time = 0

    def begin(name: str, given: Any) -> None:
        nonlocal time
        call = Call(name, time, [one.shape[2:] for one in _maps(given, image)])
        calls.append(call)
        open_calls.append(call)
        time += 1

    def end(found: Any, pads: bool) -> None:
        nonlocal time
        call = open_calls.pop()
        call.end = time
        if not pads:  # which makes no map finer
            call.found = [one.shape[2:] for one in _maps(found, image)]
        leaves, _ = tree_flatten(found)
        call.nodes = [_node(one) for one in leaves]
        call.rows = [_has_rows(one) and len(one) == len(image) for one in leaves]
        time += 1

    for name, module in network.named_modules():
        if name:
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: begin(name, (args, kwargs)), with_kwargs=True
            )
            pads = type(module).__module__ == "torch.nn.modules.padding"
            module.register_forward_hook(lambda _, given, found, pads=pads: end(found, pads))
    answer, _ = tree_flatten(network(image))
    maps = filter(_has_rows, answer)  # and no loss of its own
    nodes = [node for one in maps if (node := _node(one)) is not None]
    return Trial(image.shape, calls, nodes)


def _maps(values: Any, image: Tensor) -> list[Tensor]:
    leaves, _ = tree_flatten(values)
    return [one for one in leaves if isinstance(one, Tensor) and one.ndim == image.ndim]


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _node(value: Any) -> Node | None:
    if not isinstance(value, Tensor) or value.grad_fn is None:
        return None
    return value.grad_fn, value.output_nr
