"""Places that matter in a patch: the middles of its structures, and points on their boundaries.

Source: sheet of MultiAugs, section 5: what joints are to a pose, anchors are to a segmentation.

Legend: X Y Z voxels, N anchors.
"""

import numpy as np
from scipy import ndimage


def anchors(label: np.ndarray, classes: int, points: int, rng: np.random.Generator) -> np.ndarray:
    """Middles of connected parts, and some boundary voxels of every class but the background.

    Args:
        label: [X, Y, Z] class indices.
        classes: how many, with the background.
        points: on the boundary of each class, drawn with replacement.

    Returns:
        [N, 3] float voxels; none where there is background alone.
    """
    found = [np.empty((0, 3))]
    for index in range(1, classes):
        inside = label == index
        parts, count = ndimage.label(inside)
        if not count:
            continue
        found.append(np.array(ndimage.center_of_mass(inside, parts, range(1, count + 1))))
        padded = np.pad(inside, [(1, 1) if side > 1 else (0, 0) for side in inside.shape])
        shape = [3 if side > 1 else 1 for side in inside.shape]
        cross = ndimage.generate_binary_structure(3, 1)
        cross = cross[tuple(slice(None) if side == 3 else slice(1, 2) for side in shape)]
        inner = ndimage.binary_erosion(padded, cross)
        trimmed = tuple(slice(1, -1) if side > 1 else slice(None) for side in inside.shape)
        edge = np.argwhere(inside & ~inner[trimmed])
        found.append(edge[rng.integers(len(edge), size=points)].astype(float))
    return np.concatenate(found)
