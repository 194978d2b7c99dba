"""Training curves as one picture: the loss with its terms, and the validation score."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medssl.evaluate.figure import png_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = list[tuple[int, float]]

_INK = "#2b3640"
_GRID = "#d5dbe1"


def draw_curves(
    steps: Sequence[tuple[int, Mapping[str, float]]],
    score: str = "dice",
    title: str = "mean Dice of the validation cases",
    watched: Mapping[str, str] | None = None,
) -> bytes | None:
    """A PNG, or None where nothing was logged.

    Args:
        steps: step number and what was logged then: "loss", its terms as "loss/TERM", and `score`
            of the validation cases.
        score: better when higher.
        title: of the score.
        watched: further numbers by name, with what to call them, in a panel of their own.
    """
    from matplotlib.figure import Figure

    loss, scores = _series(steps, "loss"), _series(steps, score)
    signs = {name: _series(steps, name) for name in watched or {}}
    panels = [
        series
        for series in (loss, scores, [point for series in signs.values() for point in series])
        if series
    ]
    if not panels:
        return None
    figure = Figure(figsize=(5.2 * len(panels), 3.0), dpi=110, layout="constrained")
    axes = list(figure.subplots(1, len(panels), squeeze=False)[0])
    if loss:
        _draw_loss(axes.pop(0), steps, loss)
    if scores:
        _draw_score(axes.pop(0), scores, title)
    if axes:
        for name, series in signs.items():
            axes[0].plot(*_columns(series), linewidth=1.4, label=(watched or {})[name])
        axes[0].legend(frameon=False, fontsize=8)
        _dress(axes[0], "answers to unlabelled cases")
    return png_of(figure)


def _draw_loss(ax: "Axes", steps: Sequence[tuple[int, Mapping[str, float]]], loss: Series) -> None:
    """The sum and, where there are several, its terms."""
    terms = sorted({name for _, values in steps for name in values if name.startswith("loss/")})
    for name in terms if len(terms) > 1 else ():
        ax.plot(*_columns(_series(steps, name)), linewidth=0.9, label=name[len("loss/") :])
    dot = "o" if len(loss) == 1 else None  # of a single step there is no line
    ax.plot(*_columns(loss), color=_INK, linewidth=1.6, marker=dot, label="sum")
    ax.legend(frameon=False, fontsize=8)
    _dress(ax, "loss on training batches")


def _draw_score(ax: "Axes", scores: Series, title: str) -> None:
    """The score with its best value."""
    best = max(scores, key=lambda point: point[1])
    ax.plot(*_columns(scores), color="#0072B2", marker="o", markersize=3, linewidth=1.4)
    ax.axhline(best[1], color=_GRID, linewidth=0.8, zorder=0)
    ax.annotate(
        f"{best[1]:.3f} at step {best[0]}",
        best,
        xytext=(0, 5),
        textcoords="offset points",
        ha="right" if best[0] > scores[-1][0] / 2 else "left",
        fontsize=8,
        color=_INK,
    )
    ax.margins(y=0.15)
    _dress(ax, title)


def _series(steps: Sequence[tuple[int, Mapping[str, float]]], name: str) -> Series:
    return [(step, values[name]) for step, values in steps if name in values]


def _columns(series: Series) -> tuple[list[int], list[float]]:
    return [step for step, _ in series], [value for _, value in series]


def _dress(ax: "Axes", title: str) -> None:
    ax.set_title(title, fontsize=9, color=_INK, loc="left")
    ax.set_xlabel("step", fontsize=8, color=_INK)
    ax.tick_params(labelsize=8, colors=_INK)
    ax.grid(color=_GRID, linewidth=0.5)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
