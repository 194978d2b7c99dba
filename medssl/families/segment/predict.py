"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.dicom.study import StudyFiles
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.forms import FORMS
from medssl.export.terms import guessed
from medssl.families.segment.asked import Asked
from medssl.families.segment.cohort import VOLUMES, SegmentPlan
from medssl.families.segment.cross_validation import corrected
from medssl.infer.cleaning import Cleaning
from medssl.infer.measure import write_volumes
from medssl.names import some_of
from medssl.pipeline.config import overridden
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.outputs import refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.section import check_stride
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint, read_description
from medssl.train.description import GUARD
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
) -> list[Path]:
    """Predict images that need no pipeline and no data spec; returns the masks, in order.

    Args:
        overrides: keys of the `predict` section, e.g. "flips=true", over the checkpoint's own.
        out: receives CASE.nii.gz and, as asked for, CASE_entropy.nii.gz and
            CASE_probability_VALUE.nii.gz, each on the grid of its image; `predict.format` chooses
            another ending. Of studies also volumes.csv and, what each series is, series.csv.
        overwrite: replace other predictions and other files that are in the way in `out`.
        statistics: CSV to write of the volume of each structure and the doubt of each case.

    Raises:
        UsageError: no checkpoint, a wrong key, a stride that leaves gaps, mirrored copies of what
            training never mirrored, or `out` holds inputs, other predictions or other files of the
            same names.
        DataError: cases cannot be predicted; all others are written.
    """
    choose_device(device)
    found = read_description(checkpoint)
    settings = overridden(PredictSettings, overrides, "predict.", found.predict.model_dump())
    check_stride(settings.stride, found.patch)
    Cleaning.of(settings, found.classes)
    _check_flips(checkpoint, found, settings)
    cases = find_inputs(files, found.channels)
    _check_form(settings, cases, found, reporter)
    refuse_inputs(out, files)
    predictor, found = load_checkpoint(checkpoint)
    statistics = statistics or _usual_table(out, cases)
    measures, failed = statistics is not None, dict[str, DataError]()
    asked = Asked(checkpoint, found, settings, cases, out, measures, failed)
    if settings.guard and not (checkpoint / GUARD).is_file():
        reporter.note(f"{checkpoint} has no guard: scans unlike those of training are not marked")
    outputs = asked.outputs(overwrite)
    masks = asked.predict(predictor, outputs, reporter, device)
    if statistics is not None and len(failed) < len(cases):
        labels = [(label.value, label.name) for label in found.labels]
        write_volumes(statistics, asked.measured(outputs), labels, found.empty_masks, asked.limit)
    _refuse_failed(failed, len(cases), out)
    return masks


def _check_form(
    settings: PredictSettings,
    cases: Mapping[str, Input],
    found: Checkpoint,
    reporter: QuietReporter,
) -> None:
    """Refuse files that the form of the results cannot refer to; warn of codes that it guesses."""
    if settings.format is None or not FORMS[settings.format].series:
        return
    for given in cases.values():
        if not isinstance(given, StudyFiles) and not given[0].is_dir():
            raise UsageError(
                f"{given[0]} cannot be answered with --format {settings.format}",
                "it is no DICOM series, which such a file refers to",
                "give DICOM series, or choose --format nifti, nrrd or mha",
            )
    for warning in guessed(found.labels):
        reporter.warn(warning)


def _usual_table(out: Path, cases: Mapping[str, Input]) -> Path | None:
    """Of studies the volumes are always written."""
    studies = any(isinstance(given, StudyFiles) for given in cases.values())
    return out / VOLUMES if studies else None


def _refuse_failed(failed: Mapping[str, DataError], count: int, out: Path) -> None:
    """Tell in the end, and by the exit code, that cases are missing.

    Raises:
        MedsslError: what is wrong with the only case; DataError: which of several are missing.
    """
    if not failed:
        return
    if count == 1:
        raise next(iter(failed.values()))
    raise DataError(
        f"{len(failed)} of {count} cases have no mask: {some_of(list(failed))}",
        f"the other {count - len(failed)} are in {out}",
        "each is told above; the same command does what is missing",
    )


def predict_in_words(
    checkpoint: Path, files: Sequence[Path], out: Path, *given: Any, **named: Any
) -> str:
    """As `predict_files`; returns how many masks there are, and where."""
    said = f"{len(predict_files(checkpoint, files, out, *given, **named))} masks in {out}"
    table = named.get("statistics")
    return said if table is None else f"{said}, their volumes in {table}"


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Predict the test cases whose masks are not there, each by a model that has not seen it.

    Raises:
        UsageError, DataError: as `predict_files`.
    """
    parts, device = _asked(job.plan), job.plan.config.pipeline.train.device
    for asked in parts:
        predictor = load_checkpoint(asked.checkpoint)[0]
        asked.predict(predictor, asked.outputs(overwrite=True), job.reporter, device)
    return {"cases": sum(len(asked.cases) for asked in parts)}


def intact(job: Job) -> bool:
    """Whether the masks of all test cases are there as they were written."""
    return not any(asked.missing(asked.outputs(overwrite=True)) for asked in _asked(job.plan))


def mask_folder(plan: SegmentPlan, case: str) -> Path:
    """Where the mask of a test case is: in the stage's folder, or in that of a fold."""
    return fold_folder(plan.folder("predict"), plan.cohort.fold_of(case))


def _asked(plan: SegmentPlan) -> list[Asked]:
    """What the final model is to predict, and what each fold."""
    train, found = plan.folder("train"), []
    for number, wanted in plan.cohort.answers():
        model = fold_folder(train, number) / plan.model.relative_to(train)
        out = fold_folder(plan.folder("predict"), number)
        found.append(asked_of_run(plan, model, out, wanted, number))
    return found


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


def _check_flips(checkpoint: Path, found: Checkpoint, settings: PredictSettings) -> None:
    """Refuse mirrored copies of a kind that the network has never seen."""
    if not settings.flips or found.mirrored:
        return
    unknown = found.mirrored is None
    raise UsageError(
        f"predict.flips=true cannot be used with {checkpoint}",
        "it does not say along which axes its training mirrored, as medssl now writes down"
        if unknown
        else "its training mirrored along no axis, so the network answers mirrored copies wrongly",
        "leave it out" + ("" if unknown else ", or train with augment.basic.flip=half"),
    )
