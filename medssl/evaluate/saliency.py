"""Where in a radiograph a grader found its grade.

Source: HiResCAM (Draelos & Carin 2020, arXiv 2011.08891): activation times gradient,
place by place. Grad-CAM averages the gradient over the map first and so lights up places that a
maximum pooling never read.

Legend: B images, V crops of an image, S pixels of a side, C channels of the last map h x w.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from medssl.evaluate.figure import png_of
from medssl.evaluate.overlay import COLOURS
from medssl.networks.grader import Grader


def saliency(network: Grader, image: Tensor, grade: Tensor | None = None) -> np.ndarray:
    """How much each pixel speaks for a grade, [B, V, S, S] in [0, 1]; 1 is an image's maximum.

    The network should be in evaluation mode. All 0 where nothing speaks for the grade.

    Args:
        image: [B, V, S, S] in [-1, 1].
        grade: [B] indices; None: the grade that the network gives.
    """
    with torch.enable_grad():
        maps = network.maps(image).detach().requires_grad_()
        logits = network.head(network.features_of(maps))
        chosen = logits.argmax(1) if grade is None else grade
        (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), maps)
    found = (maps.detach() * gradient).sum(1, keepdim=True).relu()
    found = interpolate(found, image.shape[-2:], mode="bilinear", align_corners=False)
    found = found.view(image.shape)
    most = found.amax((1, 2, 3), keepdim=True)
    return np.asarray((found / torch.where(most > 0, most, 1)).cpu().numpy())


def draw_saliency(
    image: np.ndarray, found: np.ndarray, title: str, views: tuple[str, ...]
) -> bytes:
    """A PNG of one radiograph: every crop, and beside it the same with its saliency over it.

    Args:
        image: [V, S, S] bytes.
        found: [V, S, S] in [0, 1].
        title: above the picture.
        views: V names.
    """
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * 2 * len(views), 2.1), dpi=130, layout="constrained")
    axes = figure.subplots(1, 2 * len(views), squeeze=False)[0]
    for index, name in enumerate(views):
        for ax in axes[2 * index :][:2]:
            ax.imshow(image[index], cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
        axes[2 * index].set_title(name, fontsize=8, loc="left")
        # Transparent where nothing speaks for the grade, so that the joint stays readable.
        fill = np.empty((*found[index].shape, 4))
        fill[...] = to_rgba(COLOURS[1])
        fill[..., 3] = 0.75 * found[index]
        axes[2 * index + 1].imshow(fill)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return png_of(figure)
