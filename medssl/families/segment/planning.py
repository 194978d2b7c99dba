"""The plan of a run that segments: made from its training scans once, kept, and reused.

It is a file beside the run's folders, which says why each value is what it is. Its name is a hash
of the scans, of what is at hand and of the keys that were given, so that every method and label
budget of a pipeline takes the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from medssl.atomic import write_text
from medssl.data.plan.budget import LEAST, Budget, budget_for
from medssl.data.plan.fingerprint import Fingerprint, fingerprint_of
from medssl.data.plan.key import Planned
from medssl.data.plan.patch import TooLittle
from medssl.data.plan.plan import SizePlan, plan_sizes
from medssl.data.plan.reasons import Names, planned_keys
from medssl.data.spec import Case
from medssl.device import choose_device
from medssl.environment import cache_root, runs_root
from medssl.errors import UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.plannable import (
    LEVELS,
    chain_word,
    fixed,
    network_keys,
    plannable,
    steering,
)
from medssl.networks.settings import UNETS
from medssl.pipeline.plan import Cohort
from medssl.pipeline.planned import below_given
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.pipeline.sections import validate
from medssl.section import digest
from medssl.train.fingerprint import fingerprint

VERSION = 9  # of the rules; raise it when they give other values


def plan(config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> Sequence[Planned]:
    """The keys that a pipeline leaves to its plan, which is made now where it is not kept.

    Raises:
        DataError: a scan cannot be read.
        UsageError: no patch fits what is at hand.
    """
    budget = budget_of(config)
    scans = training_scans(cohort, keeps_labels=_is_ct(config) or _kind(config) == "cpu")
    path = _place(config, scans, budget)
    if (known := _read(path)) is not None:
        reporter.note(f"planned sizes are in {path}")
        return known
    reporter.note(f"planning from {len(scans)} scans of {config.spec.name}")
    made = _keys(config, _sizes(config, scans, budget, reporter), budget)
    _write(path, made, fingerprint(scans))
    reporter.note(f"planned sizes are in {path}")
    return made


def _place(config: SegmentConfig, scans: Sequence[Case], budget: Budget) -> Path:
    """Where a plan that is made from these scans is kept."""
    about = [VERSION, fingerprint(scans), config.declared(), vars(budget), steering(config.given)]
    return runs_root() / config.pipeline.name / f"plan-{digest(about)}.yaml"


def training_scans(cohort: Cohort, keeps_labels: bool) -> list[Case]:
    """All cases that anything is learnt from, never those of validation and test.

    Args:
        keeps_labels: of those whose labels are learnt from; else none has a label.
    """
    learnt = {name for split in cohort.splits for name in split.labelled}
    others = {name for split in cohort.splits for name in split.unlabelled}
    kept = learnt if keeps_labels else set[str]()
    return [
        case if case.id in kept else replace(case, label=None)
        for case in cohort.cases
        if case.id in learnt | others
    ]


def budget_of(config: SegmentConfig) -> Budget:
    """What training may take on the device that is planned for.

    Raises:
        UsageError: it is a CPU with less memory than any training takes.
    """
    asked, kind = config.pipeline.plan, _kind(config)
    memory = asked.limit if asked is not None else None
    if kind == "cpu" and memory is not None and memory < LEAST:
        raise _too_little(memory, f"a training on a CPU takes {LEAST:g} GB", LEAST)
    keys = network_keys(config.given)
    name = keys.get("name", "")
    other = None if not name else name if name in UNETS else UNETS[0]  # stands for its like
    found = budget_for(kind, memory if memory is not None else _found(kind), other)
    if keys.get("features"):
        found = replace(found, given=tuple(keys["features"]))
    return found


def _kind(config: SegmentConfig) -> str:
    """The kind of device that is planned for: "cpu" or "cuda"."""
    asked = config.pipeline.plan
    device = (asked and asked.device) or choose_device(config.pipeline.train.device).type
    return "cpu" if device == "cpu" else "cuda"


def _found(kind: str) -> float:
    """GB at hand: of a GPU, as its class has it; a CPU has enough."""
    if kind == "cpu":
        return float("inf")
    import torch

    if not torch.cuda.is_available():
        return 8.0
    found = torch.cuda.get_device_properties(0).total_memory / 1e9
    return next((size for size in (24.0, 8.0) if found >= size), found)


def _sizes(
    config: SegmentConfig, scans: Sequence[Case], budget: Budget, reporter: QuietReporter
) -> SizePlan:
    given, spec = config.given, config.spec
    word = chain_word(given, spec.modality)
    with Counted(reporter) as counted:
        found = fingerprint_of(
            scans,
            spec,
            _orientation(config, word),
            cache_root() / spec.name / "fingerprints",
            lambda case: fingerprint([case]),
            counted,
        )
    _warn_of_others(found, _is_ct(config), reporter)
    kept = fixed(given, spec.modality, config.pipeline.preprocess.plain)
    try:
        return plan_sizes(found, len(spec.classes), _is_ct(config), budget, kept)
    except TooLittle as little:
        raise _no_patch(config, little, budget) from None


def _keys(config: SegmentConfig, sizes: SizePlan, budget: Budget) -> list[Planned]:
    given, spec = config.given, config.spec
    word = chain_word(given, spec.modality)
    names = Names(word, tuple(label.name for label in spec.labels))
    wanted = set(plannable(given, spec.modality))
    keys = [one for one in planned_keys(sizes, budget, names) if one.key in wanted]
    return _fitting(config, keys)


def _orientation(config: SegmentConfig, word: str | None) -> str | None:
    """The orientation of the axes that patches have."""
    if word is not None:
        part = config.given.get("preprocess")
        keys = part.get(word) if isinstance(part, Mapping) else None
        own = keys.get("orientation", "RAS") if isinstance(keys, Mapping) else "RAS"
        return str(own) if own else None
    for step in config.pipeline.preprocess.plain:
        if isinstance(step, Mapping) and "Orientationd" in step:
            return str(step["Orientationd"].get("axcodes", "RAS"))
    return None


def _fitting(config: SegmentConfig, keys: Sequence[Planned]) -> list[Planned]:
    """The keys with as many levels as were given, and with a patch that the network halves.

    Levels beyond those planned are like the coarsest one.
    """
    own = network_keys(config.given)
    levels = next((len(own[key]) for key in LEVELS if own.get(key)), None)
    names = {f"network.{key}" for key in LEVELS}
    cut = [
        replace(one, value=_as_many(one.value, levels)) if one.key in names and levels else one
        for one in keys
    ]
    plain = below_given([one for one in cut if one.key != "train.patch"], config.given)
    network = validate(config.file, {**plain, "train": {}}).network
    multiples = network.side_multiples
    return [
        replace(one, value=_padded(one.value, multiples)) if one.key == "train.patch" else one
        for one in cut
    ]


def _as_many(value: Sequence[Any], levels: int) -> list[Any]:
    return [*value[:levels], *[value[-1]] * (levels - len(value))]


def _padded(patch: Sequence[int], multiples: Sequence[int]) -> list[int]:
    return [-(-side // least) * least for side, least in zip(patch, multiples, strict=True)]


def _is_ct(config: SegmentConfig) -> bool:
    return chain_word(config.given, config.spec.modality) == "ct"


def _warn_of_others(found: Fingerprint, is_ct: bool, reporter: QuietReporter) -> None:
    """Tell where the window of CT, which the masks give, may not suit the other scans."""
    apart = found.apart() if is_ct else 0
    if apart:
        reporter.warn(
            f"{apart} of the scans with a mask have intensities beyond those of all scans without: "
            "the planned window may not suit these; set preprocess.ct.window, or draw a mask there"
        )


def _no_patch(config: SegmentConfig, little: TooLittle, budget: Budget) -> UsageError:
    """Not even the smallest patch fits."""
    features = budget.feature_counts(1, 3)[0]
    what = f"the smallest network with {features} features needs {little.factor:.3g} times as much"
    if _kind(config) == "cpu":
        limit = f"{what} as a CPU trains in a step"
        return UsageError("no patch fits a CPU", limit, "give fewer network.features")
    asked = config.pipeline.plan
    had = asked.limit if asked is not None and asked.limit is not None else _found("cuda")
    return _too_little(had, what, had * little.factor, ", or fewer network.features")


def _too_little(had: float, why: str, needed: float, also: str = "") -> UsageError:
    """Less memory than is needed, both in GB."""
    text = _memory(needed, ceil)
    return UsageError(
        f"{_memory(had, round)} of memory hold no patch at all",
        why,
        f"the nearest that works is plan.memory={text} (`--memory {text}`){also}",
    )


def _memory(size: float, whole: Callable[[float], int]) -> str:
    """GB in words, as `--memory` takes them, to a tenth."""
    if size > 0.1:
        return f"{whole(size * 10) / 10:g}GB"
    return f"{whole(size * 1e4) / 10:g}MB"


def _read(path: Path) -> tuple[Planned, ...] | None:
    """The plan of a file; None where there is none, or it is damaged."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(Planned(key, one["value"], one["why"]) for key, one in plain["keys"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None


def _write(path: Path, keys: Sequence[Planned], cases: str) -> None:
    plain = {
        "training_scans": cases,
        "keys": {one.key: {"value": one.value, "why": one.why} for one in keys},
    }
    head = "# What `medssl plan` shows; keys that the pipeline gives go before.\n"
    write_text(path, head + yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
