"""Any network as an encoder and a decoder, whose features can be changed on the way between them.

The network stays what it is: the same modules, under the same names. In a pass with changed
features its encoder alone is run; then the whole network is, while the modules of the encoder
answer with the changed features and compute nothing. Which modules these are is found by
`medssl.networks.encoder_search`.

Legend: B items, C channels, X Y Z voxels of each level; 2-D networks have no Z.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from medssl.networks.heads import ManyHeads


class Place(NamedTuple):
    """Where a feature map is in what a module answers.

    Attributes:
        module: its name in the network.
        call: which of the calls of that module in a pass, from 0.
        leaf: which of the values of the answer, from 0.
    """

    module: str
    call: int
    leaf: int


class Parts(NamedTuple):
    """Which modules of a network are its encoder.

    Attributes:
        encoder: their names, of no module inside another.
        levels: those of each level, finest first, where each reads what the one before it answers;
            empty: the encoder runs as the network itself runs it.
        maps: the feature maps that the decoder reads, where there are no levels.
        last: the last call of a module of the encoder, where there are no levels.
    """

    encoder: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...] = ()
    maps: tuple[Place, ...] = ()
    last: tuple[str, int] = ("", 0)


class Features(NamedTuple):
    """What a decoder reads.

    Attributes:
        image: [B, C, X, Y, Z], of which some decoders read more than the size.
        maps: [B, C, X, Y, Z] of every level, finest first; those of tokens are [B, C, N].
        places: where each of the maps is in `answers`.
        answers: of every call of a module of the encoder.
    """

    image: Tensor
    maps: list[Tensor]
    places: list[Place]
    answers: Mapping[str, list[Any]]


Change = Callable[[Features], Features]
"""Of the maps, and of the image where items are added: the same ones to both."""


class _Encoded(Exception):
    """The encoder has run; what follows is not wanted."""


class EncoderDecoder:
    """In place of the `forward` of a network: as that is, unless its features are to be changed.

    Attributes:
        uncompiled: a pass with changed features, which torch leaves out where it compiles.
    """

    uncompiled: ClassVar[Callable[..., Any]]

    def __init__(self, network: nn.Module, parts: Parts) -> None:
        self.network, self.parts = network, parts
        self.modules = {name: network.get_submodule(name) for name in parts.encoder}

    def __call__(self, image: Tensor) -> Any:
        """What the network answers to images [B, C, X, Y, Z]."""
        change = next((one for network, one in reversed(_changes) if network is self), None)
        return self._plain(image) if change is None else self.uncompiled(image, change)

    def encode(self, image: Tensor) -> Features:
        """The features of images, by the encoder alone."""
        answers = self._by_levels(image) if self.parts.levels else self._by_network(image)
        places = list(self.parts.maps)
        for *_, last in self.parts.levels:
            leaves, _ = tree_flatten(answers[last][0])
            places += [Place(last, 0, leaf) for leaf in range(len(leaves))]
        found = {place: _as_map(_leaf(answers, place), image) for place in places}
        places.sort(key=lambda place: -found[place][0, 0].numel())
        return Features(image, [found[place] for place in places], places, answers)

    def decode(self, features: Features) -> Any:
        """What the network answers where its encoder has found these features."""
        flat = {
            name: [tree_flatten(one) for one in calls] for name, calls in features.answers.items()
        }
        items = len(_leaf(features.answers, features.places[0]))
        for leaves, _ in (one for calls in flat.values() for one in calls):
            leaves[:] = [_for_items(one, items, len(features.image)) for one in leaves]
        for (name, call, leaf), one in zip(features.places, features.maps, strict=True):
            flat[name][call][0][leaf] = _as_answer(one, features.image)
        with ExitStack() as stack:
            for name, module in self.modules.items():
                calls = [tree_unflatten(*one) for one in flat.get(name, [])]
                stack.enter_context(_forward_of(module, StandIn(calls)))
            return self._plain(features.image)

    def drop_encoder(self) -> None:
        """Take the encoder's modules, and so their weights, out of the network.

        It can only `decode` from then on.
        """
        kept = {module: nn.Identity() for module in self.modules.values()}
        for module in list(self.network.modules()):
            for name, child in module.named_children():
                if child in kept:
                    module._modules[name] = kept[child]
        self.modules = {name: kept[module] for name, module in self.modules.items()}

    def changed(self, image: Tensor, change: "Change | Features") -> Any:
        """What the network answers where its features are changed, or are given."""
        given = change if isinstance(change, Features) else change(self.encode(image))
        return self.decode(given)

    def _plain(self, image: Tensor) -> Any:
        return type(self.network).forward(self.network, image)

    def _by_levels(self, x: Any) -> dict[str, list[Any]]:
        answers = {}
        for level in self.parts.levels:
            for name in level:
                x = self.modules[name](x)
                answers[name] = [x]
        return answers

    def _by_network(self, image: Tensor) -> dict[str, list[Any]]:
        answers: dict[str, list[Any]] = defaultdict(list)

        def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def kept(module: nn.Module, given: Any, found: Any) -> None:
                answers[name].append(found)
                if (name, len(answers[name]) - 1) == self.parts.last:
                    raise _Encoded

            return kept

        hooks = [one.register_forward_hook(keep(name)) for name, one in self.modules.items()]
        try:
            self._plain(image)
        except _Encoded:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return dict(answers)


class StandIn:
    """In place of the `forward` of a module: the answers of its calls, one after the other."""

    def __init__(self, answers: Sequence[Any], call: int = 0) -> None:
        self.answers, self.call = answers, call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The next answer, whatever is given."""
        self.call += 1
        return self.answers[self.call - 1]

    def again(self) -> "StandIn":
        """One that answers from here on what this one does."""
        return StandIn(self.answers, self.call)


_changes: list[tuple[EncoderDecoder, Change | Features]] = []


@contextmanager
def changed_features(network: nn.Module, change: Change | Features) -> Iterator[None]:
    """While it lasts, the decoder of a network gets changed features.

    Args:
        network: one that `divide` was given.
        change: of the features that its encoder finds; or features, whatever it would find.
    """
    with _all_changed([(innermost(network).halves, change)]):
        yield


class Changed:
    """What passes of a module depend on of what this module does, as it is now."""

    def __init__(self, module: nn.Module) -> None:
        self._changes = list(_changes)
        self._stand_ins = [
            (one, given.again())
            for one in module.modules()
            if isinstance(given := vars(one).get("forward"), StandIn)
        ]

    @contextmanager
    def again(self) -> Iterator[None]:
        """While it lasts, features are changed as they were."""
        with ExitStack() as stack:
            stack.enter_context(_all_changed(self._changes))
            for module, given in self._stand_ins:
                stack.enter_context(_forward_of(module, given.again()))
            yield


@contextmanager
def _all_changed(changes: Sequence[tuple[EncoderDecoder, Change | Features]]) -> Iterator[None]:
    before = len(_changes)
    _changes.extend(changes)
    try:
        yield
    finally:
        del _changes[before:]


@contextmanager
def _forward_of(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, calls of a module go to `forward`."""
    own = vars(module)
    before = own.get("forward")
    own["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


def innermost(network: nn.Module) -> Any:
    """The network in what only takes care of its heads or axes."""
    while isinstance(network, ManyHeads):
        network = network.network
    return network


def divide(network: nn.Module, parts: Parts) -> EncoderDecoder:
    """Let the features of a network be changed; its other passes stay what they are.

    To be done before its calls are wrapped otherwise.
    """
    # Not a decorator, which would load torch's compiler, a second, with every prediction.
    EncoderDecoder.uncompiled = torch.compiler.disable(EncoderDecoder.changed)  # type: ignore[no-untyped-call]
    inner = innermost(network)
    inner.halves = inner.forward = EncoderDecoder(inner, parts)
    found: EncoderDecoder = inner.halves
    return found


def drop_encoder(network: nn.Module) -> None:
    """Take the encoder, and so its weights, out of a network that `divide` was given.

    It can only decode from then on.
    """
    while isinstance(network, ManyHeads):
        network.encoder = None  # of the same modules
        network = network.network
    innermost(network).halves.drop_encoder()


def _leaf(answers: Mapping[str, list[Any]], place: Place) -> Tensor:
    leaves, _ = tree_flatten(answers[place.module][place.call])
    found: Tensor = leaves[place.leaf]
    return found


def _as_map(answer: Tensor, image: Tensor) -> Tensor:
    """With channels second, as all but tokens [B, N, C] have them."""
    return answer if answer.ndim == image.ndim else answer.movedim(-1, 1)


def _as_answer(features: Tensor, image: Tensor) -> Tensor:
    """The inverse of `_as_map`."""
    return features if features.ndim == image.ndim else features.movedim(1, -1)


def _for_items(answer: Any, had: int, wanted: int) -> Any:
    """What the decoder does not read, with a row for each of its items."""
    if had == wanted or not isinstance(answer, Tensor) or not answer.ndim or len(answer) != had:
        return answer
    return answer.detach()[:1].expand(wanted, *answer.shape[1:])
