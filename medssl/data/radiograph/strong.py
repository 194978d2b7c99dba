"""Weak and strong views of radiographs, for methods that compare the two.

Source: MutexMatch (sheet, section 4): weak is T with half the ranges; strong is T with a wider
rotation, then contrast, sharpness and a grey square. No flips, as they would swap the sides of the
joint.

Legend: B images, V crops of an image, N = B * V crops, S pixels of a side.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, pad

from medssl.data.draws import placed, uniform
from medssl.data.radiograph.augment import random_change
from medssl.data.radiograph.settings import StrongAugment
from medssl.transforms.radiograph_chain import GAMMA, MIX, TURN, RadiographAugment, SemixupWord
from medssl.transforms.random_radiograph import chance
from medssl.transforms.step import Step

GREY = 0.5
SMOOTHING = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))
"""Pillow's smoothing kernel, with which its sharpness blends; its entries sum to 13."""


def weaker(chain: RadiographAugment) -> RadiographAugment:
    """T with half of every range; chances, and steps that are not of T, stay."""
    return RadiographAugment(tuple(_halved(step) for step in chain.steps))


def _halved(step: Step) -> Step:
    usual = dict(SemixupWord().steps()).get(step.name, {})
    args = {**usual, **step.args}
    if step.name == MIX:
        args["most"] /= 2
    elif step.name == TURN:
        args |= {"rotation": args["rotation"] / 2, "pad": (1 + args["pad"]) / 2}
    elif step.name == GAMMA:
        args["gamma"] = [(1 + end) / 2 for end in args["gamma"]]
    return Step(step.name, args)


@torch.no_grad()
def strong_view(
    image: Tensor, augment: RadiographAugment, strong: StrongAugment, generator: Generator
) -> Tensor:
    """Strong views of bytes [B, V, S, S]: float32 [B, V, S, S] in [-1, 1]."""
    with torch.autocast(image.device.type, enabled=False):
        wider = augment.with_arguments(TURN, rotation=strong.rotation)
        crops = random_change(image, wider, generator)
        crops = _blend(
            crops, crops.mean((1, 2, 3), keepdim=True), strong.contrast, strong.chance, generator
        )
        crops = _blend(crops, smoothed(crops), strong.sharpness, strong.chance, generator)
        return cut_out(crops, strong.cutout, generator).mul(2).sub(1).view(image.shape)


def smoothed(crops: Tensor) -> Tensor:
    """Crops [N, 1, S, S] after a small blur; the border is repeated."""
    kernel = placed(SMOOTHING, crops, crops.dtype)
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
