"""One sentence on the first wrong key of a mapping: what is wrong, and what would be right."""

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as limits
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from medssl.errors import UsageError
from medssl.section import holds_bool, is_named
from medssl.wanted import as_written, bounds_of, limit, models_of, wanted

UNKNOWN_ARGUMENT = "unknown_argument"
"""Type of an error on a key that a free group cannot take; its context says `what`, and `known`."""

MANY = 20
"""Choices that are not all told where one of them is near."""

OUR_OWN = {"value_error", "assertion_error"}
"""Errors whose message is a sentence of medssl's own."""


def mistake(
    model: type[BaseModel],
    plain: Mapping[str, Any],
    error: ValidationError,
    prefix: str = "",
    place: str | Callable[[Sequence[str]], str] = "",
) -> UsageError:
    """What to tell of a mapping that is no `model`.

    An unknown key comes first: it is often the reason why another one is missing.

    Args:
        prefix: where the mapping stands, with its final dot, e.g. "method.".
        place: what it stands in, e.g. "data spec lung.yaml", or what tells it of the wrong key's
            parts; may be empty.
    """
    found = error.errors(include_url=False)
    first = min(
        found,
        key=lambda one: one["type"] not in {"extra_forbidden", "invalid_key", UNKNOWN_ARGUMENT},
    )
    where = [str(part) for part in first["loc"] if part != "[key]"]
    dotted = prefix + ".".join(where)
    if not isinstance(place, str):
        place = place(where)
    inside = f" in the {place}" if place else ""
    if first["type"] == "extra_forbidden":
        return UsageError(f"unknown key '{dotted}'{inside}", do=_instead(model, where, prefix))
    if first["type"] == UNKNOWN_ARGUMENT:
        about, before = first["ctx"], prefix + "".join(f"{part}." for part in where[:-1])
        do = nearest(where[-1], about["known"], before) or "remove it"
        return UsageError(f"unknown key '{dotted}'{inside}", about["what"], do)
    if first["type"] == "invalid_key":
        return UsageError(f"the key {dotted}{inside} is no text", do="put it in quotes")
    if first["type"] == "missing" and not isinstance(first["loc"][-1], int):
        return UsageError(f"the key '{dotted}' is missing{inside}", do="add it")
    if first["type"] in OUR_OWN:
        # A whole section is not repeated: what is wrong is said by the message.
        given = "" if isinstance(first["input"], Mapping) else f"={as_written(first['input'])}"
        message = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        what = f"{dotted}{given}{inside}" if dotted else f"the {place or 'file'}"
        return UsageError(f"{what} is wrong", message[:1].lower() + message[1:])
    return _wrong_kind(model, plain, first, prefix, inside)


def nearest(word: str, known: Sequence[str], prefix: str = "") -> str:
    """The words "did you mean ...?", or the choices where none is near; empty without choice."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"choose one of: {', '.join(known)}" if known else ""


def _wrong_kind(
    model: type[BaseModel], plain: Mapping[str, Any], first: ErrorDetails, prefix: str, inside: str
) -> UsageError:
    """A value of the wrong kind or beyond its limits, with what would be right."""
    depth, annotation, default = _key(model, first["loc"])
    key = prefix + ".".join(str(part) for part in first["loc"][:depth])
    given = _at(plain, first["loc"][:depth], first["input"])
    do = f"give {wanted(annotation)}"
    if (example := _example(annotation, given, default)) is not None:
        do += f", e.g. {as_written(example)}"
    if isinstance(given, str):
        choices = list(_choices(annotation))
        if near := difflib.get_close_matches(given, choices, n=1, cutoff=0.5):
            meant = f"did you mean '{near[0]}'?"
            do = meant if len(choices) > MANY else f"{do}; {meant}"
    return UsageError(f"{key}={as_written(given)}{inside} is wrong", do=do)


def _example(annotation: Any, given: Any, default: Any) -> Any:
    """A value that would do: the nearest to the given one, else the default; None: no idea."""
    inner = next(_tuples(annotation), None)
    number = isinstance(given, int | float | str) and not isinstance(given, bool)
    scalar = given if number and given == given else 1  # noqa: PLR0124 - not nan
    candidates = [*_clamped(annotation, given)]
    if inner is not None:
        count = 1 if inner[-1] is Ellipsis else len(inner)
        candidates += [(scalar,) * count if number else default, default, (1,) * count]
    candidates.append(default)
    if annotation is str and not isinstance(given, list | Mapping) and given is not None:
        return str(given)
    if annotation in (bool, str) or next(models_of(annotation), None) is not None:
        return None
    if inner is None and list(_choices(annotation)):
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
    for one in candidates:
        if one is None or one is PydanticUndefined or one == given or holds_bool(one):
            continue
        try:
            adapter.validate_python(one)
        except ValidationError:
            continue
        return one
    return None


def _tuples(annotation: Any) -> Iterator[tuple[Any, ...]]:
    """What the lists of an annotation are made of."""
    if get_origin(annotation) is tuple:
        yield get_args(annotation)
    else:
        for inner in get_args(annotation):
            yield from _tuples(inner)


def _clamped(annotation: Any, given: Any) -> Iterator[Any]:
    """The given number, or list of numbers, moved into its limits."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind in (Union, types.UnionType):
        for one in inner:
            yield from _clamped(one, given)
    elif kind is Annotated and isinstance(given, int | float) and not isinstance(given, bool):
        bounds = bounds_of(inner[1:])
        least, most = limit(bounds, limits.Ge, "ge"), limit(bounds, limits.Le, "le")
        moved = given if least is None else max(given, least)
        yield moved if most is None else min(moved, most)
        yield from _clamped(inner[0], given)
    elif kind is Annotated:
        yield from _clamped(inner[0], given)
    elif kind is tuple and isinstance(given, list | tuple):
        kinds = inner if inner[-1] is not Ellipsis else (inner[0],) * len(given)
        pairs = zip(kinds, given, strict=False)
        yield tuple(next(_clamped(one, value), value) for one, value in pairs)


def _choices(annotation: Any) -> Iterator[str]:
    """Words that a key, or each of its list, may be."""
    if get_origin(annotation) is Literal:
        yield from (one for one in get_args(annotation) if isinstance(one, str))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if is_named(annotation):
            yield from _choices(annotation.model_fields["name"].annotation)
    else:
        for inner in get_args(annotation):
            yield from _choices(inner)


def _key(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[int, Any, Any]:
    """How many parts of `loc` name a key, what that key takes, and its default."""
    depth, default = 0, None
    annotation: Any = Any
    insides: list[type[BaseModel]] = [model]
    for number, part in enumerate(loc, start=1):
        inside = next((one for one in insides if part in one.model_fields), None)
        if get_origin(annotation) is dict and isinstance(part, str):
            depth, annotation, default = number, get_args(annotation)[1], None
        elif inside is not None:
            field = inside.model_fields[str(part)]
            depth, default = number, field.get_default(call_default_factory=True)
            annotation = field.annotation
            if field.metadata:
                annotation = Annotated[annotation, *field.metadata]
            insides = list(models_of(annotation))
    return depth, annotation, default


def _at(plain: Any, loc: Sequence[int | str], otherwise: Any) -> Any:
    """The value that was given at `loc`."""
    for part in loc:
        try:
            plain = plain[part]
        except (KeyError, IndexError, TypeError):
            return otherwise
    return plain


def instead(
    where: Sequence[str], known: Sequence[str], everywhere: Iterable[str], prefix: str = ""
) -> str:
    """The key that was probably meant by an unknown one, or what else to do with it.

    Args:
        where: its parts.
        known: keys that may stand in its place.
        everywhere: all keys of the whole, with dots.
        prefix: where the whole stands, with its final dot.
    """
    if not difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5):
        for key in everywhere:
            if key.split(".")[-1] == where[-1]:
                return f"did you mean '{prefix}{key}'?"
    before = prefix + "".join(f"{part}." for part in where[:-1])
    key, colon, value = where[-1].partition(":")
    if colon and key in known:
        return f"write a space after the colon: {key}: {value}"
    return nearest(where[-1], known, before) or "remove it"


def _instead(model: type[BaseModel], where: list[str], prefix: str) -> str:
    """A near key of the same part, or one of this name elsewhere."""
    inside: type[BaseModel] | None = model
    for part in where[:-1]:
        if not part.isdigit() and inside is not None:
            field = inside.model_fields.get(part)
            inside = None if field is None else next(models_of(field.annotation), None)
    known = [] if inside is None else list(inside.model_fields)
    return instead(where, known, _everywhere(model), prefix)


def _everywhere(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a model and of its parts, with dots."""
    for key, field in model.model_fields.items():
        yield prefix + key
        for inner in models_of(field.annotation):
            yield from _everywhere(inner, f"{prefix}{key}.")
