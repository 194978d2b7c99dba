"""What every group of settings is: keys with types, defaults and meanings, laid over the owner's.

An owner may start a part from other values than the part's own class does:

    class Cps(Section):
        pseudo: Pseudo = Pseudo(kind="cross_entropy")

Whoever gives one key of `pseudo` changes that key alone: all others keep what `Cps` says, whatever
the defaults of `Pseudo` are. This holds at every depth, and wherever the keys come from. Lists and
free mappings (fields of the type dict) are values: a given one replaces the default as a whole.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin, runtime_checkable

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from medssl.errors import UsageError


class Noun(str):
    """What a number is called in messages, in the plural."""


class OneAlone:
    """Marks a list of texts of which a single one may stand without brackets."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """The list, after a text was put into one."""
        listed = handler(source)
        return core_schema.no_info_before_validator_function(
            lambda given: (given,) if isinstance(given, str) else given, listed
        )

    def __get_pydantic_json_schema__(
        self, listed: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """A text or the list."""
        return {"anyOf": [{"type": "string"}, handler(listed)]}


class FlatAlone:
    """Marks three sides of which the first two may stand alone: those of a 2-D image, one thick."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """The three, after two got a third of one."""
        return core_schema.no_info_before_validator_function(_thickened, handler(source))

    def __get_pydantic_json_schema__(
        self, three: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Two or three of what the list holds."""
        listed = handler(three)
        return {**listed, "minItems": 2}


def _thickened(given: Any) -> Any:
    two = isinstance(given, list | tuple) and len(given) == 2
    return (*given, 1) if two else given


MOST = 4096
"""Voxels of the longest side that is not a slip of the keyboard."""

Side = Annotated[int, Noun("sizes")]
Patch = Annotated[tuple[Side, Side, Side], FlatAlone()]
"""Sides in voxels of what a network takes; which these are is known with the network."""

Size = Annotated[Side, Field(ge=1, le=MOST)]
Triple = Annotated[tuple[Size, Size, Size], FlatAlone()]
"""Sides in voxels."""

Extent = Annotated[int, Field(le=MOST)]
"""Pixels, voxels or tokens along an axis."""

Width = Annotated[int, Field(le=2**17)]
"""Numbers that a layer makes of one item."""

Items = Annotated[int, Field(le=2**20)]
"""Cases, places, features or the like that are drawn, kept or compared with."""

Batch = Annotated[int, Field(le=2**16)]
"""Items of a step or call."""

Count = Annotated[int, Field(le=1024)]
"""Parts or copies of a network, passes through it, or other things of which there are few."""

Steps = Annotated[int, Field(le=10**7)]
"""Steps of training; at ten a second the most take twelve days."""

Passes = Annotated[int, Field(le=10**5)]
"""Passes over all training data."""

Seed = Annotated[int, Field(le=2**32 - 1)]
"""What random draws begin with."""

Positive = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, le=1)]
Percentile = Annotated[float, Field(ge=0, le=100)]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if low > high:
        raise ValueError(f"it goes from a number to one no smaller, e.g. [{high:g}, {low:g}]")
    return ends


def _apart(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = _rising(ends)
    if low == high:
        raise ValueError("it goes from a number to a larger one, e.g. [0.5, 99.5]")
    return ends


_RISING = AfterValidator(_rising)
Interval = Annotated[tuple[float, float], _RISING]
"""The least and the most of what is drawn in between, or kept; so are all below."""

Amounts = Annotated[tuple[Amount, Amount], _RISING]
Factors = Annotated[tuple[Positive, Positive], _RISING]
Shares = Annotated[tuple[Share, Share], _RISING]
Parts = Annotated[tuple[Part, Part], _RISING]
Percentiles = Annotated[tuple[Percentile, Percentile], AfterValidator(_apart)]

Spacing = Annotated[tuple[Positive, Positive, Positive], FlatAlone()]
"""mm along each axis."""

Channels = Annotated[int, Field(ge=1, le=1024)]
"""Of the first level of a network; deeper ones have several times as many."""


@runtime_checkable
class Overlaid(Protocol):
    """A value that knows how given keys lie over its own."""

    def under(self, given: Any) -> Any:
        """`given`, completed from this value where it gives a part of it."""


class Section(BaseModel):
    """A group of keys.

    It refuses keys that it does not know, numbers that are none (nan, infinity) and true or false
    in place of a number. A group whose `name` is one of several may be given as that name alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def gives_way(self, given: Mapping[str, Any]) -> bool:
        """Whether `given` keys replace this group, as its keys make no sense beside them."""
        return False

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) and is_named(cls) else given

    @field_validator("*", mode="before")
    @classmethod
    def _over_the_owners(cls, given: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            return laid_over(default, given)
        if isinstance(default, Overlaid):
            return default.under(given)
        kinds = set(_kinds(field.annotation))
        if kinds & {int, float} and not kinds & {bool, Any} and holds_bool(given):
            raise PydanticCustomError("bool_for_number", "true and false are no numbers")
        return given


def is_named(kind: type[BaseModel]) -> bool:
    """Whether a part of this kind may be given as a name alone, e.g. `network: vnet`."""
    name = kind.model_fields.get("name")
    return name is not None and get_origin(name.annotation) is Literal


def laid_over(default: BaseModel, given: Any) -> Any:
    """The keys of `given` over those of `default`, part by part; what is no mapping, as it is."""
    if isinstance(given, str) and is_named(type(default)):
        given = {"name": given}
    if not isinstance(given, Mapping):
        return given
    if isinstance(default, Section) and default.gives_way(given):
        return given
    laid = dict(iter(default))  # not dict(default): a key may be called "keys"
    for key, value in given.items():
        below = laid.get(key)
        laid[key] = laid_over(below, value) if isinstance(below, BaseModel) else value
    return laid


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, e.g. int of `tuple[int, int] | None`."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        yield from map(type, inner)
    elif get_origin(annotation) is Annotated:
        yield from _kinds(inner[0])
    elif inner:
        for one in inner:
            yield from _kinds(one)
    else:
        yield annotation


def holds_bool(given: Any) -> bool:
    """Whether a value is true or false, or a list that holds one."""
    if isinstance(given, list | tuple):
        return any(map(holds_bool, given))
    return isinstance(given, bool)


def in_plane(patch: tuple[int, int, int]) -> tuple[int, ...]:
    """The sides of a patch without a third of one voxel."""
    return patch[:2] if patch[2] == 1 else patch


def check_patch(
    patch: tuple[int, int, int], multiples: tuple[int, int, int], flat: bool = False
) -> None:
    """Whether a network can take a patch, whose sides must be multiples of so many voxels.

    Args:
        flat: the network is 2-D, and the third side is 1.

    Raises:
        UsageError: it cannot; names the nearest one that it can take.
    """
    fitting = [
        min(max(one, round(side / one) * one), MOST // one * one)
        for side, one in zip(patch, multiples, strict=True)
    ]
    fitting[2:] = [1] if flat else fitting[2:]
    if fitting != list(patch):
        least, *others = multiples
        if {least} == set(others):
            most = MOST // least * least
            kind = f"multiples of {least}" if least > 1 else "whole numbers"
            rule = f"{kind} from {least} to {most} voxels"
        else:
            rule = f"multiples of {', '.join(map(str, multiples))} voxels, axis by axis"
        raise UsageError(
            f"train.patch={list(patch)} does not fit the network",
            f"its sides must be {rule}",
            f"the nearest is train.patch={fitting}",
        )


def check_stride(stride: tuple[int, int, int] | None, patch: tuple[int, int, int]) -> None:
    """Whether windows of a patch's size, so many voxels apart, leave no gaps; None: half the patch.

    Raises:
        UsageError: they do; names the nearest stride that does not.
    """
    if stride is None:
        return
    fitting = [min(pair) for pair in zip(stride, patch, strict=True)]
    if fitting != list(stride):
        raise UsageError(
            f"predict.stride={list(stride)} is longer than train.patch={list(patch)}",
            "windows would leave gaps between them",
            f"the nearest is predict.stride={fitting}",
        )


def digest(value: Any) -> str:
    """8 hex characters of the canonical JSON of a plain value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
