"""A classification network of MONAI as an encoder of slices, with its maps of every size.

Legend: B images, C channels, H W pixels, F features of a map.
"""

from contextlib import ExitStack
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.networks.monai_features import MonaiFeatures
from medssl.networks.monai_slice_settings import MonaiSliceSettings

TRIED = 256
"""Side in pixels of the image by which maps are found."""


class Call(NamedTuple):
    """A call of a module in a pass.

    Attributes:
        name: of the module.
        number: which of its calls, from 0.
        shape: of its answer.
    """

    name: str
    number: int
    shape: torch.Size


class MonaiSlices(nn.Module):
    """Images [B, C, H, W] to maps, finest first: the last that the network makes of each size.

    Attributes:
        widths, strides: channels of the map of each level, and pixels per pixel of it.
        stem: name of the weight that reads the image; its second axis is the image's channels.

    Raises:
        UsageError: the class refuses its arguments, or makes no maps.
    """

    def __init__(self, settings: MonaiSliceSettings, channels: int) -> None:
        super().__init__()
        what = f"the encoder {settings.name} has no maps that masks could be made of"
        do = "choose one that averages its last map, e.g. monai:DenseNet121"
        if settings.monai.sides is not None:
            raise UsageError(what, "it gives features of whole images of one size alone", do)
        self.model = MonaiFeatures(settings, channels, None)
        if not self.model.of_maps:
            raise UsageError(what, "it gives features of whole images alone", do)
        self.stem = next(name for name, one in self.named_parameters() if one.ndim == 4)
        calls = self._tried(channels)
        last = {one.shape[2]: place for place, one in enumerate(calls)}
        coarsest = min(last)
        ends = sorted(place for side, place in last.items() if side > coarsest)
        self._levels = [calls[place] for place in ends]
        shapes = [*(one.shape for one in self._levels), calls[last[coarsest]].shape]
        self.widths = tuple(one[1] for one in shapes)
        self.strides = tuple(max(1, round(TRIED / one[2])) for one in shapes)
        self._names = self._of_levels(calls, ends)

    def maps(self, image: Tensor) -> list[Tensor]:
        """[B, widths[l], H / strides[l], W / strides[l]] for each level l, about."""
        found: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for level, one in enumerate(self._levels):
                module = self.model.network.get_submodule(one.name)
                keep = _Keep(found, level, one.number)
                stack.callback(module.register_forward_hook(keep).remove)
            last = self.model.maps(image)
        return [*(found[level] for level in range(len(self._levels))), last]

    def layers(self) -> list[list[nn.Module]]:
        """What has weights, a list per level."""
        network = self.model.network
        return [[network.get_submodule(name) for name in level] for level in self._names]

    def _tried(self, channels: int) -> list[Call]:
        """Calls in the order in which they end, of all modules but those that only pad.

        No map is smaller than that which is averaged, so what is, such as weights of channels, is
        none.
        """
        tried = deepcopy(self.model).eval().to("meta")
        calls: list[Call] = []
        counted: dict[str, int] = {}

        def ended(name: str, found: Any) -> None:
            counted[name] = counted.get(name, -1) + 1
            if isinstance(found, Tensor) and found.ndim == 4:
                calls.append(Call(name, counted[name], found.shape))

        with ExitStack() as stack, torch.no_grad():
            for name, module in tried.network.named_modules():
                if name and type(module).__module__ != "torch.nn.modules.padding":
                    stack.callback(
                        module.register_forward_hook(
                            lambda _, __, found, name=name: ended(name, found)
                        ).remove
                    )
            image = torch.zeros(1, channels, TRIED, TRIED, device="meta")
            least = tried.maps(image).shape[2]
        return [one for one in calls if one.shape[2] >= least]

    def _of_levels(self, calls: list[Call], ends: list[int]) -> list[list[str]]:
        """Names of the modules with weights of their own, by the level that calls them first."""
        levels: list[list[str]] = [[] for _ in range(len(ends) + 1)]
        when = dict(reversed([(one.name, place) for place, one in enumerate(calls)]))
        level = 0
        for name, module in self.model.network.named_modules():
            if any(True for _ in module.parameters(recurse=False)):
                if name in when:  # what is called on no map is of the level before
                    level = sum(when[name] > end for end in ends)
                levels[level].append(name)
        return levels


class _Keep:
    """A hook that keeps one of the answers of a module."""

    def __init__(self, found: dict[int, Tensor], level: int, number: int) -> None:
        self.found, self.level, self.number, self.count = found, level, number, 0

    def __call__(self, module: nn.Module, given: Any, answer: Tensor) -> None:
        """Keep it if it is of that call."""
        if self.count == self.number:
            self.found[self.level] = answer
        self.count += 1
