"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from medssl.families.segment.asked import Asked
from medssl.families.segment.carry_out import predict_missing
from medssl.families.segment.cohort import PAGE, SegmentPlan
from medssl.families.segment.cross_validation import corrected
from medssl.families.segment.model import open_model
from medssl.pipeline.folds import model_of_fold
from medssl.pipeline.manifest import ALL, Line, Shard
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.train.checkpoint import load_checkpoint, read_description
from medssl.train.distributed import TEAM
from medssl.train.folds import fold_folder
from medssl.train.track import Tracker


def predict_files(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device: str = "auto",
    overwrite: bool = False,
    statistics: Path | None = None,
    keep_ids: bool = False,
) -> list[Path]:
    """Predict images that need no pipeline and no data spec; returns the masks, in order.

    Args:
        overrides: keys of the `predict` section, e.g. "flips=true", over the checkpoint's own.
        out, overwrite, statistics, keep_ids: see `Model.predict`.

    Raises:
        UsageError, DataError: as `open_model` and `Model.predict`.
    """
    model = open_model(checkpoint, overrides, device)
    return model.predict(files, out, reporter, overwrite, statistics, keep_ids)


def predict_in_words(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device: str = "auto",
    overwrite: bool = False,
    lines: Sequence[Line] = (),
    shard: Shard = ALL,
    **named: Any,
) -> str:
    """As `predict_files`, or `Model.predict_lines`; returns how many masks there are, and where."""
    if lines:
        model = open_model(checkpoint, overrides, device)
        good = model.predict_lines(lines, shard, out, reporter, overwrite, **named)
        part = f" of shard {shard.rank + 1} of {shard.size}" if shard != ALL else ""
        return f"{good} lines{part} have their masks in {out}"
    given = checkpoint, files, out, overrides, reporter, device, overwrite
    said = f"{len(predict_files(*given, **named))} masks in {out}"
    table = named.get("statistics")
    said += "" if table is None else f", their volumes in {table}"
    return f"{said}, their pages in {out / PAGE}" if "report=true" in overrides else said


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Predict the test cases whose masks are not there, each by a model that has not seen it.

    Raises:
        UsageError, DataError: as `predict_files`.
    """
    parts, device = _asked(job.plan), job.plan.config.pipeline.train.device
    for asked in parts:
        predictor = load_checkpoint(asked.checkpoint)[0]
        with TEAM.first():
            outputs = asked.outputs(overwrite=True)
        predict_missing(asked, predictor, outputs, job.reporter, device)
    return {"cases": sum(len(asked.cases) for asked in parts)}


def intact(job: Job) -> bool:
    """Whether the masks of all test cases are there as they were written."""
    return not any(asked.missing(asked.outputs(overwrite=True)) for asked in _asked(job.plan))


def mask_folder(plan: SegmentPlan, case: str) -> Path:
    """Where the mask of a test case is: in the stage's folder, or in that of a fold."""
    return fold_folder(plan.folder("predict"), plan.cohort.fold_of(case))


def _asked(plan: SegmentPlan) -> list[Asked]:
    """What the final model is to predict, and what each fold."""
    out = plan.folder("predict")
    return [
        asked_of_run(plan, model_of_fold(plan, number), fold_folder(out, number), wanted, number)
        for number, wanted in plan.cohort.answers()
    ]


def asked_of_run(
    plan: SegmentPlan,
    model: Path,
    out: Path,
    wanted: Collection[str],
    number: int | None = None,
    measures: bool = False,
) -> Asked:
    """What one model is to predict, with the corrections that were chosen for it.

    Args:
        wanted: ids of the cases.
        number: of the fold; None: the final model.
        measures: whether they are measured too.
    """
    pipeline, channels = plan.config.pipeline, plan.config.spec.channels
    cases = {
        case.id: tuple(dict.fromkeys(case.images[name] for name in channels))
        for case in plan.cohort.cases
        if case.id in set(wanted)
    }
    found = read_description(model)
    if found.mirrored is None:  # earlier ones left out along which axes training mirrored
        found = found.model_copy(update={"mirrored": pipeline.mirrored})
    train, spec = plan.folder("train"), plan.config.spec
    settings = corrected(pipeline.predict, train, number, spec)
    return Asked(model, found, settings, cases, out, measures)
