"""A classification network of MONAI as an encoder of images: all of it but its last layer.

Legend: N images, S pixels of a side, C channels, F features, h x w sides of a map.
"""

from typing import Self

from torch import Tensor, nn

from medssl.errors import UsageError
from medssl.networks.monai_images import MonaiImages
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_network import constructed

CLASSES = 1
"""Answers of the last layer, which is taken off."""


class MonaiFeatures(nn.Module):
    """Images [N, C, S, S] to what the network's last, linear layer would be given, [N, F].

    A mean over the last map is taken here, and what the class itself drops after it is not: who
    has a head on features drops them by a key of its own.

    Args:
        settings: which network.
        channels, side: of the images; a side is asked for by some classes, such as transformers.
        frozen: whether it stays in evaluation mode.

    Attributes:
        width: features of an image, F.

    Raises:
        UsageError: the class refuses its arguments, or does not end in a linear layer.
    """

    def __init__(
        self, settings: MonaiImages, channels: int, side: int | None, frozen: bool = False
    ) -> None:
        from monai.networks.layers import Reshape

        super().__init__()
        described, given = settings.monai, {**settings.monai.always, **settings.arguments}
        if described.channels is not None:
            given[described.channels] = channels
        if described.sides is not None:
            shape = [side, side] if described.channels is not None else [channels, side, side]
            given[described.sides] = shape
        given[described.classes] = CLASSES
        self.network = constructed(settings.name.removeprefix(PREFIX), given)
        last = [k for k, one in self.network.named_modules() if isinstance(one, nn.Linear)][-1:]
        layer = self.network.get_submodule(*last) if last else None
        if not isinstance(layer, nn.Linear) or layer.out_features != CLASSES:
            raise UsageError(
                f"{settings.name} gives no features",
                "it does not end in a linear layer with an output for each class",
                "give other arguments, or name another network",
            )
        self.width, self._rests = layer.in_features, frozen
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

    @property
    def of_maps(self) -> bool:
        """Whether it averages a last map; others, such as transformers, do not."""
        return self._pooling is not None

    def maps(self, image: Tensor) -> Tensor:
        """Images [N, C, S, S] to the last map [N, F, h, w]; without one [N, F, 1, 1]."""
        if self._pooling is None:
            return self._features(image)[:, :, None, None]
        found: list[Tensor] = []
        pooling = self.network.get_submodule(self._pooling)
        seen = pooling.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        try:
            self._features(image)
        finally:
            seen.remove()
        return found[-1]

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, F, h, w] to features [N, F]."""
        return maps.mean((2, 3))

    def forward(self, image: Tensor) -> Tensor:
        """Images [N, C, S, S] to features [N, F]."""
        return self.pool(self.maps(image))

    def _features(self, image: Tensor) -> Tensor:
        """What the whole network answers with; a transformer also lists its hidden states."""
        found = self.network(image)
        answer: Tensor = found[0] if isinstance(found, tuple) else found
        return answer
