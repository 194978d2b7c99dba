"""A plan as plain values, for the other processes of a run, which make the same of it."""

from collections.abc import Mapping
from typing import Any

from medssl.data.spec import load_spec
from medssl.errors import UsageError
from medssl.pipeline.config import Config
from medssl.pipeline.family import find_family
from medssl.pipeline.plan import Plan, make_plan
from medssl.pipeline.sections import known_method, method_settings, validate


def plain_plan(plan: Plan[Any, Any]) -> dict[str, Any]:
    """What `plan_of` needs, as texts, numbers and lists."""
    return {
        "resolved": plan.config.resolved(),
        "settled": plan.config.settled,
        "specs": [spec.name for spec in plan.config.specs],
        "kept_out": sorted(plan.kept_out),
        "stages": {name: str(stage.folder) for name, stage in plan.stages.items()},
    }


def plan_of(plain: Mapping[str, Any]) -> Plan[Any, Any]:
    """The plan that another process told.

    Raises:
        UsageError: here it is another one, as the data or the code are not the same.
        DataError: the data set is missing.
    """
    resolved = plain["resolved"]
    method = known_method(resolved["method"]["name"])
    kind: type[Config[Any]] = find_family(method.family).config(method)
    pipeline = validate(kind.file, resolved)
    specs = tuple(map(load_spec, plain["specs"]))
    settings = method_settings(pipeline.method)
    config: Config[Any] = kind(pipeline, settings, specs, resolved, plain["settled"])
    plan = make_plan(config, kept_out=frozenset(plain["kept_out"]))
    if {name: str(stage.folder) for name, stage in plan.stages.items()} != plain["stages"]:
        raise UsageError(
            "the processes of this run do not see the same data and settings",
            "the first one wants its results in other folders than this one",
            "start all of them in one folder, with the same MEDSSL_DATA, MEDSSL_RUNS and medssl",
        )
    return plan
