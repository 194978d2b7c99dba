"""Random views of images and of volumes, batched, on the device, by a generator handed in.

Source: joint 2D-3D pre-training (sheet, sections 4 and 12): all slices of a volume are moved and
changed alike. The release gives each view exactly one of seven changes.

Legend: B items, N slices of an item (1 of an image), H W pixels, s pixels of a view's side.
"""

from math import ceil, log

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from medssl.data.draws import uniform
from medssl.data.mixed.settings import SliceAugment
from medssl.data.slide.tile_augment import ASPECT, blur, chance

WHOLE = (1.0, 1.0)


@torch.no_grad()
def random_view(
    stack: Tensor,
    settings: SliceAugment,
    side: int,
    generator: Generator,
    area: tuple[float, float] = WHOLE,
) -> Tensor:
    """Stacks [B, N, H, W] float32 to views [B, N, s, s]; never in half precision.

    Args:
        area: share of the field of view that is shown, from and to. A view of all of it moves by
            `settings.shift`, others anywhere within.
    """
    if stack.numel() == 0:
        return stack.new_zeros(*stack.shape[:2], side, side)
    with torch.autocast(stack.device.type, enabled=False):
        theta = draw_affine(stack, settings, area, generator)
        grid = affine_grid(theta, [len(stack), 1, side, side], align_corners=False)
        found = grid_sample(stack, grid, padding_mode="border", align_corners=False)
        return _intensities(found, settings, generator)


def draw_affine(
    like: Tensor, settings: SliceAugment, area: tuple[float, float], generator: Generator
) -> Tensor:
    """[B, 2, 3]: where the view's corners lie in the stack, in half sides (x, then y)."""
    count = len(like)
    share = uniform((count, 1), *area, like, generator)
    aspect = uniform((count, 1), log(ASPECT[0]), log(ASPECT[1]), like, generator).exp()
    if area == WHOLE:
        aspect = torch.ones_like(aspect)
    reach = torch.cat([(share * aspect).sqrt(), (share / aspect).sqrt()], dim=1).clamp_max(1)
    place = uniform((count, 2), -1, 1, like, generator)
    shift = place * (settings.shift if area == WHOLE else 1 - reach)
    zoom = reach * uniform((count, 2), 1 - settings.scale, 1 + settings.scale, like, generator)
    angle = uniform((count,), -settings.rotation, settings.rotation, like, generator).deg2rad()
    mirror = 1 - 2 * (uniform((count,), 0, 1, like, generator) < settings.flip).to(like.dtype)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(count, 2, 2)
    size = zoom.clone()
    size[:, 0] *= mirror
    return torch.cat([turn * size.unsqueeze(1), shift.unsqueeze(2)], dim=2)


def _intensities(stack: Tensor, settings: SliceAugment, generator: Generator) -> Tensor:
    items = (len(stack), 1, 1, 1)
    gain = uniform(items, 1 - settings.gain, 1 + settings.gain, stack, generator)
    stack = stack * gain + uniform(items, -settings.offset, settings.offset, stack, generator)
    if settings.blur:
        sigma = uniform((len(stack),), *settings.sigma, stack, generator)
        blurred = blur(stack, sigma, ceil(3 * settings.sigma[1]))
        stack = torch.where(chance(stack, settings.blur, generator), blurred, stack)
    if settings.noise:
        drawn = torch.randn(stack.shape, generator=generator, device=stack.device)
        stack = stack + settings.noise * drawn
    return stack


def reverse_some(stack: Tensor, valid: Tensor, probability: float, generator: Generator) -> Tensor:
    """Volumes [B, N, ...] with their valid slices in reverse, each with `probability`.

    `valid` [B, N] is true for the first slices of each volume; the rest stays where it is.
    """
    place = torch.arange(stack.shape[1], device=stack.device)
    mirrored = valid.sum(1, keepdim=True) - 1 - place
    reverses = chance(stack, probability, generator).view(-1, 1)
    order = torch.where(reverses & valid, mirrored, place)
    return stack.gather(1, order.view(*order.shape, *[1] * (stack.ndim - 2)).expand(stack.shape))
