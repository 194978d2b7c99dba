"""The stage that gives every case without a label its mask, and says which to correct first."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from medssl.data.layouts import data_folder
from medssl.data.volume import read_mask, read_volume
from medssl.evaluate.masks_page import MOST, MaskCard, draw_mask, write_masks_page
from medssl.families.segment.asked import Asked
from medssl.families.segment.cohort import PAGE, VOLUMES, SegmentPlan, unlabelled_cases
from medssl.families.segment.predict import asked_of_run
from medssl.infer.measure import Measured, ranked, write_volumes
from medssl.names import some_of
from medssl.pipeline.inputs import paths_of
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import load_checkpoint
from medssl.train.track import Tracker

FIRST = 5
"""So many cases are named as the first to be corrected."""


def unlabelled(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Predict the unlabelled cases whose masks are not there; then the table and the page.

    Raises:
        UsageError, DataError: as `medssl.families.segment.predict.predict_files`.
    """
    asked = _asked(job.plan)
    outputs = asked.outputs(overwrite=True)
    predictor = load_checkpoint(asked.checkpoint)[0]
    asked.predict(predictor, outputs, job.reporter, job.plan.config.pipeline.train.device)
    measured = asked.measured(outputs)
    labels = [(label.value, label.name) for label in asked.found.labels]
    told = asked.found.empty_masks, asked.limit
    write_volumes(asked.out / VOLUMES, measured, labels, *told)
    order = ranked(measured, *told)
    title = job.plan.config.pipeline.title or job.plan.config.pipeline.name
    cards = _cards(asked, measured, order[:MOST])
    write_masks_page(asked.out / PAGE, title, cards, asked.found.classes, len(order))
    for name in (VOLUMES, PAGE):
        tracker.artifact(asked.out / name)
    return {"cases": len(order), "first": order[:FIRST]}


def intact(job: Job) -> bool:
    """Whether the masks of all unlabelled cases are there as they were written."""
    asked = _asked(job.plan)
    beside = all((asked.out / name).is_file() for name in (VOLUMES, PAGE))
    return beside and not asked.missing(asked.outputs(overwrite=True))


def found(plan: SegmentPlan) -> list[str]:
    """What was not scored, and which masks to correct first, in lines."""
    lines = []
    if "evaluate" in plan.stages:
        lines.append(_scored(plan))
    else:
        lines.append("nothing was scored: no labelled case was kept for a test (split.test=NUMBER)")
    if "unlabelled" in plan.stages:
        facts = plan.stages["unlabelled"].facts
        lines.append(
            f"{facts['cases']} cases without a label have a mask now; correct first, where the "
            f"model doubts most: {some_of(facts['first'], FIRST)}"
        )
        if place := _place(plan, str(facts["first"][0])):
            lines.append(f"a corrected mask becomes a label as {place}; then run again")
    return lines


def _scored(plan: SegmentPlan) -> str:
    """The scores in a line."""
    summary, cohort = plan.stages["evaluate"].facts["summary"], plan.cohort
    low, high = summary.get("dice_low"), summary.get("dice_high")
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    folded = cohort.folds and not cohort.split.test
    what = "labelled cases, each answered by a model that had not seen it"
    on = f"{len(cohort.test)} {what if folded else 'test cases'}"
    return f"Dice {summary['dice']:.3f}{interval} on {on}"


def _place(plan: SegmentPlan, case: str) -> str:
    """Where the layout looks for the mask of a case; empty where its name does not say it."""
    spec = plan.config.spec
    pattern = str((spec.layout.model_extra or {}).get("label") or "")
    if pattern.count("{case}") == 0 or set("*?").intersection(pattern) or "{patient}" in pattern:
        return ""
    return str(data_folder(spec) / pattern.replace("{case}", case))


def _asked(plan: SegmentPlan) -> Asked:
    wanted = [case.id for case in unlabelled_cases(plan.cohort)]
    return asked_of_run(plan, plan.model, plan.folder("unlabelled"), wanted, measures=True)


def _cards(asked: Asked, measured: Mapping[str, Measured], order: list[str]) -> Iterator[MaskCard]:
    """What the page shows of each case; images, masks and maps are read again."""
    values = np.zeros(256, np.uint8)
    values[list(asked.found.label_values)] = np.arange(len(asked.found.label_values))
    for name in order:
        one = measured[name]
        image = read_volume(paths_of(asked.cases[name]))
        names = asked.names(name)
        mask = read_mask(asked.out / names[0])
        unsure = asked.out / next((one for one in names if "_entropy." in one), "_entropy")
        entropy = read_volume(unsure).array[0] if unsure.is_file() else None
        png = draw_mask(image.array[0], values[mask.array[0]], image.geometry, entropy)
        yield MaskCard(name, one.doubt, one.empty, _volumes(asked, one), png)


def _volumes(asked: Asked, one: Measured) -> list[str]:
    return [f"{label.name} {one.said(index)}" for index, label in enumerate(asked.found.labels)]
