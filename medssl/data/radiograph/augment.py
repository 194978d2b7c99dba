"""The random transform T of radiographs: batched, on the device, by a generator handed in.

Source: Semixup (sheet, section 5): noise, rotation on a growing canvas, padding, random crop,
gamma. Every crop of every image draws its own amounts. Rotation, padding and crop are one affine
sampling, so pixels are interpolated once; the release works on bytes and rounds after every step.

Legend: B images, V crops of an image, N = B * V crops, S pixels of a side.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

from medssl.data.draws import uniform
from medssl.data.radiograph.settings import RadiographAugment


@torch.no_grad()
def random_view(image: Tensor, settings: RadiographAugment, generator: Generator) -> Tensor:
    """A view of every image: bytes [B, V, S, S] to float32 [B, V, S, S] in [-1, 1].

    Never in half precision.
    """
    with torch.autocast(image.device.type, enabled=False):
        changed = random_change(image, settings, generator)
        return changed.mul_(2).sub_(1).view(image.shape)


def evaluation_view(image: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1], nothing else changed."""
    return image.float() / 127.5 - 1


def released_second_view(view: Tensor, settings: RadiographAugment, generator: Generator) -> Tensor:
    """What the released code takes for a second view: T of a first view [B, V, S, S] cast to bytes.

    The cast destroys the image: every value between -1 and 1 becomes 0, and -1 becomes 255 (sheet,
    section 6). For comparison only.
    """
    return random_view(view.trunc().remainder(256).to(torch.uint8), settings, generator)


def random_change(image: Tensor, settings: RadiographAugment, generator: Generator) -> Tensor:
    """T without the last scaling: bytes [B, V, S, S] to float32 [N, 1, S, S] in [0, 1]."""
    crops = image.flatten(0, 1).unsqueeze(1).float() / 255
    crops = add_noise(crops, settings.noise, settings.noise_chance, generator)
    crops = turn_and_shift(crops, *draw_pose(crops, settings, generator))
    return change_gamma(crops, settings.gamma, settings.gamma_chance, generator)


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
    crops: Tensor, settings: RadiographAugment, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Angles [N] in radians and shifts [N, 2] in pixels, across and down, of crops [N, 1, S, S].

    The canvas that holds the turned crop has round(S (cos + |sin|)) pixels, or int(S * pad) if that
    is more; the shift is where a random crop of S pixels lies in it, in whole pixels of the canvas.
    """
    count, side = len(crops), crops.shape[-1]
    angle = uniform((count,), -settings.rotation, settings.rotation, crops, generator).deg2rad()
    canvas = (side * (angle.cos() + angle.sin().abs())).round()
    padded = canvas.clamp_min(int(side * settings.pad))
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
