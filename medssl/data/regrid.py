"""An image on the grid of another, where both are asked to be channels of one case.

Places are those of the patient, so it is right only where both were taken in one frame of
reference, and the patient lay still.
"""

import numpy as np

from medssl.data.geometry import Geometry
from medssl.errors import DataError

LEAST = 0.5
"""Share of the wanted voxels that an image must reach; with less it shows another place."""


def regridded(
    array: np.ndarray, grid: Geometry, wanted: Geometry, source: str, onto: str
) -> tuple[np.ndarray, float]:
    """The image on the wanted grid, and the share of its voxels that the image reaches.

    Values are interpolated linearly. Along axes whose voxels become larger the image is smoothed
    first, with a Gaussian of half a voxel's standard deviation per voxel that is passed over, as
    scikit-image does it. Beyond the image, each channel has its least value.

    Args:
        array: [C, X, Y, Z] float32, on `grid`.
        source: what messages call the image.
        onto: what they call that which lies on the wanted grid.

    Returns:
        [C, X, Y, Z] float32 on the wanted grid, and a number from `LEAST` to 1.

    Raises:
        DataError: it reaches fewer voxels.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    matrix = np.linalg.inv(grid.affine) @ wanted.affine  # places in `grid` of the wanted voxels
    inside = np.pad(np.ones(grid.shape, np.uint8), 1)
    shifted = matrix.copy()
    shifted[:3, 3] += 1  # voxels end half a voxel beyond their centres
    reached = affine_transform(inside, shifted, output_shape=wanted.shape, order=0) > 0
    share = float(reached.mean())
    if share < LEAST:
        raise DataError(
            f"{source} does not show the place of {onto}",
            f"it reaches {share:.0%} of the voxels there",
            "register it, or choose another image",
        )
    passed = np.linalg.norm(matrix[:3, :3], axis=1)  # voxels of `grid` from one to the next
    sigma = np.maximum(0, (passed - 1) / 2)
    found = np.empty((len(array), *wanted.shape), np.float32)
    for channel, one in zip(found, array, strict=True):
        smooth = gaussian_filter(one, sigma, mode="nearest") if sigma.max() > 1e-3 else one
        affine_transform(
            smooth, matrix, output_shape=wanted.shape, output=channel, order=1, mode="nearest"
        )
        channel[~reached] = one.min()
    return found, share
