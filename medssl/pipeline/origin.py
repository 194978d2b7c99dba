"""Where the results in a report come from: the same lines for every family."""

from typing import Any

from medssl.evaluate.report import Origin
from medssl.pipeline.plan import Plan
from medssl.train.fingerprint import code_version
from medssl.train.jsonl_log import read_log


def origin(plan: Plan[Any, Any], curves: bytes | None) -> Origin:
    """Settings, split and code of a run whose evaluation has begun.

    Args:
        curves: the course of training, PNG; None where it is not drawn.
    """
    config, splits = plan.config, plan.cohort.splits
    return Origin(
        label=config.label,
        method=config.pipeline.method.name,
        paper=config.method.paper,
        checkpoint=getattr(config.pipeline.predict, "checkpoint", "best"),
        roles=plan.cohort.roles(),
        split_hash=", ".join(split.hash for split in splits),
        code=code_version(),
        config=(plan.last.folder / "config.yaml").read_text(encoding="utf-8"),
        curves=curves,
    )


def logged(plan: Plan[Any, Any]) -> list[tuple[int, dict[str, float]]]:
    """Steps and numbers of the training; none where there is no log."""
    path = plan.folder("train") / "metrics.jsonl"
    return [(entry.step, entry.values) for entry in read_log(path)]
