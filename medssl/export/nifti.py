"""Class indices to a mask on disk, in the values that the data spec declares."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask


def write_labels(
    labels: np.ndarray, label_values: Sequence[int], geometry: Geometry, path: Path
) -> None:
    """Write a mask that any viewer opens; it appears complete or not at all.

    Args:
        labels: [X, Y, Z] class indices, in the order of `label_values`.
        label_values: mask value of each class, 0 to 255; background first.
        geometry: grid of the mask.
        path: .nii.gz, .nii, .nrrd or .mha.

    Raises:
        ValueError: if an index has no value, or array and grid differ in shape.
        DataError: if the suffix is another.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < len(label_values):
        raise ValueError(f"classes {labels.min()} to {labels.max()} of {len(label_values)}")
    write_mask(np.array(label_values, np.uint8)[labels], geometry, path)
