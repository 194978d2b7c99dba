"""A classification network of MONAI as the encoder of crops: all of it but its last layer.

Legend: N crops, S pixels of a side, C channels of a map h x w, F features.
"""

from typing import Self

import torch
from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.networks.monai_grader_settings import MonaiGraderSettings
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_network import constructed

CLASSES = 1
"""Answers of the last layer, which is taken off."""


class MonaiCropEncoder(nn.Module):
    """Crops [N, 1, S, S] to what the network's last, linear layer would be given, [N, F].

    A mean over the last map is taken here, and what the class itself drops after it is not: the
    grader drops features by its own key. Where there is no such map, as in a transformer, its
    saliency is even over a crop. An encoder that is frozen stays in evaluation mode.

    Raises:
        UsageError: the class refuses its arguments, or does not end in a linear layer.
    """

    def __init__(self, settings: MonaiGraderSettings) -> None:
        from monai.networks.layers import Reshape

        super().__init__()
        described, given = settings.monai, {**settings.monai.always, **settings.arguments}
        if described.channels is not None:
            given[described.channels] = 1
        if described.sides is not None:
            sides = [settings.side, settings.side]
            given[described.sides] = sides if described.channels is not None else [1, *sides]
        given[described.classes] = CLASSES
        self.network = constructed(settings.name.removeprefix(PREFIX), given)
        last = [k for k, one in self.network.named_modules() if isinstance(one, nn.Linear)][-1:]
        layer = self.network.get_submodule(*last) if last else None
        if not isinstance(layer, nn.Linear) or layer.out_features != CLASSES:
            raise UsageError(
                f"network.name={settings.name} cannot grade",
                "it does not end in a linear layer with an output for each class",
                "give other arguments, or name another network",
            )
        self.width, self._rests = layer.in_features, settings.frozen
        self.network.set_submodule(last[0], nn.Identity())
        for key, one in [*self.network.named_modules()]:
            if isinstance(one, Reshape):  # to a shape of the answers
                self.network.set_submodule(key, nn.Identity())
        pools = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
        pooling = [k for k, one in self.network.named_modules() if isinstance(one, pools)]
        self._pooling = next(reversed(pooling), None)

    def train(self, mode: bool = True) -> Self:
        """Training mode, unless it is frozen."""
        return super().train(mode and not self._rests)

    def maps(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to the last map [N, C, h, w]; without one [N, F, 1, 1]."""
        if self._pooling is None:
            return self._features(crops)[:, :, None, None]
        found: list[Tensor] = []
        pooling = self.network.get_submodule(self._pooling)
        seen = pooling.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        try:
            self._features(crops)
        finally:
            seen.remove()
        return found[-1]

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to features [N, F]."""
        return maps.mean((2, 3))

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to features [N, F]."""
        return self.pool(self.maps(crops))

    def _features(self, crops: Tensor) -> Tensor:
        """What the whole network answers with; a transformer also lists its hidden states."""
        found = self.network(crops)
        answer: Tensor = found[0] if isinstance(found, tuple) else found
        return answer


def must_grade(network: nn.Module, settings: MonaiGraderSettings, views: int, side: int) -> None:
    """Refuse a network that does not map crops of a side to answers, in training and after it.

    Tensors without values tell; only where a network needs values it is given zeros.

    Args:
        network: a `medssl.networks.grader.Grader` of `settings`; it is left as it was.
        views: crops of an image.
        side: of the crops, in pixels.

    Raises:
        UsageError: says what it fails with.
    """
    from copy import deepcopy

    reason = ""
    for device in ("meta", "cpu"):
        tried = deepcopy(network).to(device)
        images = torch.zeros(2, views, side, side, device=device)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                tried.train()(images)
                tried.eval()(images)
        except Exception as error:  # whatever a network of another package fails with
            text = " ".join(str(error).split())
            reason = f"{type(error).__name__}: {text[:200] or 'no reason is given'}"
            continue
        return
    raise UsageError(
        f"network.name={settings.name} cannot be trained on crops of {side} x {side} pixels",
        reason,
        "change its arguments or the side under preprocess, or name another network",
    )
