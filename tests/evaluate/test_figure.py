"""Figures as pictures."""

import io

from matplotlib.figure import Figure

from medssl.evaluate.figure import png_of


def drawn() -> Figure:
    """Two panels whose labels decide where they stand."""
    figure = Figure(figsize=(4, 2), dpi=90, facecolor="#101418", layout="constrained")
    one, other = figure.subplots(1, 2)
    one.plot([0, 1000], [0, 1], label="line")
    one.legend()
    other.imshow([[0, 1], [2, 3]])
    other.set_ylabel("a label")
    figure.suptitle("both")
    return figure


def test_a_picture_is_to_the_byte_what_matplotlib_saves() -> None:
    saved = io.BytesIO()
    drawn().savefig(saved, format="png")
    assert png_of(drawn()) == saved.getvalue()
