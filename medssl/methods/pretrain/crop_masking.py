"""What the student of Alice does not see of a crop, and how well it fills that in.

Source: sheet of Alice, section 3 step 5 and section 6.

Legend: R crops, X Y Z voxels.
"""

from collections.abc import Sequence
from math import gcd, prod

from torch import Generator, Tensor

from medssl.errors import UsageError
from medssl.methods.pretrain.masking import enlarge, hide
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.alice import Masking


def cell_side(settings: Masking, window: Sequence[int]) -> int:
    """Side of a masked cell in voxels: `settings.side`, else the largest that suits the window.

    Such a side divides all sides of the window and is at most a quarter of the longest.
    """
    most = max(1, max(window) // 4)
    common = gcd(*window)
    return settings.side or max(side for side in range(1, most + 1) if common % side == 0)


def draw_mask(image: Tensor, settings: Masking, generator: Generator) -> Tensor:
    """[R, 1, X, Y, Z] bool, true where masked: the same number of cells in every crop.

    Cells are cubes, or columns along the whole last axis; `settings.ratio` of them, rounded.
    """
    cell = cell_side(settings, image.shape[2:])
    x, y, z = (side // cell for side in image.shape[2:])
    deep = 1 if settings.shape == "columns" else z
    share = image.new_full((len(image), 1), settings.ratio)
    masked = hide(share, x * y * deep, image, generator)
    return enlarge(masked.view(-1, 1, x, y, deep), image.shape[2:])


def reconstruction_loss(image: Tensor, prediction: Tensor, mask: Tensor, where: str) -> Tensor:
    """Mean squared error over the masked voxels, or over all."""
    error = (at_least_float32(prediction) - image) ** 2
    return error[mask].mean() if where == "masked" else error.mean()


def refuse_masks(settings: Masking, window: tuple[int, int, int]) -> None:
    """Refuse masks that do not suit the window.

    Raises:
        UsageError: the window's sides are no multiples of a cell's, or the ratio hides all cells of
            a window or none.
    """
    side = cell_side(settings, window)
    if any(length % side for length in window):
        raise UsageError(
            f"windows of {window} voxels cannot be divided into masked cells of {side}",
            do="change train.patch or method.masking.side",
        )
    flat = settings.shape == "columns"
    cells = prod(length // side for length in (window[:2] if flat else window))
    if not 0 < round(settings.ratio * cells) < cells:
        raise UsageError(
            f"of the {cells} cells of a window a share of {settings.ratio} hides none or all",
            do="lower method.masking.side, or enlarge train.patch",
        )
