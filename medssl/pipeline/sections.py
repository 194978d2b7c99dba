"""Sections of pipelines as typed settings: what is wrong is said in one sentence.

Free of torch, so that a wrong key is refused at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.methods.settings import MethodSettings
from medssl.mistakes import mistake, nearest
from medssl.overrides import apply_overrides, laid_over
from medssl.settings import MethodChoice

Model = TypeVar("Model", bound=BaseModel)

Place = Callable[[Sequence[str]], str]
"""Tells the file that a key stands in, in words, by its parts; empty where it is in none."""


def validate(
    model: type[Model], plain: Mapping[str, Any], prefix: str = "", place: Place = lambda _: ""
) -> Model:
    """`plain` as a `model`.

    Args:
        prefix: where it stands, with its final dot.
        place: tells the file that a key of it stands in, in words.

    Raises:
        UsageError: one sentence on the first key that is unknown, missing or of the wrong kind.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise mistake(model, plain, error, prefix, place) from None


def overridden(
    model: type[Model],
    overrides: Sequence[str],
    prefix: str,
    plain: Mapping[str, Any] | None = None,
) -> Model:
    """A section as `key=value` overrides make it, laid over the keys of `plain`.

    Raises:
        UsageError: as `validate`, or an override is not of that form.
    """
    keys = dict(plain or {})
    apply_overrides(keys, overrides)
    return validate(model, keys, prefix)


def known_method(name: str, place: str = "") -> type[MethodSettings]:
    """The settings class of a method.

    Args:
        place: where the name stands, e.g. "pipeline mine.yaml"; may be empty.

    Raises:
        UsageError: there is none of that name; names the nearest.
    """
    if name not in method_names():
        inside = f" in the {place}" if place else ""
        raise UsageError(f"no method is called '{name}'{inside}", do=nearest(name, method_names()))
    return settings_class(name)


def method_settings(choice: MethodChoice, place: Place = lambda _: "") -> MethodSettings:
    """The settings of the chosen method: its preset, the choice's own keys laid over it.

    Args:
        place: tells the file that a key of the choice stands in, in words.

    Raises:
        UsageError: unknown method, preset or key, or a value of the wrong kind.
    """
    settings = known_method(choice.name)
    plain: dict[str, Any] = {}
    if choice.preset is not None:
        if choice.preset not in settings.presets:
            known, where = ", ".join(settings.presets) or "none", place(["preset"])
            inside = f" in the {where}" if where else ""
            raise UsageError(
                f"{choice.name} has no preset '{choice.preset}'{inside}",
                do=nearest(choice.preset, list(settings.presets)) or f"its presets: {known}",
            )
        plain = dict(settings.presets[choice.preset])
    return validate(settings, laid_over(plain, choice.own), "method.", place)
