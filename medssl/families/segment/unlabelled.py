"""The stage that gives every case without a label its mask, and says which to correct first."""

from typing import Any

from medssl.data.layouts import data_folder
from medssl.data.layouts.glob import CASE, LABEL, WHOLE
from medssl.families.segment.asked import Asked
from medssl.families.segment.carry_out import predict_missing
from medssl.families.segment.cohort import PAGE, VOLUMES, SegmentPlan, unlabelled_cases
from medssl.families.segment.index import write_index
from medssl.families.segment.predict import asked_of_run
from medssl.infer.measure import write_volumes
from medssl.names import some_of
from medssl.pipeline.plan import Job
from medssl.train.checkpoint import load_checkpoint
from medssl.train.distributed import TEAM
from medssl.train.track import Tracker

FIRST = 5
"""So many cases are named as the first to be corrected."""

_CORRECT = (
    "Correct from the top, as many as you have time for, put them beside the other masks and run "
    "again."
)


def unlabelled(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Predict the unlabelled cases whose masks are not there; then the table and the page.

    Raises:
        UsageError, DataError: as `medssl.families.segment.predict.predict_files`.
    """
    asked = _asked(job.plan)
    with TEAM.first():
        outputs = asked.outputs(overwrite=True)
    predictor, device = load_checkpoint(asked.checkpoint)[0], job.plan.config.pipeline.train.device
    predict_missing(asked, predictor, outputs, job.reporter, device)
    if not TEAM.leads:
        return {}
    measured = asked.measured(outputs)
    labels = [(label.value, label.name) for label in asked.found.labels]
    write_volumes(asked.out / VOLUMES, measured, labels, asked.found.empty_masks, asked.limit)
    title = job.plan.config.pipeline.title or job.plan.config.pipeline.name
    of = f"{title}: masks of cases without a label"
    order = write_index(asked.out / PAGE, of, _CORRECT, asked, measured)
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
    more = any(place in pattern for place in ("*", "?", "{patient}", "{part}"))
    if more or CASE not in pattern:
        return ""
    return str(data_folder(spec) / pattern.replace(LABEL, WHOLE).replace(CASE, case))


def _asked(plan: SegmentPlan) -> Asked:
    wanted = [case.id for case in unlabelled_cases(plan.cohort)]
    return asked_of_run(plan, plan.model, plan.folder("unlabelled"), wanted, measures=True)
