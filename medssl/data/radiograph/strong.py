"""Weak and strong views of radiographs, for methods that compare the two.

Source: MutexMatch (sheet, section 4): weak is T with half the ranges; strong is T with a wider
rotation, then contrast, sharpness and a grey square. No flips, as they would swap the sides of the
joint.

Legend: B images, V crops of an image, N = B * V crops, S pixels of a side.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, pad

from medssl.data.draws import uniform
from medssl.data.radiograph.augment import chance, random_change
from medssl.data.radiograph.settings import RadiographAugment, StrongAugment

GREY = 0.5
SMOOTHING = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))
"""Pillow's smoothing kernel, with which its sharpness blends; its entries sum to 13."""


def weaker(settings: RadiographAugment) -> RadiographAugment:
    """T with half of every range; chances stay."""
    low, high = settings.gamma
    return settings.model_copy(
        update={
            "noise": settings.noise / 2,
            "rotation": settings.rotation / 2,
            "pad": (1 + settings.pad) / 2,
            "gamma": ((1 + low) / 2, (1 + high) / 2),
        }
    )


@torch.no_grad()
def strong_view(
    image: Tensor, settings: RadiographAugment, strong: StrongAugment, generator: Generator
) -> Tensor:
    """Strong views of bytes [B, V, S, S]: float32 [B, V, S, S] in [-1, 1]."""
    with torch.autocast(image.device.type, enabled=False):
        wider = settings.model_copy(update={"rotation": strong.rotation})
        crops = random_change(image, wider, generator)
        crops = _blend(
            crops, crops.mean((1, 2, 3), keepdim=True), strong.contrast, strong.chance, generator
        )
        crops = _blend(crops, smoothed(crops), strong.sharpness, strong.chance, generator)
        return cut_out(crops, strong.cutout, generator).mul(2).sub(1).view(image.shape)


def smoothed(crops: Tensor) -> Tensor:
    """Crops [N, 1, S, S] after a small blur; the border is repeated."""
    kernel = torch.tensor(SMOOTHING, device=crops.device, dtype=crops.dtype)
    return conv2d(pad(crops, (1,) * 4, mode="replicate"), (kernel / kernel.sum())[None, None])


def cut_out(crops: Tensor, most: float, generator: Generator) -> Tensor:
    """Crops [N, 1, S, S] with a grey square, centred anywhere, of a side up to `most` S."""
    count, side = len(crops), crops.shape[-1]
    half = uniform((count, 1, 1), 0, most * side / 2, crops, generator)
    centre = uniform((count, 2, 1), 0, side, crops, generator)
    pixel = torch.arange(side, device=crops.device) + 0.5
    inside = (pixel - centre).abs() < half
    square = inside[:, None, 0, :, None] & inside[:, None, 1, None, :]
    return torch.where(square, GREY, crops)


def _blend(
    crops: Tensor,
    towards: Tensor,
    amount: tuple[float, float],
    probability: float,
    generator: Generator,
) -> Tensor:
    """Crops [N, 1, S, S] mixed with `towards`, each with `probability`.

    The crop's weight w is uniform in `amount`, that of `towards` is 1 - w.
    """
    drawn = uniform((len(crops), 1, 1, 1), *amount, crops, generator)
    blended = torch.lerp(towards.expand_as(crops), crops, drawn)
    return torch.where(chance(crops, probability, generator), blended, crops)
