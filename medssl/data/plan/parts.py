"""How small the structures of a mask are: the parts that a network must not lose."""

from collections.abc import Sequence
from math import pi

import numpy as np

SMALL = 0.1
"""Share of a structure's volume in its smallest parts that is let go as specks."""


def small_parts(mask: np.ndarray, values: Sequence[int], voxel: float) -> dict[int, float]:
    """Mm across the small parts of each label, as the diameter of a ball of a part's volume.

    A part is what hangs together, corners included. Of a label it is the smallest part that counts:
    all that are smaller hold at most `SMALL` of the label's volume in this case.

    Args:
        mask: [X, Y, Z] of whole numbers.
        values: of the labels in it.
        voxel: volume in cubic millimetres.
    """
    from scipy import ndimage

    ordered = np.sort(values)
    places = np.searchsorted(ordered, mask).clip(max=len(ordered) - 1)
    numbered = np.where(ordered[places] == mask, places + 1, 0)
    found = {}
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is None:
            continue
        parts, _ = ndimage.label(numbered[box] == number, np.ones((3, 3, 3)))
        sizes = np.sort(np.bincount(parts.ravel())[1:])
        counts = np.cumsum(sizes) > SMALL * sizes.sum()
        found[int(ordered[number - 1])] = float(
            (6 * sizes[np.argmax(counts)] * voxel / pi) ** (1 / 3)
        )
    return found
