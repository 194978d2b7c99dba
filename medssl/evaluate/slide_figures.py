"""Pictures of how slides were classified: ROC, calibration, confusion and FROC.

Legend: S slides, K classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medssl.evaluate.calibration import Calibration
from medssl.evaluate.figure import png_of
from medssl.evaluate.froc import RATES, FrocCurve, froc_score, sensitivities
from medssl.evaluate.overlay import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#1d262e"
_SOFT = "#8a97a3"
_GRID = "#dde3e8"
_BLUE = "#0072b2"
_SIDE = 3.6
"""Inches of each picture, so that they stand side by side at one scale of type."""


def draw_roc(
    probability: np.ndarray, truth: np.ndarray, classes: Sequence[str], threshold: float | None
) -> bytes | None:
    """The ROC curve of the second of two classes, or of each of more; None if it has none.

    Args:
        probability: [S, K].
        truth: [S] class indices.
        classes: K names.
        threshold: marked on the curve, with two classes.
    """
    from sklearn.metrics import roc_curve

    ranked = [1] if len(classes) == 2 else range(len(classes))
    if any((truth == k).all() or not (truth == k).any() for k in ranked):
        return None
    figure, ax = _figure()
    ax.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8, linestyle="--")
    for index, k in enumerate(ranked):
        false, true, _ = roc_curve(truth == k, probability[:, k], drop_intermediate=False)
        colour = _BLUE if len(classes) == 2 else COLOURS[index % len(COLOURS)]
        ax.plot(false, true, color=colour, linewidth=1.6, label=classes[k], clip_on=False)
    if threshold is not None:
        positive = probability[:, 1] >= threshold
        at = (positive[truth == 0].mean(), positive[truth == 1].mean())
        ax.plot(*at, "o", color=_INK, markersize=5, clip_on=False, zorder=3,
                label=f"threshold {threshold:.3f}")  # fmt: skip
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    _unit_square(ax)
    return _png(figure, ax, "ROC", "1 - specificity", "sensitivity")


def draw_calibration(found: Calibration) -> bytes:
    """Accuracy over confidence; bars and the size of points show how many predictions there are."""
    figure, ax = _figure()
    edges = np.linspace(0, 1, len(found.count) + 1)
    filled = found.count > 0
    share = found.count / found.count.sum()
    width = edges[1] - edges[0]
    ax.bar(edges[:-1], share, width, align="edge", color=_GRID, label="share")
    ax.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8, linestyle="--")
    points = found.confidence[filled], found.accuracy[filled]
    ax.scatter(*points, 12 + 180 * share[filled], color=_BLUE, clip_on=False, zorder=3)
    ax.plot([], [], "o", color=_BLUE, markersize=5, label="accuracy")
    ax.legend(frameon=False, fontsize=8, loc="center left")
    _unit_square(ax)
    title = f"calibration, ECE {found.error:.3f}"
    return _png(figure, ax, title, "confidence in the prediction", "accuracy")


def draw_confusion(confusion: np.ndarray, classes: Sequence[str]) -> bytes:
    """Slides by true class (rows) and predicted class; shaded by the share of the row."""
    figure, ax = _figure()
    total = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    share = confusion / total
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        colour = "white" if share[row, column] > 0.6 else _INK
        text = f"{count}\n{share[row, column]:.0%}"
        ax.text(column, row, text, ha="center", va="center", color=colour,
                fontsize=max(5, 12 - len(classes)))  # fmt: skip
    places = range(len(classes))
    ax.set_xticks(places, classes)
    ax.set_yticks(places, classes, rotation=90, va="center")
    ax.spines[:].set_visible(False)
    return _png(figure, ax, "confusion", "predicted", "true", grid=False)


def draw_froc(curve: FrocCurve) -> bytes | None:
    """The curve with the six points that the score averages; None without lesions."""
    if not curve.lesions:
        return None
    figure, ax = _figure()
    reach = max(RATES) * 1.6
    false = np.append(curve.false_positives, max(reach, curve.false_positives[-1]))
    true = np.append(curve.sensitivity, curve.sensitivity[-1])
    ax.plot(false, true, color=_BLUE, linewidth=1.6)
    read = sensitivities(curve)
    ax.plot(list(read), list(read.values()), "o", color=_INK, markersize=4, clip_on=False)
    ax.set_xscale("symlog", base=2, linthresh=0.25, linscale=0.6)
    ax.set_xticks([0, *RATES], ["0", "1/4", "1/2", "1", "2", "4", "8"])
    ax.minorticks_off()
    ax.set_xlim(0, reach)
    ax.set_ylim(0, 1)
    title = f"FROC, score {froc_score(curve):.3f}"
    return _png(figure, ax, title, "false positives per slide", "share of lesions found")


def _figure() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_SIDE, _SIDE), dpi=130, layout="constrained")
    return figure, figure.subplots()


def _unit_square(ax: "Axes") -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")


def _png(
    figure: "Figure", ax: "Axes", title: str, across: str, up: str, grid: bool = True
) -> bytes:
    ax.set_title(title, fontsize=9, color=_INK, loc="left")
    ax.set_xlabel(across, fontsize=8, color=_INK)
    ax.set_ylabel(up, fontsize=8, color=_INK)
    ax.tick_params(labelsize=8, colors=_INK, length=2)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(color=_GRID, linewidth=0.5)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return png_of(figure)
