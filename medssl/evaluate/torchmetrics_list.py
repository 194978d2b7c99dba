"""Writes torchmetrics_list.json: what `torchmetrics:NAME` can be, with the arguments of each.

`python -m medssl.evaluate.torchmetrics_list` tries every class of torchmetrics' packages for
classification and segmentation: those that give one number of the cases of medssl are listed. The
list is read where a pipeline is checked, so that neither torch nor torchmetrics is imported there.
"""

import inspect
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

LIST = Path(__file__).with_suffix(".json")

SETTLED = frozenset(
    {
        *("num_classes", "num_labels", "include_background", "input_format", "spacing"),
        *("threshold", "thresholds", "normalization", "validate_args"),
        *("ignore_index", "multidim_average", "per_class", "aggregation_level", "weight_type"),
    }
)
"""Arguments that medssl gives itself, or that change nothing of the cases it has."""

KINDS = {float: "a number", int: "a whole number", bool: "true or false"}


def made_list() -> dict[str, Any]:
    """The list as plain values, from the torchmetrics that is installed."""
    from torchmetrics import classification, segmentation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "classification": _listed(_classifying, classification),
            "segmentation": _listed(_segmenting, segmentation),
        }


def _listed(describe: Any, package: Any) -> dict[str, Any]:
    named = {name: describe(package, name) for name in sorted(package.__all__)}
    return {name: found for name, found in named.items() if found}


def _classifying(package: Any, name: str) -> dict[str, Any] | None:
    """A metric that has a form for two classes or for more; None for what is no such metric."""
    import torch

    forms: dict[str, Any] = {}
    better = reads = None
    for task, classes in (("binary", 2), ("multiclass", 3)):
        own = getattr(package, f"{task.capitalize()}{name}", None)
        if own is None:
            continue
        takes = inspect.signature(own.__init__).parameters
        arguments, needed = _arguments(takes)
        given = torch.linspace(0.05, 0.95, 12), torch.arange(12) % classes
        values = torch.stack([given[0]] * classes, 1).softmax(1) if classes > 2 else given[0]
        build = {"num_classes": classes} if classes > 2 else {}
        if _gives_a_number(own, build | dict.fromkeys(needed, 1.0), (values, given[1])):
            forms[task] = {"arguments": arguments, "needed": needed}
            better = own.higher_is_better
            reads = reads or ("classes" if "threshold" in takes else "probabilities")
    return {"higher_is_better": better, "reads": reads, **forms} if forms else None


def _segmenting(package: Any, name: str) -> dict[str, Any] | None:
    """A share of volumes; a distance would need a rule of its own for empty masks."""
    import torch

    kind = getattr(package, name)
    if not kind.higher_is_better:
        return None
    masks = torch.zeros((2, 1, 6, 7, 8), dtype=torch.long)
    masks[0, :, 1:4], masks[1, :, 2:5] = 1, 1
    build = {"num_classes": 2, "include_background": False, "input_format": "index"}
    if not _gives_a_number(kind, build, (masks[0], masks[1])):
        return None
    # The mean over classes is medssl's own, as each is scored alone.
    arguments, needed = _arguments(inspect.signature(kind.__init__).parameters, {"average"})
    return {"masks": {"arguments": arguments, "needed": needed}}


def _gives_a_number(kind: Any, build: dict[str, Any], given: tuple[Any, Any]) -> bool:
    try:
        metric = kind(**build)
        metric.update(*given)
        return bool(metric.compute().numel() == 1)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False


def _arguments(
    takes: Mapping[str, inspect.Parameter], settled: set[str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What each argument takes, a kind in words or choices, and which must be given."""
    found, needed = {}, []
    for name, parameter in takes.items():
        takes_what = _kind(parameter.annotation)
        if name in SETTLED | (settled or set()) or takes_what is None:
            continue
        found[name] = takes_what
        if parameter.default is inspect.Parameter.empty:
            needed.append(name)
    return found, needed


def _kind(annotation: Any) -> str | list[str] | None:
    if get_origin(annotation) is Literal:
        # "none" would give a number for each class.
        return [one for one in get_args(annotation) if one != "none"]
    if annotation in KINDS:
        return KINDS[annotation]
    inner = [one for one in get_args(annotation) if one is not type(None)]
    return _kind(inner[0]) if len(inner) == 1 else None


def list_text() -> str:
    """The file."""
    return json.dumps(made_list(), indent=1) + "\n"


if __name__ == "__main__":
    from medssl.atomic import write_text

    write_text(LIST, list_text())
