"""The steps of Semixup's random transform T: for a batch of crops on the device, and for MONAI.

Source: Semixup (sheet, section 5): noise, rotation on a growing canvas, padding, random crop,
gamma. Every crop draws its own amounts. Rotation, padding and crop are one affine sampling, so
pixels are interpolated once; the release works on bytes and rounds after every step.

Legend: N crops, V crops of an image, S pixels of a side.
"""

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from medssl.data.draws import uniform
from medssl.transforms.intensity import like

LARGEST_SEED = 2**31


class RandomCropChange(RandomizableTransform, MapTransform):
    """A random change of crops, of which each draws for itself.

    In a dictionary every channel of an image [V, S, S] is a crop; `set_random_state` decides what
    is drawn, the same for all keys. A training loop hands whole batches to `changed`.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with changed images, float32."""
        changed = dict(data)
        seed = int(self.R.randint(LARGEST_SEED))
        for key in self.key_iterator(changed):
            image = changed[key]
            crops = image.as_subclass(Tensor).float().unsqueeze(1)
            drawn = self.changed(crops, Generator(crops.device).manual_seed(seed))
            changed[key] = like(image, drawn.squeeze(1))
        return changed

    @abstractmethod
    def changed(self, crops: Tensor, generator: Generator) -> Tensor:
        """Crops [N, 1, S, S] float32 in [0, 1], each changed by itself."""


class RandMixNoised(RandomCropChange):
    """Mixes crops with noise.

    Args:
        keys: images [V, S, S] in [0, 1].
        most: largest share of noise in the mix.
        prob: chance of each crop.
    """

    def __init__(
        self,
        keys: KeysCollection,
        most: float = 0.3,
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= most <= 1:
            raise ValueError(f"most={most} is no share")
        self.most, self.share = most, prob

    def changed(self, crops: Tensor, generator: Generator) -> Tensor:
        """The crops with noise, see `add_noise`."""
        return add_noise(crops, self.most, self.share, generator)


class RandTurnShiftd(RandomCropChange):
    """Turns square crops about their centre on a canvas that holds them, and cuts one out of it.

    Args:
        keys: images [V, S, S].
        rotation: degrees, +/- this.
        pad: least side of the canvas, in sides of the crop.
    """

    def __init__(
        self,
        keys: KeysCollection,
        rotation: float = 10.0,
        pad: float = 1.05,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not 0 <= rotation <= 45 or pad < 1:
            raise ValueError("rotation goes up to 45 degrees, and pad is at least 1")
        self.rotation, self.pad = rotation, pad

    def changed(self, crops: Tensor, generator: Generator) -> Tensor:
        """The crops turned and shifted, see `draw_pose` and `turn_and_shift`."""
        return turn_and_shift(crops, *draw_pose(crops, self.rotation, self.pad, generator))


class RandInverseGammad(RandomCropChange):
    """crop^(1 / gamma) of crops in [0, 1]; `monai.transforms.RandAdjustContrastd` takes crop^gamma.

    Args:
        keys: images [V, S, S]; values are clipped to [0, 1].
        gamma: two, uniform in between.
        prob: chance of each crop.
    """

    def __init__(
        self,
        keys: KeysCollection,
        gamma: tuple[float, float] = (0.5, 1.5),
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        low, high = gamma
        if not 0 < low <= high:
            raise ValueError("gamma goes from a positive number to one at least as large")
        self.gamma, self.share = (float(low), float(high)), prob

    def changed(self, crops: Tensor, generator: Generator) -> Tensor:
        """The crops with another gamma, see `change_gamma`."""
        return change_gamma(crops, self.gamma, self.share, generator)


def chance(crops: Tensor, probability: float, generator: Generator) -> Tensor:
    """[N, 1, 1, 1] bool, each true with `probability`."""
    return uniform((len(crops), 1, 1, 1), 0, 1, crops, generator) < probability


def add_noise(crops: Tensor, most: float, probability: float, generator: Generator) -> Tensor:
    """(1 - g) crop + g noise, g uniform up to `most`, in crops [N, 1, S, S] in [0, 1].

    The noise is a Gaussian field that is stretched to the whole range, so its mean is near the
    middle and not 0: contrast falls and dark pixels brighten.
    """
    if not most or not probability:
        return crops
    field = torch.randn(crops.shape, generator=generator, device=crops.device)
    low, high = field.amin((1, 2, 3), keepdim=True), field.amax((1, 2, 3), keepdim=True)
    gain = uniform((len(crops), 1, 1, 1), 0, most, crops, generator)
    gain = gain * chance(crops, probability, generator)
    return torch.lerp(crops, (field - low) / (high - low), gain)


def draw_pose(
    crops: Tensor, rotation: float, pad: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Angles [N] in radians and shifts [N, 2] in pixels, across and down, of crops [N, 1, S, S].

    The canvas that holds the turned crop has round(S (cos + |sin|)) pixels, or int(S * pad) if that
    is more; the shift is where a random crop of S pixels lies in it, in whole pixels of the canvas.
    """
    count, side = len(crops), crops.shape[-1]
    angle = uniform((count,), -rotation, rotation, crops, generator).deg2rad()
    canvas = (side * (angle.cos() + angle.sin().abs())).round()
    padded = canvas.clamp_min(int(side * pad))
    room = (padded - side)[:, None]
    corner = (uniform((count, 2), 0, 1, crops, generator) * (room + 1)).floor().minimum(room)
    before = ((padded - canvas) / 2).floor()
    return angle, corner - before[:, None] - (canvas[:, None] - side) / 2


def turn_and_shift(crops: Tensor, angle: Tensor, shift: Tensor) -> Tensor:
    """Crops [N, 1, S, S] turned about their centre and seen through a shifted window.

    Bilinear, zero outside. Positive angles turn counter-clockwise, as the picture is seen.
    """
    cos, sin = angle.cos(), angle.sin()
    inverse = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    moved = inverse @ (shift * 2 / crops.shape[-1]).unsqueeze(2)
    grid = affine_grid(torch.cat([inverse, moved], 2), list(crops.shape), align_corners=False)
    return grid_sample(crops, grid, padding_mode="zeros", align_corners=False)


def change_gamma(
    crops: Tensor, span: tuple[float, float], probability: float, generator: Generator
) -> Tensor:
    """crop^(1 / gamma), gamma uniform in `span`, of crops [N, 1, S, S] in [0, 1]."""
    gamma = uniform((len(crops), 1, 1, 1), *span, crops, generator)
    gamma = torch.where(chance(crops, probability, generator), gamma, torch.ones_like(gamma))
    return crops.clamp(0, 1) ** (1 / gamma)
