"""How training went, as one picture: the loss with its terms, and Dice on validation."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = list[tuple[int, float]]

_INK = "#2b3640"
_GRID = "#d5dbe1"


def draw_curves(steps: Sequence[tuple[int, Mapping[str, float]]]) -> bytes | None:
    """A PNG, or None where nothing was logged.

    Args:
        steps: step number and what was logged then: "loss", its terms as "loss/TERM", and "dice"
            of the validation cases.
    """
    from matplotlib.figure import Figure

    loss, dice = _series(steps, "loss"), _series(steps, "dice")
    terms = sorted({name for _, values in steps for name in values if name.startswith("loss/")})
    panels = [series for series in (loss, dice) if series]
    if not panels:
        return None
    figure = Figure(figsize=(5.2 * len(panels), 3.0), dpi=110, layout="constrained")
    axes = list(figure.subplots(1, len(panels), squeeze=False)[0])
    if loss:
        ax = axes.pop(0)
        for name in terms if len(terms) > 1 else ():
            ax.plot(*_columns(_series(steps, name)), linewidth=0.9, label=name[len("loss/") :])
        ax.plot(*_columns(loss), color=_INK, linewidth=1.6, label="sum")
        ax.legend(frameon=False, fontsize=8)
        _dress(ax, "loss on training batches")
    if dice:
        best = max(dice, key=lambda point: point[1])
        axes[0].plot(*_columns(dice), color="#0072B2", marker="o", markersize=3, linewidth=1.4)
        axes[0].axhline(best[1], color=_GRID, linewidth=0.8, zorder=0)
        axes[0].annotate(
            f"{best[1]:.3f} at step {best[0]}",
            best,
            xytext=(0, 5),
            textcoords="offset points",
            ha="right" if best[0] > dice[-1][0] / 2 else "left",
            fontsize=8,
            color=_INK,
        )
        axes[0].margins(y=0.15)
        _dress(axes[0], "mean Dice of the validation cases")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


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
