"""A picture of one case: three planes with truth and prediction, and the entropy.

Planes are shown as radiologists see them (patient's left on the right), cut where the truth has
most voxels; where it has none, where the prediction has most.

Legend: X Y Z voxels, K classes with background first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medssl.data.geometry import Geometry
from medssl.evaluate.figure import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without black, brightest first: told apart by colour-blind readers.
COLOURS = ("#56B4E9", "#E69F00", "#CC79A7", "#F0E442", "#009E73", "#D55E00", "#0072B2")

_PAPER = "#101418"
_INK = "#dfe5ea"
_LEAST_VIEW = 30.0
"""Sides of a view are at least this long, mm, unless the volume is smaller."""


@dataclass(frozen=True)
class _Plane:
    """A cut through the volume in left-anterior-superior axes."""

    name: str
    axis: int
    across: int
    up: int
    letters: str

    def cut(self, array: np.ndarray, index: int) -> np.ndarray:
        """Slice [rows, columns], first row at the bottom."""
        return np.asarray(np.take(array, index, axis=self.axis).T)


_IMAGE = _Plane("image", 2, 0, 1, "    ")
"""Of a 2-D image, of which nobody says how it lies in the patient."""

_PLANES = (
    _Plane("axial", 2, 0, 1, "RLPA"),
    _Plane("coronal", 1, 0, 2, "RLIS"),
    _Plane("sagittal", 0, 1, 2, "PAIS"),
)


def draw_overlay(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    geometry: Geometry,
    classes: Sequence[str],
    entropy: np.ndarray | None = None,
) -> bytes:
    """One PNG: axial, coronal and sagittal view, and the entropy of the axial one.

    Of an image one voxel thick there is one view.

    Args:
        image: [X, Y, Z] intensities of the channel to show, any scale.
        truth: [X, Y, Z] class indices, filled in the picture.
        prediction: [X, Y, Z] class indices, outlined.
        geometry: the grid of all of them.
        classes: K names, background first.
        entropy: [X, Y, Z] in [0, 1]; without it there are three views.
    """
    from matplotlib.figure import Figure

    grid, change = geometry.oriented("LAS")
    volume, true, predicted = (change.apply(array) for array in (image, truth, prediction))
    spacing = np.array(grid.spacing)
    reference = true > 0 if true.any() else predicted > 0
    centre = [_fullest(reference, axis) for axis in range(3)]
    low, high = _view((true > 0) | (predicted > 0), spacing)
    flat = grid.shape[2] == 1
    planes = (_IMAGE,) if flat else _PLANES
    panels = len(planes) + (entropy is not None)
    figure = Figure(figsize=(3.0 * panels, 3.5), dpi=110, facecolor=_PAPER, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax, plane in zip(axes, planes, strict=False):
        index = centre[plane.axis]
        place = "" if flat else f" {index + 1}/{grid.shape[plane.axis]}"
        _show_image(ax, plane, plane.cut(volume, index), spacing)
        _show_masks(ax, plane.cut(true, index), plane.cut(predicted, index), len(classes))
        _frame(ax, plane, low, high, plane.name + place)
    if entropy is not None:
        plane, ax = planes[0], axes[-1]
        shown = plane.cut(change.apply(entropy), centre[plane.axis])
        _show_entropy(figure, ax, plane, shown, spacing)
        _frame(ax, plane, low, high, f"entropy, {plane.name}")
    _legend(figure, classes)
    return png_of(figure)


def _fullest(where: np.ndarray, axis: int) -> int:
    """The slice with most voxels; the middle one where there are none."""
    others = tuple(a for a in range(3) if a != axis)
    counts = np.count_nonzero(where, axis=others)
    return int(counts.argmax()) if counts.any() else where.shape[axis] // 2


def _view(where: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of what is shown, voxels: a cube in space around the masks, with some margin."""
    size = np.array(where.shape) * spacing
    points = np.argwhere(where) if where.any() else np.array([np.zeros(3), size / spacing - 1])
    first, last = points.min(axis=0), points.max(axis=0)
    half = max(0.75 * ((last - first + 1) * spacing).max(), _LEAST_VIEW / 2)
    reach = min(half, size.max() / 2) / spacing
    return (first + last) / 2 - reach, (first + last) / 2 + reach


def _show_image(ax: "Axes", plane: _Plane, pixels: np.ndarray, spacing: np.ndarray) -> None:
    dark, bright = np.percentile(pixels, (0.5, 99.5))
    ratio = float(spacing[plane.up] / spacing[plane.across])
    ax.imshow(
        pixels, cmap="gray", origin="lower", vmin=dark, vmax=max(bright, dark + 1e-6), aspect=ratio
    )


def _show_masks(ax: "Axes", true: np.ndarray, predicted: np.ndarray, classes: int) -> None:
    from matplotlib.colors import to_rgba

    for index in range(1, classes):
        colour = COLOURS[(index - 1) % len(COLOURS)]
        fill = np.zeros((*true.shape, 4))
        fill[true == index] = to_rgba(colour, 0.45)
        ax.imshow(fill, origin="lower", aspect=ax.get_aspect(), interpolation="nearest")
        if (predicted == index).any():
            ax.contour(predicted == index, levels=[0.5], colors=[colour], linewidths=1.4)


def _show_entropy(
    figure: "Figure", ax: "Axes", plane: _Plane, pixels: np.ndarray, spacing: np.ndarray
) -> None:
    ratio = float(spacing[plane.up] / spacing[plane.across])
    drawn = ax.imshow(pixels, cmap="magma", origin="lower", vmin=0, vmax=1, aspect=ratio)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.tick_params(colors=_INK, labelsize=7, length=2)


def _frame(ax: "Axes", plane: _Plane, low: np.ndarray, high: np.ndarray, title: str) -> None:
    from matplotlib.patheffects import withStroke

    ax.set_xlim(low[plane.across], high[plane.across])
    ax.set_ylim(low[plane.up], high[plane.up])
    ax.set_axis_off()
    ax.set_title(title, color=_INK, fontsize=9)
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98))
    sides = (("left", "center"), ("right", "center"), ("center", "bottom"), ("center", "top"))
    for letter, (x, y), (horizontal, vertical) in zip(plane.letters, places, sides, strict=True):
        ax.text(
            x,
            y,
            letter,
            transform=ax.transAxes,
            color=_INK,
            fontsize=8,
            ha=horizontal,
            va=vertical,
            path_effects=[withStroke(linewidth=2, foreground=_PAPER)],
        )


def _legend(figure: "Figure", classes: Sequence[str]) -> None:
    from matplotlib.artist import Artist
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Artist] = [
        Patch(color=COLOURS[index % len(COLOURS)], label=name)
        for index, name in enumerate(classes[1:])
    ]
    entries.append(Patch(facecolor="#888888", alpha=0.6, label="filled: truth"))
    entries.append(Line2D([], [], color="#bbbbbb", linewidth=1.4, label="line: prediction"))
    figure.legend(
        handles=entries, loc="outside lower center", ncols=min(len(entries), 8), frameon=False,
        fontsize=8, labelcolor=_INK,
    )  # fmt: skip
