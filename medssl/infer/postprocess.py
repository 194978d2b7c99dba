"""Corrections of label maps by what anatomy allows.

Components are connected over faces, edges and corners (26 neighbours); a hole is closed if no path
over faces (6 neighbours) leads out of it. In an image one voxel thick, none leads across it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), bool)


def largest_component(
    labels: np.ndarray, classes: Iterable[int], neighbours: Literal[6, 18, 26] = 26
) -> np.ndarray:
    """Keep the largest connected component of each class; the rest becomes background (0).

    Args:
        labels: [X, Y, Z] uint8 class indices; not changed.
        classes: those that form one piece in a body; others stay as they are.
        neighbours: of a voxel that count as connected with it.

    Returns:
        [X, Y, Z] uint8. Of components equally large, the first in array order stays.
    """
    kept = labels.copy()
    touching = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[neighbours])
    boxes = ndimage.find_objects(labels)
    for value in classes:
        box = boxes[value - 1] if 0 < value <= len(boxes) else None
        if box is None:
            continue
        pieces, count = ndimage.label(labels[box] == value, touching)
        if count > 1:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            kept[box][(pieces > 0) & (pieces != largest)] = 0
    return kept


def drop_small(labels: np.ndarray, limits: Mapping[int, float]) -> np.ndarray:
    """Make connected components with fewer voxels than the limit of their class background (0).

    Args:
        labels: [X, Y, Z] uint8 class indices; not changed.
        limits: voxels by class; other classes stay as they are.

    Returns:
        [X, Y, Z] uint8.
    """
    kept = labels.copy()
    boxes = ndimage.find_objects(labels)
    for value, least in limits.items():
        box = boxes[value - 1] if 0 < value <= len(boxes) else None
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == value, TOUCHING)
        small = np.bincount(pieces.ravel()) < least
        small[0] = False
        kept[box][small[pieces]] = 0
    return kept


def fill_holes(labels: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """Give background that one class closes off on all sides to that class.

    Other classes within the hole stay. A cavity open to the edge of the volume is no hole.

    Args:
        labels: [X, Y, Z] uint8 class indices; not changed.
        classes: those whose holes are filled.

    Returns:
        [X, Y, Z] uint8. Where one class's hole lies in another's, the lower class takes it.
    """
    filled = labels.copy()
    chosen = set(classes)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or value not in chosen:
            continue
        # A margin joins everything outside the class into the first component.
        margin = [(1, 1) if side > 1 else (0, 0) for side in labels.shape]
        around, _ = ndimage.label(np.pad(labels[box] != value, margin, constant_values=True))
        inside = around[tuple(slice(low, -low or None) for low, _ in margin)]
        region = filled[box]
        region[(inside > 1) & (region == 0)] = value
    return filled
