"""The section `evaluate` of volumes, and the metrics that it and its likes can name.

Free of torch, so that a wrong name is refused at once.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from medssl.errors import UsageError
from medssl.evaluate.metric import ClassMetric, Metric
from medssl.mistakes import nearest
from medssl.names import shown
from medssl.registry import METRICS
from medssl.section import Count, Items, Noun, Section

TORCHMETRICS = "torchmetrics:"
"""What the name of a metric of torchmetrics starts with."""

Choice = Annotated[str | dict[str, dict[str, Any]], Noun("names of metrics")]
"""A name, or `{NAME: {argument: value}}` of torchmetrics."""


Kind = TypeVar("Kind", Metric, ClassMetric)

_TOLD = {Metric: "masks", ClassMetric: "grades and calls"}
"""What each kind of metric of other packages tells how good it is."""


class Named(NamedTuple):
    """A metric that was chosen, and what it is given."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What its numbers are called: the name, and its arguments where there are some."""
        told = (f"{name} {value}" for name, value in sorted(self.arguments.items()))
        return " ".join((self.name, *told))

    @property
    def plain(self) -> Any:
        """The choice as a pipeline file has it."""
        return {self.name: dict(self.arguments)} if self.arguments else self.name

    @property
    def own_name(self) -> str:
        """The class of torchmetrics; empty where it is of another package."""
        own = self.name.removeprefix(TORCHMETRICS)
        return own if own != self.name else ""


def named(choice: str | Mapping[str, Mapping[str, Any]]) -> Named:
    """A choice that was checked, taken apart."""
    if isinstance(choice, str):
        return Named(choice, {})
    ((name, arguments),) = choice.items()
    return Named(name, arguments)


@cache
def listed(group: str) -> dict[str, Any]:
    """Metrics of torchmetrics by name, of "classification" or "segmentation".

    What each says is told by `medssl.evaluate.torchmetrics_list`.
    """
    path = Path(__file__).with_name("torchmetrics_list.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[group]
    return found


def must_fit_classes(choices: Sequence[Any], classes: int) -> None:
    """Refuse metrics, or arguments, that are not of so many classes.

    Raises:
        UsageError: there is one.
    """
    form, number = ("binary", "two classes") if classes == 2 else ("multiclass", "several classes")
    offered = listed("classification")
    for one in filter(lambda one: one.own_name, map(named, choices)):
        if form not in offered[one.own_name]:
            fitting = [f"{TORCHMETRICS}{name}" for name, forms in offered.items() if form in forms]
            raise UsageError(
                f"evaluate.metrics names {one.name}, which torchmetrics does not have for {number}",
                do=f"choose one of: {', '.join(fitting)}",
            )
        _check_arguments(one, [offered[one.own_name][form]], f" of {number}")


def _known(choices: tuple[Any, ...], group: str) -> tuple[Any, ...]:
    """The choices, each once, after a look at names and arguments."""
    return tuple(
        {one.key: one.plain for one in (_checked(each, group) for each in choices)}.values()
    )


def _checked(choice: Any, group: str) -> Named:
    if isinstance(choice, Mapping) and len(choice) != 1:
        raise UsageError(
            f"evaluate.metrics holds {shown(choice)}, which is not one metric",
            do=f"write e.g. {{{TORCHMETRICS}NAME: {{argument: value}}}}",
        )
    one = named(choice)
    if one.own_name or (group == "classification" and one.name not in METRICS.names()):
        return _of_torchmetrics(one, group)
    if one.arguments:
        raise UsageError(
            f"the metric {shown(one.name)} of evaluate.metrics takes no arguments",
            do="give its name alone",
        )
    if group == "classification":
        from_outside(one.name, ClassMetric)
    else:
        from_outside(one.name, Metric)
    return one


def from_outside(name: str, kind: type[Kind]) -> Kind:
    """The metric of another package.

    Raises:
        UsageError: there is none of that name, it is of the other kind, or it cannot be used.
    """
    found = METRICS.find(name, object, "evaluate.metrics")
    for other, told in _TOLD.items():
        if isinstance(found, other) and other is not kind:
            raise UsageError(
                f"the metric {shown(name)} of evaluate.metrics scores {told}",
                f"{_TOLD[kind]} are scored here",
                "leave it out",
            )
    metric = METRICS.find(name, kind, "evaluate.metrics")
    if metric.key != name:
        raise UsageError(
            f"the metric {shown(name)} of {METRICS.package(name)} cannot be used",
            f"its key is {shown(metric.key)}",
            "correct the package",
        )
    return metric


def _of_torchmetrics(one: Named, group: str) -> Named:
    """Arguments with numbers as torchmetrics wants them."""
    offered = listed(group)
    if one.own_name not in offered:
        raise UsageError(
            f"no metric is called {shown(one.name)} in evaluate.metrics",
            "cases are classified" if group == "classification" else "masks are scored in 3-D",
            nearest(one.name, [f"{TORCHMETRICS}{name}" for name in offered]),
        )
    forms = [form for form in offered[one.own_name].values() if isinstance(form, dict)]
    takes = _check_arguments(one, forms, "")
    floats = {name for name, kind in takes.items() if kind == "a number"}
    told = one.arguments.items()
    return Named(one.name, {key: float(value) if key in floats else value for key, value in told})


def _check_arguments(one: Named, forms: Sequence[Mapping[str, Any]], of: str) -> dict[str, Any]:
    """What each argument takes; refuses one that no form has, or a value that it does not take."""
    takes = {name: kind for form in forms for name, kind in form["arguments"].items()}
    for name, value in one.arguments.items():
        if name not in takes:
            raise UsageError(
                f"{one.name}{of} in evaluate.metrics has no argument {shown(name)}",
                do=nearest(name, list(takes)) or "give its name alone",
            )
        if not _fits(value, takes[name]):
            kind = takes[name]
            wanted = kind if isinstance(kind, str) else f"one of {', '.join(kind)}"
            raise UsageError(
                f"{one.name} in evaluate.metrics has {name}={shown(value)}", do=f"give {wanted}"
            )
    for name in (name for form in forms for name in form["needed"]):
        if name not in one.arguments:
            raise UsageError(
                f"{one.name} in evaluate.metrics lacks its argument {name}",
                do=f"write {{{one.name}: {{{name}: ...}}}}",
            )
    return takes


def _fits(value: Any, kind: str | Sequence[str]) -> bool:
    if not isinstance(kind, str):
        return value in kind
    if kind == "true or false":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if kind == "a whole number" else math.isfinite(value)


MaskMetrics = Annotated[
    tuple[Choice, ...], AfterValidator(lambda given: _known(given, "segmentation"))
]
"""Metrics of masks: of other packages by their entry points, and of torchmetrics."""

ClassMetrics = Annotated[
    tuple[Choice, ...], AfterValidator(lambda given: _known(given, "classification"))
]
"""Metrics of grades and calls: of other packages by their entry points, and of torchmetrics."""


class MeasuredSection(Section):
    """A section with `metrics`; without the key where there are none, as in earlier versions."""

    @model_serializer(mode="wrap")
    def _without_none(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = serialise(self)
        return plain if plain.get("metrics") else {k: v for k, v in plain.items() if k != "metrics"}


class EvaluateSettings(MeasuredSection):
    """Scores of the test cases."""

    tolerance: float = Field(default=1.0, gt=0, description="mm, normalised surface distance")
    pooled: bool = Field(default=False, description="also the voxel form of published tables")
    bootstrap: Items = Field(
        default=2000, ge=100, description="draws of cases for the 95 % intervals"
    )
    overlays: Count = Field(default=3, ge=0, description="best, median and worst cases drawn")
    metrics: MaskMetrics = Field(
        default=(),
        description="measured beside those of medssl: of other packages, or `torchmetrics:NAME` "
        "of its metrics of segmentation",
    )
