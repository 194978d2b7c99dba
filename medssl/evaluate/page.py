"""Self-contained HTML pages from the templates beside this file; all reports share their style."""

import base64
import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medssl.evaluate.score import Score

if TYPE_CHECKING:
    from jinja2 import Template


def render_page(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., str]] = MappingProxyType({}),
) -> str:
    """The page as text; it refers to nothing outside itself.

    Args:
        template: file name.
        values: the template's variables.
        filters: further ones, beside "png", "number" and "interval"; equal names replace these.
    """
    from markupsafe import Markup

    style = Markup(_text("report.css"))  # noqa: S704 - ours
    return _compiled(template, tuple(filters.items())).render({**values, "style": style})


@cache
def _compiled(template: str, filters: tuple[tuple[str, Callable[..., str]], ...]) -> "Template":
    """A template with its further filters, which takes longer to compile than to fill."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"png": embedded, "number": number, "interval": interval}
    environment.filters.update(filters)
    return environment.from_string(_text(template))


def _text(name: str) -> str:
    """A file beside this one."""
    return files("medssl.evaluate").joinpath(name).read_text(encoding="utf-8")


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
