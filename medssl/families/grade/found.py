"""What a finished run that grades says to people: its score, and what to do next."""

import shlex
from pathlib import Path

from medssl.families.grade.cohort import GradePlan, results
from medssl.pipeline.results import score_in_words

FEW = 3
"""Folders that are named one by one."""


def found(plan: GradePlan) -> list[str]:
    """The score in a line, and how images without a grade are graded, if there are any."""
    return [*score_in_words(plan), *_next(plan)]


def _next(plan: GradePlan) -> list[str]:
    bare = [case for case in plan.cohort.cases if case.extra["class"] is None]
    if not bare:
        return []
    folders = sorted({str(next(iter(case.images.values())).parent) for case in bare})
    more = f"; so are those in {len(folders) - FEW} more folders" if len(folders) > FEW else ""
    model, out = results(plan)["model"], Path("grades") / plan.config.pipeline.name
    asked = shlex.join(["medssl", "predict", str(model), *folders[:FEW], "--out", str(out)])
    what = "1 image has no grade" if len(bare) == 1 else f"{len(bare)} images have no grade"
    return [f"{what} yet: `{asked}` grades what is there{more}"]
