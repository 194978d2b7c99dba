"""What a key takes, in words, as its type says."""

import json
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as limits
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from medssl.section import FlatAlone, Noun, OneAlone, is_named

WORDS = {int: "whole numbers", float: "numbers", str: "texts", bool: "trues and falses"}
ONE = {"sizes": "a size", "whole numbers": "a whole number", "numbers": "a number"}
ONE |= {"texts": "a text", "trues and falses": "true or false"}
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four"}


def wanted(annotation: Any, bounds: Sequence[Any] = ()) -> str:  # noqa: PLR0911 - a table of kinds
    """What a key takes, in words, e.g. "three sizes" or "a number above 0, or null"."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return wanted(inner[0], [*bounds, *bounds_of(inner[1:])])
    if kind in (Union, types.UnionType):
        some = [wanted(one, bounds) for one in inner if one is not type(None)]
        return " or ".join(some) + (", or null" if type(None) in inner else "")
    if kind is Literal:
        return f"one of {', '.join(as_written(one) for one in inner)}"
    if kind is tuple:
        return _wanted_list(inner, bounds)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        name = "a name, or " if is_named(annotation) else ""
        return f"{name}keys of its own ({', '.join(annotation.model_fields)})"
    if annotation is str and (pattern := limit(bounds, object, "pattern")):
        return f"a text that fits {pattern}"
    if hasattr(annotation, "wanted"):
        return str(annotation.wanted())
    if annotation in WORDS:
        noun = next((one for one in bounds if isinstance(one, Noun)), WORDS[annotation])
        return ONE.get(noun, f"one of the {noun}") + _range(bounds)
    if kind is dict:
        return f"a mapping of keys to values, each {wanted(inner[1])}"
    return "another value"


def _wanted_list(inner: tuple[Any, ...], about: Sequence[Any]) -> str:
    first, bounds = inner[0], list[Any]()
    if get_origin(first) is Annotated:
        first, bounds = get_args(first)[0], bounds_of(get_args(first)[1:])
    noun = next((one for one in bounds if isinstance(one, Noun)), "")
    if not noun and get_origin(first) is Literal:
        noun = f"values out of {', '.join(as_written(one) for one in get_args(first))}"
    elif not noun and first in WORDS:
        noun = WORDS[first] + _range(bounds)
    noun = noun or f"values, each {wanted(first, bounds)}"
    if inner[-1] is not Ellipsis:
        flat = ", or two in 2-D" if any(isinstance(one, FlatAlone) for one in about) else ""
        return f"{COUNTS.get(len(inner), len(inner))} {noun}{flat}"
    filled = limit(about, limits.MinLen, "min_length")
    alone = "a text, or " if any(isinstance(one, OneAlone) for one in about) else ""
    return f"{alone}a list of {noun}" + (f", at least {filled}" if filled else "")


def bounds_of(metadata: Sequence[Any]) -> list[Any]:
    """Limits among the metadata of a type; those of a `Field` are inside it."""
    found: list[Any] = []
    for one in metadata:
        found += one.metadata if isinstance(one, FieldInfo) else [one]
    return found


def limit(bounds: Sequence[Any], kind: type, name: str) -> Any:
    """The bound `name` of the first limit of a kind; None without one."""
    return next((getattr(b, name, None) for b in bounds if isinstance(b, kind)), None)


def _range(bounds: Sequence[Any]) -> str:
    least, above = limit(bounds, limits.Ge, "ge"), limit(bounds, limits.Gt, "gt")
    most, below = limit(bounds, limits.Le, "le"), limit(bounds, limits.Lt, "lt")
    words = {"of at least": least, "above": above, "at most": most, "below": below}
    said = " and ".join(
        f"{word} {bound if isinstance(bound, int) else format(bound, 'g')}"
        for word, bound in words.items()
        if bound is not None
    )
    return f" {said}" if said else ""


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The groups of keys that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_of(inner)


def as_written(given: Any) -> str:
    """A value as one would write it in a pipeline file, cut short."""
    if isinstance(given, str):
        text = repr(given)
    else:
        try:
            text = json.dumps(given)
        except TypeError:
            text = str(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
