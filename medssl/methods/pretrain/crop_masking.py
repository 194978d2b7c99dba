"""What the student of Alice does not see of a crop, and how well it fills that in.

Source: sheet of Alice, section 3 step 5 and section 6.

Legend: R crops, X Y Z voxels.
"""

from torch import Generator, Tensor

from medssl.methods.pretrain.masking import enlarge, hide
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.alice import Masking


def draw_mask(image: Tensor, settings: Masking, generator: Generator) -> Tensor:
    """[R, 1, X, Y, Z] bool, true where masked: the same number of cells in every crop.

    Cells are cubes, or columns along the whole last axis; `settings.ratio` of them, rounded.
    """
    cell = settings.side_in(image.shape[2:])
    x, y, z = (side // cell for side in image.shape[2:])
    deep = 1 if settings.shape == "columns" else z
    share = image.new_full((len(image), 1), settings.ratio)
    masked = hide(share, x * y * deep, image, generator)
    return enlarge(masked.view(-1, 1, x, y, deep), image.shape[2:])


def reconstruction_loss(image: Tensor, prediction: Tensor, mask: Tensor, where: str) -> Tensor:
    """Mean squared error over the masked voxels, or over all."""
    error = (at_least_float32(prediction) - image) ** 2
    return (error * mask).sum() / mask.sum() if where == "masked" else error.mean()
