"""Self-contained HTML pages from the templates beside this file; all reports share their style."""

import base64
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from medssl.evaluate.score import Score


def render_page(
    template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., str]]
) -> str:
    """The page as text; it refers to nothing outside itself.

    Args:
        template: file name.
        values: the template's variables.
        filters: further ones, beside "png", "number" and "interval"; equal names replace these.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"png": embedded, "number": number, "interval": interval, **filters}
    folder = files("medssl.evaluate")
    style = Markup(folder.joinpath("report.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
    text = folder.joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(text).render({**values, "style": style})


def embedded(png: bytes) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def number(value: float) -> str:
    """Three decimals; a dash for what cannot be measured."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def interval(score: Score) -> str:
    """The interval, or why there is none."""
    if math.isnan(score.low):
        return score.reason or "no interval"
    return f"{score.low:.3f} to {score.high:.3f}"
