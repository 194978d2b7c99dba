"""Lesions as CAMELYON16 counts them: what is near is one, what is small is not counted.

The challenge's own procedure (Ehteshami Bejnordi et al. 2017, JAMA 318(22); its published
evaluation script). On a mask of the tumour: grow by 37.5 µm, fill holes, number the 8-connected
regions. Regions whose longest diameter is below 275 µm (200 µm before the growth) are isolated
tumour cells: they are no targets, and detections in them are ignored.

Legend: h w rows and columns of the mask, R regions.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from medssl.data.slide.annotation import Annotation, lesion_mask

GROWTH = 75.0
"""µm; about five tumour cells. Regions closer than this are one."""

ISOLATED = 200.0 + GROWTH
"""µm; a grown region shorter than this is isolated tumour cells."""

DOWNSAMPLE = 32.0
"""Level 5 of the masks, where the challenge evaluates: 7.8 µm per mask pixel."""


@dataclass(frozen=True)
class Lesions:
    """The targets of one slide with tumour.

    Attributes:
        mask: [h, w] integers, 0 outside, region numbers inside.
        downsample: level-0 pixels per mask pixel.
        ignored: numbers of regions that are no targets.
    """

    mask: np.ndarray
    downsample: float
    ignored: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        """How many regions are targets, that is the largest number less those ignored."""
        return int(self.mask.max(initial=0)) - len(self.ignored)

    @classmethod
    def from_mask(
        cls, tumour: np.ndarray, spacing: float, downsample: float, isolated: float = ISOLATED
    ) -> Self:
        """The targets in a mask of the tumour, by the challenge's procedure.

        Args:
            tumour: [h, w] bool.
            spacing: of a level-0 pixel, µm.
            downsample: level-0 pixels per mask pixel.
            isolated: longest diameter below which a region is no target, µm; 0 counts all.
        """
        mask = evaluation_mask(tumour, spacing * downsample)
        diameters = longest_diameters(mask) * spacing * downsample
        small = np.flatnonzero(diameters < isolated) + 1
        return cls(mask, downsample, frozenset(small.tolist()))

    @classmethod
    def from_annotation(
        cls,
        annotation: Annotation,
        size: tuple[int, int],
        spacing: float,
        downsample: float = DOWNSAMPLE,
        isolated: float = ISOLATED,
    ) -> Self:
        """The targets in outlines on a slide of `size` (width, height), level-0 px."""
        mask = lesion_mask(annotation, size, downsample)
        return cls.from_mask(mask > 0, spacing, downsample, isolated)


def evaluation_mask(tumour: np.ndarray, spacing: float) -> np.ndarray:
    """Number the tumour's regions after growth and filling.

    Args:
        tumour: [h, w] bool.
        spacing: of a mask pixel, µm.

    Returns:
        [h, w] int32: 0 outside, then 1 ... R.
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, label

    mask = np.zeros(tumour.shape, dtype=np.int32)
    if not tumour.any():
        return mask
    reach = GROWTH / (2 * spacing)
    margin = int(np.ceil(reach)) + 1  # nothing grows further, so the rest of the slide is skipped
    box = tuple(
        slice(max(0, int(line.min()) - margin), int(line.max()) + margin + 1)
        for line in np.nonzero(tumour)
    )
    near = distance_transform_edt(~tumour[box]) < reach
    mask[box], _ = label(binary_fill_holes(near), structure=np.ones((3, 3)))
    return mask


def longest_diameters(mask: np.ndarray) -> np.ndarray:
    """Major axis of the ellipse with each region's second moments.

    This is what the challenge measures (scikit-image's `axis_major_length`): 4 times the root of
    the larger eigenvalue of the covariance of the region's pixel places.

    Args:
        mask: [h, w] region numbers, 0 outside.

    Returns:
        [R] mask pixels, in the order of the numbers.
    """
    row, column = np.nonzero(mask)
    number = mask[row, column] - 1
    count = np.bincount(number)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, weights=values) / np.maximum(count, 1)

    y, x = row - mean(row)[number], column - mean(column)[number]
    yy, xx, xy = mean(y * y), mean(x * x), mean(x * y)
    largest = (yy + xx) / 2 + np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    return np.asarray(4 * np.sqrt(largest))
