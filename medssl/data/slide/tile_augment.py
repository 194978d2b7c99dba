"""Random views of tiles, as DINO draws them; batched, on the device, by a generator handed in.

Source: Caron et al., DINO, ICCV 2021, with its released code for probabilities and strengths (sheet
of Snuffy, section 7). Each image draws its own amounts. The four colour changes come in an order
that a batch shares; the release, image by image, draws one for each.

Legend: B images, S pixels of a tile's side, s pixels of a crop's side.
"""

from dataclasses import dataclass
from math import ceil, log

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, pad

from medssl.data.draws import host, placed, uniform

ASPECT = (3 / 4, 4 / 3)
TRIES = 10
LUMA = (0.2989, 0.587, 0.114)
SOLARISE_FROM = 0.5


@dataclass(frozen=True)
class View:
    """How a crop is drawn.

    Attributes:
        side: pixels of the crop, s.
        scale: share of the tile's area that it shows, from and to.
        flip, jitter, grey, blur, solarise: probabilities.
        strengths: of brightness, contrast, saturation (factor in 1 +/- this) and hue (shift in
            +/- this, of a full turn).
        sigma: of the blur, pixels of the crop, from and to.
    """

    side: int
    scale: tuple[float, float]
    flip: float = 0.5
    jitter: float = 0.8
    strengths: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    grey: float = 0.2
    blur: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0


def draw_view(image: Tensor, view: View, generator: Generator) -> Tensor:
    """Tiles [B, 3, S, S], float in [0, 1], to crops [B, 3, s, s] in [0, 1]."""
    boxes = draw_boxes(len(image), image.shape[-1], view.scale, image, generator)
    found = crop(image, boxes, view.side)
    found = torch.where(chance(found, view.flip, generator), found.flip(-1), found)
    jittered = jitter(found, view.strengths, generator)
    found = torch.where(chance(found, view.jitter, generator), jittered, found)
    found = torch.where(chance(found, view.grey, generator), luma(found), found)
    if view.blur:
        sigma = uniform((len(found),), *view.sigma, found, generator)
        blurred = blur(found, sigma, ceil(3 * view.sigma[1]))
        found = torch.where(chance(found, view.blur, generator), blurred, found)
    if view.solarise:
        solarised = torch.where(found >= SOLARISE_FROM, 1 - found, found)
        found = torch.where(chance(found, view.solarise, generator), solarised, found)
    return found


def chance(image: Tensor, probability: float, generator: Generator) -> Tensor:
    """[B, 1, 1, 1] bool, each true with `probability`."""
    return uniform((len(image), 1, 1, 1), 0, 1, image, generator) < probability


def draw_boxes(
    count: int, side: int, scale: tuple[float, float], like: Tensor, generator: Generator
) -> Tensor:
    """Boxes [count, 4] in whole pixels: top, left, height, width.

    The area's share is uniform in `scale`, the aspect log-uniform from 3/4 to 4/3. The first of ten
    boxes that lies in the tile is taken; where none does, the whole tile.
    """
    shape = (count, TRIES)
    area = uniform(shape, *scale, like, generator) * side**2
    aspect = uniform(shape, log(ASPECT[0]), log(ASPECT[1]), like, generator).exp()
    width, height = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (width >= 1) & (height >= 1) & (width <= side) & (height <= side)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    any_fits = fits.any(1)
    size = torch.stack([height.gather(1, first), width.gather(1, first)], 1).squeeze(2)
    size = torch.where(any_fits[:, None], size, torch.full_like(size, side))
    room = side - size
    corner = (uniform((count, 2), 0, 1, like, generator) * (room + 1)).floor().minimum(room)
    return torch.cat([corner, size], dim=1)


def crop(image: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Boxes [B, 4] of images [B, 3, S, S], each resized to [3, side, side].

    Bicubic with antialiasing, as Pillow resizes: pixels outside of the box have no part. Both axes
    are products with a matrix per image, so that boxes of all sizes go in one batch.
    """
    rows = resampling(boxes[:, 0], boxes[:, 2], image.shape[-2], side).unsqueeze(1)
    columns = resampling(boxes[:, 1], boxes[:, 3], image.shape[-1], side).unsqueeze(1)
    return (rows @ image @ columns.mT).clamp(0, 1)


def resampling(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """Weights [B, target, source] that resize `length` pixels from `start` to `target` pixels."""
    start, length = start[:, None, None], length[:, None, None]
    step = length / target
    pixel = torch.arange(source, device=start.device, dtype=start.dtype) + 0.5
    wanted = torch.arange(target, device=start.device, dtype=start.dtype)[:, None] + 0.5
    weight = _cubic((pixel - start - wanted * step) / step.clamp_min(1))
    weight = weight * ((pixel > start) & (pixel < start + length))
    return weight / weight.sum(2, keepdim=True)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2."""
    x = distance.abs()
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))


def jitter(
    image: Tensor, strengths: tuple[float, float, float, float], generator: Generator
) -> Tensor:
    """Images [B, 3, s, s] with random brightness, contrast, saturation and hue, in random order."""
    items = (len(image), 1, 1, 1)
    *factors, hue = strengths
    amounts = [uniform(items, 1 - most, 1 + most, image, generator) for most in factors]
    turn = uniform(items, -hue, hue, image, generator)
    order = torch.rand(4, generator=host(generator)).argsort().tolist()
    for change in order:
        if change == 0:
            image = (image * amounts[0]).clamp(0, 1)
        elif change == 1:
            image = _blend(image, luma(image).mean((1, 2, 3), keepdim=True), amounts[1])
        elif change == 2:
            image = _blend(image, luma(image), amounts[2])
        else:
            image = turn_hue(image, turn)
    return image


def _blend(image: Tensor, towards: Tensor, amount: Tensor) -> Tensor:
    return (amount * image + (1 - amount) * towards).clamp(0, 1)


def luma(image: Tensor) -> Tensor:
    """Brightness [B, 1, s, s] of RGB images [B, 3, s, s]."""
    weights = placed(LUMA, image, image.dtype).view(3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def turn_hue(image: Tensor, turn: Tensor) -> Tensor:
    """RGB images [B, 3, s, s] with hues moved by `turn` [B, 1, 1, 1] of a full turn, as in HSV.

    Value and chroma stay. Channel c of a colour with hue h (in sixths of a turn) is
    value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n_c + h) mod 6, n = 5, 3, 1.
    """
    value, chroma, hue = _value_chroma_hue(image)
    offset = placed((5.0, 3.0, 1.0), image, image.dtype).view(3, 1, 1)
    k = (offset + hue + 6 * turn) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def _value_chroma_hue(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each [B, 1, s, s]; hue in sixths of a turn, 0 for greys."""
    value = image.amax(1, keepdim=True)
    chroma = value - image.amin(1, keepdim=True)
    red, green, blue = image.chunk(3, dim=1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    return value, chroma, hue


def blur(image: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Gaussian blur of images [B, 3, s, s], each with its own sigma [B] in pixels.

    The kernel ends after `reach` pixels to each side; the border's pixels go on beyond it.
    """
    items, channels, height, width = image.shape
    taps = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = (-0.5 * (taps / sigma[:, None]) ** 2).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = image.reshape(1, items * channels, height, width)
    flat = pad(flat, (reach,) * 4, mode="replicate")
    flat = conv2d(flat, kernel[:, None, None, :], groups=items * channels)
    flat = conv2d(flat, kernel[:, None, :, None], groups=items * channels)
    return flat.view(image.shape)
