"""Views of radiographs, as many as a method needs: random ones, and the one of evaluation.

Legend: B images, V crops of an image, N = B * V crops, S pixels of a side.
"""

import torch
from torch import Generator, Tensor

from medssl.transforms.radiograph_chain import RadiographAugment
from medssl.transforms.radiograph_views import changes_of


@torch.no_grad()
def random_view(image: Tensor, augment: RadiographAugment, generator: Generator) -> Tensor:
    """A view of every image: bytes [B, V, S, S] to float32 [B, V, S, S] in [-1, 1].

    Never in half precision.
    """
    with torch.autocast(image.device.type, enabled=False):
        changed = random_change(image, augment, generator)
        return changed.mul_(2).sub_(1).view(image.shape)


def evaluation_view(image: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1], nothing else changed."""
    return image.float() / 127.5 - 1


def released_second_view(view: Tensor, augment: RadiographAugment, generator: Generator) -> Tensor:
    """What the released code takes for a second view: T of a first view [B, V, S, S] cast to bytes.

    The cast destroys the image: every value between -1 and 1 becomes 0, and -1 becomes 255 (sheet,
    section 6). For comparison only.
    """
    return random_view(view.trunc().remainder(256).to(torch.uint8), augment, generator)


def random_change(image: Tensor, augment: RadiographAugment, generator: Generator) -> Tensor:
    """The chain alone: bytes [B, V, S, S] to float32 [N, 1, S, S], in [0, 1] before it."""
    return changes_of(augment)(image.flatten(0, 1).unsqueeze(1).float() / 255, generator)
