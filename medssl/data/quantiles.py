"""Where the intensities of an image lie, in a few numbers.

Legend: C channels, X Y Z voxels, Q quantiles.
"""

import numpy as np

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

MOST = 30_000
"""Voxels of a channel that are looked at; of a larger one every second, third ... voxel."""


def quantiles_of(image: np.ndarray) -> np.ndarray:
    """Quantiles `SHARES` of each channel of an image [C, X, Y, Z], [C, Q] float64."""
    step = max(1, image[0].size // MOST)
    seen = [np.asarray(channel).reshape(-1)[::step].astype(np.float64) for channel in image]
    return np.stack([np.quantile(channel, SHARES) for channel in seen])
