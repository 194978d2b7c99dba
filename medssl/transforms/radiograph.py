"""Radiographs to the square crops that a network sees.

Source of normalisation and crops: Semixup (sheet, section 8). Pixels are averaged over areas once,
from the file to the crop, and rounded to bytes at the end; the release rounds after every step.

Legend: H W pixels of the image, V crops of an image, S pixels of a side.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medssl.errors import DataError
from medssl.transforms.intensity import like
from medssl.transforms.radiograph_reader import has_scale, pixel_of, side_stated, source_of

Share = tuple[float, float]
"""A part of the square's side, as shares of it."""


class StretchPercentilesd(MapTransform):
    """Clips an image to percentiles of its own and stretches it to 0 ... 255.

    As `monai.transforms.ScaleIntensityRangePercentilesd` does, but an image that shows nothing is
    refused.

    Args:
        keys: images [C, H, W]; float32 comes out.
        percentiles: two, between 0 and 100.
    """

    def __init__(
        self,
        keys: KeysCollection,
        percentiles: tuple[float, float] = (5.0, 99.0),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        low, high = percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles={list(percentiles)} do not rise between 0 and 100")
        self.percentiles = (float(low), float(high))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with stretched images.

        Raises:
            DataError: the percentiles are equal, so an image shows nothing.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            pixels = image.detach().cpu().numpy()
            low, high = percentiles(pixels, self.percentiles)
            if low == high:
                first, second = self.percentiles
                raise DataError(
                    f"{source_of(image)} shows nothing",
                    f"its percentiles {first:g} and {second:g} are both {low:g}",
                    "export the image again or remove it",
                )
            stretched = (pixels.clip(low, high) - low) * (255 / (high - low))
            changed[key] = like(image, torch.from_numpy(np.asarray(stretched, np.float32)))
        return changed


FEW = 100_000
"""Pixels that are sorted as they are."""


def percentiles(pixels: np.ndarray, wanted: tuple[float, float]) -> np.ndarray:
    """Float64 [2], as `numpy.percentile`, in half its time: of a large image the ends are sorted.

    Every so many pixels tell about where the ends begin.
    """
    flat = pixels.reshape(-1)
    if flat.size <= FEW:
        return np.asarray(np.percentile(flat, wanted), np.float64)
    some = flat[:: flat.size // FEW * 2 + 1]
    found = np.empty(2)
    for number, share in enumerate(wanted):
        place = (flat.size - 1) * (share / 100)
        begin = np.percentile(some, min(max(share + (-1 if number else 1), 0), 100))
        end = flat[flat >= begin] if number else flat[flat <= begin]
        first = int(place) - (flat.size - end.size if number else 0)
        if first < 0 or first + 1 >= end.size:  # the sample misled, or the last pixel is meant
            found[number] = np.percentile(flat, share)
            continue
        end.partition([first, first + 1])
        below, above = float(end[first]), float(end[first + 1])
        found[number] = below + (above - below) * (place - int(place))
    return found


class MirrorSided(MapTransform):
    """Mirrors the images of one side of the body, so that lateral lies on the same side in all.

    Args:
        keys: images [C, H, W], MetaTensors whose meta says `side`, "L" or "R".
        side: which are mirrored.
    """

    def __init__(
        self,
        keys: KeysCollection,
        side: Literal["left", "right"] = "left",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if side not in ("left", "right"):
            raise ValueError(f"side={side!r} is neither left nor right")
        self.side = side

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with images of which those of the side are mirrored.

        Raises:
            DataError: an image does not say its side.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            stated = side_stated(image)
            if stated is None:
                raise DataError(
                    f"{source_of(image)} does not say whether it is of the left or the right side",
                    f"{self.side} images are to be mirrored",
                    "name its column in the data spec (layout.columns.side), give --set side=L or "
                    "R when predicting, or set mirror to none under preprocess",
                )
            if stated == self.side[0].upper():
                changed[key] = like(image, image.as_subclass(torch.Tensor).flip(-1))
        return changed


class _Part(NamedTuple):
    """One crop: where it lies on the square, and whether it is mirrored."""

    rows: Share
    columns: Share
    mirrored: bool = False


class SquareCropd(MapTransform):
    """A square in the middle of an image as one crop; what lies beyond the image is black.

    Every pixel of the crop is the mean over its area, so that an image keeps its aspect.

    Args:
        keys: images [1, H, W] with values from 0 to 255; uint8 [V, S, S] comes out, here V = 1.
        field: mm, side of the square; None: the least square that holds the image.
        side: S.
    """

    def __init__(
        self,
        keys: KeysCollection,
        field: float | None = 110.0,
        side: int = 128,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if side < 1 or (field is not None and field <= 0):
            raise ValueError(f"field={field} and side={side} are no sizes of a square")
        self.field, self.side = field, side

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The dictionary with crops.

        Raises:
            DataError: mm are asked for, and an image does not say the size of its pixels.
        """
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self._cut(changed[key])
        return changed

    def _parts(self) -> Sequence[_Part]:
        return [_Part((0.0, 1.0), (0.0, 1.0))]

    def _cut(self, image: torch.Tensor) -> torch.Tensor:
        if image.ndim != 3 or len(image) != 1:
            raise ValueError(f"one channel [1, H, W] is cut into crops, not {tuple(image.shape)}")
        pixels = image.detach().cpu().numpy()[0].astype(np.float32, copy=False)
        high, wide = self._square(image)
        top, left = (pixels.shape[0] - high) / 2, (pixels.shape[1] - wide) / 2
        found = []
        for part in self._parts():
            down = averaging(pixels.shape[0], top, high, part.rows, self.side)
            across = averaging(pixels.shape[1], left, wide, part.columns, self.side)
            crop = down @ pixels @ across.T
            found.append(crop[:, ::-1] if part.mirrored else crop)
        crops = np.rint(np.stack(found)).clip(0, 255).astype(np.uint8)
        cut = like(image, torch.from_numpy(crops))
        if isinstance(cut, MetaTensor):
            part, pixel = self._parts()[0], pixel_of(image)
            ends = part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]
            down_mm = pixel[0] * high * ends[0] / self.side
            across_mm = pixel[1] * wide * ends[1] / self.side
            cut.affine = torch.diag(torch.tensor([down_mm, across_mm, 1, 1], dtype=torch.float64))
        return cut

    def _square(self, image: torch.Tensor) -> tuple[float, float]:
        """Rows and columns of the image that the square is high and wide."""
        down, across = pixel_of(image)
        if self.field is None:
            stretch = down / across
            wide = max(image.shape[-2] * stretch, float(image.shape[-1]))
            return wide / stretch, wide
        if not has_scale(image):
            raise DataError(
                f"{source_of(image)} does not say its pixel spacing",
                f"a field of {self.field:g} mm is asked for",
                "state it in the data spec (layout.spacing), give --set spacing=MM when "
                "predicting, or set field to null under preprocess",
            )
        return self.field / down, self.field / across


class JointCropsd(SquareCropd):
    """The outer edges of both compartments of a joint, as Semixup cuts them; the second mirrored.

    Rows and columns are counted as if the square of `SquareCropd` had `grid` pixels a side.

    Args:
        keys: as of `SquareCropd`; two crops come out, lateral and medial.
        grid: pixels that rows and columns count in.
        rows: first, and first after.
        columns: of the lateral crop from the left edge, of the medial one from the right edge.
        field, side: as of `SquareCropd`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        field: float | None = 110.0,
        grid: int = 300,
        rows: tuple[int, int] = (100, 228),
        columns: int = 128,
        side: int = 128,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, field, side, allow_missing_keys)
        if not 0 <= rows[0] < rows[1] <= grid or not 0 < columns <= grid:
            raise ValueError(f"rows and columns lie outside a grid of {grid} pixels")
        self.grid, self.rows, self.columns = grid, (int(rows[0]), int(rows[1])), columns

    def _parts(self) -> Sequence[_Part]:
        rows = self.rows[0] / self.grid, self.rows[1] / self.grid
        wide = self.columns / self.grid
        return [_Part(rows, (0.0, wide)), _Part(rows, (1 - wide, 1.0), mirrored=True)]


def averaging(length: int, start: float, span: float, part: Share, side: int) -> np.ndarray:
    """[S, length] share of each source pixel in each of S target pixels; none beyond the image.

    Args:
        length: pixels of the source.
        start, span: of the square on the source, in its pixels.
        part: of the square, as shares.
    """
    edges = start + span * np.linspace(*part, side + 1)
    low = np.maximum(edges[:-1, None], np.arange(length))
    high = np.minimum(edges[1:, None], np.arange(1, length + 1))
    share = (high - low).clip(min=0) / np.diff(edges)[:, None]
    return np.asarray(share, np.float32)
