"""Keys that a pipeline leaves to a plan: into a run, onto the screen, or into the file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.plan.key import Planned
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.named_files import PIPELINES
from medssl.overrides import laid_over
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.insert import with_keys
from medssl.pipeline.plan import Cohort, Job, Plan, cohort_of
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.sections import validate
from medssl.registry import load
from medssl.yaml_text import rows_as_yaml


def with_plan(config: Config[Any], cohort: Cohort, reporter: QuietReporter) -> Config[Any]:
    """`config` with the keys that its pipeline leaves to a plan, which is made if need be.

    Raises:
        DataError, UsageError: a scan cannot be read, nothing fits what is at hand, or a given key
            does not fit the planned ones.
    """
    make = config.family.before.plan
    if config.is_planned or make is None:
        return config
    return _with_keys(config, load(make)(config, cohort, reporter))


def _with_keys(config: Config[Any], keys: Sequence[Planned]) -> Config[Any]:
    """The run with these keys below those that were given."""
    plain = below_given(keys, config.given)
    pipeline = validate(config.file, plain)
    changed: Config[Any] = replace(config, pipeline=pipeline, given=plain, settled=True)
    changed.check()
    changed.method.must_fit(changed)
    return changed


def below_given(keys: Sequence[Planned], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given keys of a pipeline with planned ones below them."""
    new, plain = _nested(keys), dict(given)
    for name, own in new.items():
        text = plain.get(name)
        if isinstance(text, str):  # the word of a chain, or a name
            plain[name] = {text: {}} if text in own else {"name": text}
        if isinstance(plain.get(name), dict) and "name" in plain[name]:
            own.setdefault("name", plain[name]["name"])  # the planned keys are those of this one
    return laid_over(new, plain)


def _nested(keys: Sequence[Planned]) -> dict[str, Any]:
    """Keys with dots as mappings in each other."""
    plain: dict[str, Any] = {}
    for one in keys:
        (*parents, last), value, _ = one.row
        place = plain
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return plain


def plan_in_words(
    name: str, overrides: Sequence[str], reporter: QuietReporter, write: bool = False
) -> str:
    """What is planned for a pipeline, with the reasons, as keys of its file.

    Args:
        write: put the keys into the file; those that it gives stay as they are.

    Raises:
        DataError, UsageError: as `with_plan`; or the pipeline is not one that is planned, or its
            file is not the user's own.
    """
    config = load_config(name, overrides)
    make = config.family.before.plan
    if make is None or "plan" not in config.file.model_fields:
        raise UsageError(
            f"nothing is planned for the pipeline {config.pipeline.name}",
            f"for its family '{config.family.name}' no keys follow from the cases",
            "give its keys by hand; `medssl keys` has all of them",
        )
    if getattr(config.pipeline, "plan", None) is None:
        config = load_config(name, [*overrides, "plan=auto"])
    path = PIPELINES.find(name)
    if write:
        _must_be_own(path)
    cohort = cohort_of(config)
    if config.is_planned:
        said = f"every key that could be planned is given in {path}"
        return said if write else "\n".join([said, *_foretold(config, cohort, reporter)])
    keys: Sequence[Planned] = load(make)(config, cohort, reporter)
    whole = _with_keys(config, keys)
    if not write:
        told = [f"# {line}" for line in _foretold(whole, cohort, reporter)]
        return "\n".join([*rows_as_yaml([one.row for one in keys]), *told])
    write_text(path, with_keys(path.read_text(encoding="utf-8"), keys))
    load_config(str(path))
    return f"wrote {len(keys)} keys into {path}; all that it gave is as it was"


def _foretold(config: Config[Any], cohort: Cohort, reporter: QuietReporter) -> list[str]:
    """What the run will take here, unless it is planned for another device."""
    device = choose_device(config.pipeline.train.device).type
    asked = getattr(config.pipeline, "plan", None)
    foretell = config.family.before.foretell
    if foretell is None or (asked and asked.device not in (None, device)):
        return []
    said = load(foretell)(Job(Plan(config, cohort, {}), reporter))
    return [said] if said else []


def _must_be_own(path: Path) -> None:
    shipped = PIPELINES.folders()[1]
    if path.resolve().is_relative_to(shipped.resolve()) and PIPELINES.folders()[0] != shipped:
        raise UsageError(
            f"{path} is a pipeline of medssl",
            "it is not changed",
            f"write one of your own that says `extends: {path.stem}`, and plan that",
        )
