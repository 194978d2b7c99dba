"""Random changes of intensity, whose laws are those of nnU-Net where MONAI has none like them.

Every amount is drawn by numpy, and images are changed on the device where they are. The images of
one dictionary share what is drawn. MetaTensors keep their grid.

Legend: C channels, X Y Z voxels; planar images have no Z.
"""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn.functional import interpolate

from medssl.transforms.intensity import like
from medssl.transforms.linear import along, blurring, enlarging

Range = Sequence[float]

LN_2 = log(2)


class RandomIntensity(RandomizableTransform, MapTransform):
    """A change of each channel by an amount of its own, with a chance for all and one for each.

    Args:
        keys: images, [C, X, Y] or [C, X, Y, Z]; float32 comes out.
        prob: chance that an image is changed.
        channel_prob: chance of each of its channels then.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float,
        channel_prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.channel_prob = channel_prob
        self._amounts: list[Any] = []

    def randomize(self, data: Any = None) -> None:
        """Draw the amount of each channel of an image [C, ...]; None: it stays."""
        super().randomize(None)
        self._amounts = []
        if self._do_transform:
            for _ in range(data.shape[0]):
                drawn = self.channel_prob == 1 or self.R.rand() < self.channel_prob
                self._amounts.append(self._draw(data.ndim - 1) if drawn else None)

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """The dictionary with changed images."""
        changed = dict(data)
        first = self.first_key(changed)
        if first in changed:
            self.randomize(changed[first])
        if not self._do_transform or all(one is None for one in self._amounts):
            return changed
        for key in self.key_iterator(changed):
            image = changed[key].as_subclass(Tensor).float()
            channels = [
                channel if amount is None else self._change(channel, amount)
                for channel, amount in zip(image, self._amounts, strict=True)
            ]
            made = torch.stack(channels) if len(channels) > 1 else channels[0][None]
            changed[key] = like(changed[key], made)
        return changed

    @abstractmethod
    def _draw(self, axes: int) -> Any:
        """The amount of one channel of so many axes."""

    @abstractmethod
    def _change(self, channel: Tensor, amount: Any) -> Tensor:
        """One channel [X, ...] changed; it is not written to."""

    def _below_or_above_1(self, limits: Range) -> float:
        """Uniform below 1 in half of the draws, and above it in the others."""
        low, high = limits
        if self.R.rand() < 0.5 and low < 1:
            return float(self.R.uniform(low, min(high, 1)))
        return float(self.R.uniform(max(low, 1), max(high, 1)))


class RandBrightnessd(RandomIntensity):
    """Multiplies each channel by a factor of its own.

    Args:
        keys: images, [C, ...].
        prob: chance that an image is changed.
        factor: half of the factors are uniform from the first number to 1, half from 1 to the
            second.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.15,
        factor: Range = (0.75, 1.25),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, prob, allow_missing_keys=allow_missing_keys)
        self.factor = ordered("factor", factor)

    def _draw(self, axes: int) -> float:
        return self._below_or_above_1(self.factor)

    def _change(self, channel: Tensor, amount: float) -> Tensor:
        return channel * amount


class RandContrastd(RandBrightnessd):
    """Spreads each channel about its mean by a factor, and clips it to the range that it had.

    Args:
        keys: images, [C, ...].
        prob: chance that an image is changed.
        factor: as of `RandBrightnessd`.
    """

    def _change(self, channel: Tensor, amount: float) -> Tensor:
        low, high = channel.aminmax()
        made = torch.lerp(channel.mean(), channel, amount)
        # `clamp_` to tensors takes three times as long.
        return torch.minimum(torch.maximum(made, low, out=made), high, out=made)


class RandGammaRangePreservingd(RandomIntensity):
    """Raises intensities, seen between their least and their largest, to a power.

    The range stays as it is; with `retain_stats` mean and standard deviation do instead. An image
    of one value stays.

    Args:
        keys: images, [C, ...].
        prob: chance that an image is changed.
        gamma: half of the exponents are uniform from the first number to 1, half from 1 to the
            second.
        log_gamma: in place of `gamma`: the exponent's logarithm is uniform in +/- this.
        invert: change the negated image, so that the bright end moves most.
        retain_stats: see above.
        channel_wise: with an exponent and a range for each channel; otherwise all share them.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.3,
        gamma: Range = (0.7, 1.5),
        log_gamma: float | None = None,
        invert: bool = False,
        retain_stats: bool = False,
        channel_wise: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, prob, allow_missing_keys=allow_missing_keys)
        self.gamma, self.log_gamma = ordered("gamma", gamma), log_gamma
        self.invert, self.retain_stats, self.channel_wise = invert, retain_stats, channel_wise

    def randomize(self, data: Any = None) -> None:
        """Draw the exponents for an image [C, ...]."""
        super().randomize(data if self.channel_wise else data[:1])

    def __call__(self, data: Mapping[Hashable, Tensor]) -> dict[Hashable, Tensor]:
        """The dictionary with changed images."""
        if self.channel_wise:
            return super().__call__(data)
        flat = {key: data[key].flatten(0, 1) for key in self.key_iterator(dict(data))}
        done = super().__call__({key: image[None] for key, image in flat.items()})
        return {**data, **{key: done[key].reshape(data[key].shape) for key in flat}}

    def _draw(self, axes: int) -> float:
        if self.log_gamma is not None:
            return exp(self.R.uniform(-self.log_gamma, self.log_gamma))
        return self._below_or_above_1(self.gamma)

    def _change(self, channel: Tensor, amount: float) -> Tensor:
        low, high = channel.aminmax()
        made, first = (high - channel, high) if self.invert else (channel - low, low)
        span = (high - low).clamp_min(1e-6)
        logarithm_(made.div_(span)).mul_(amount / LN_2).exp2_()
        if not self.retain_stats:
            return made.mul_(-span if self.invert else span).add_(first)
        mean = channel.mean()
        spread = torch.linalg.vector_norm(channel - mean)
        made.sub_(made.mean())
        # Of an image of one value nothing is left to divide by.
        factor = spread / torch.linalg.vector_norm(made).clamp_min(1e-7)
        return made.mul_(-factor if self.invert else factor).add_(mean)


class RandBlurd(RandomIntensity):
    """Smooths channels with a Gaussian; beyond its faces an image goes on mirrored.

    The kernel ends three standard deviations from its middle.

    Args:
        keys: images, [C, X, Y] or [C, X, Y, Z].
        prob: chance that an image is changed.
        channel_prob: chance of each of its channels then.
        sigma: voxels; uniform in between, for each axis and channel.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.2,
        channel_prob: float = 0.5,
        sigma: Range = (0.5, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, prob, channel_prob, allow_missing_keys)
        self.sigma = ordered("sigma", sigma)

    def _draw(self, axes: int) -> list[float]:
        return [float(self.R.uniform(*self.sigma)) for _ in range(axes)]

    def _change(self, channel: Tensor, amount: list[float]) -> Tensor:
        for axis, sigma in enumerate(amount):
            channel = along(channel, axis, blurring(channel.shape[axis], sigma))
        return channel


class RandLowResolutiond(RandomIntensity):
    """Channels as if taken with larger voxels: some are kept, and between them it goes linearly.

    In an image whose longest side is more than `plane_ratio` times its shortest, the shortest axis
    keeps its voxels, which are large already.

    Args:
        keys: images, [C, X, Y] or [C, X, Y, Z].
        prob: chance that an image is changed.
        channel_prob: chance of each of its channels then.
        zoom: the share of voxels kept along each axis, uniform in between for each channel.
        plane_ratio: see above.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.25,
        channel_prob: float = 0.5,
        zoom: Range = (0.5, 1.0),
        plane_ratio: float = 3.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, prob, channel_prob, allow_missing_keys)
        self.zoom, self.plane_ratio = ordered("zoom", zoom), plane_ratio

    def _draw(self, axes: int) -> float:
        return float(self.R.uniform(*self.zoom))

    def _change(self, channel: Tensor, amount: float) -> Tensor:
        size = tuple(channel.shape)
        fewer = [max(1, round(side * amount)) for side in size]
        if len(size) == 3 and max(size) > self.plane_ratio * min(size):
            thick = int(np.argmin(size))
            fewer[thick] = size[thick]
        made = interpolate(channel[None, None], fewer, mode="nearest-exact")[0, 0]
        for axis in reversed(range(len(size))):
            if fewer[axis] < size[axis]:
                made = enlarging(fewer[axis], size[axis]).read(made, axis)
        return made


def logarithm_(values: Tensor) -> Tensor:
    """The natural logarithm in place; on a CPU by numpy, which takes a third of torch's time."""
    if values.device.type != "cpu":
        return values.log_()
    array = values.numpy()
    with np.errstate(divide="ignore"):  # of 0 it is minus infinity, the power of which is 0
        np.log(array, out=array)
    return values


def ordered(name: str, limits: Range) -> tuple[float, float]:
    """Two numbers above 0, the larger one last; ValueError for others."""
    if len(limits) != 2 or not 0 <= limits[0] <= limits[1] or limits[1] == 0:
        raise ValueError(f"{name}={list(limits)} is not two numbers above 0, the larger one last")
    return float(limits[0]), float(limits[1])
