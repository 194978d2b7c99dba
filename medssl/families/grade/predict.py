"""The prediction stage of radiographs: grades of a pipeline's test images, and of any file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.slices import is_dicom
from medssl.data.dicom.study import image_name
from medssl.data.radiograph.image import Radiograph
from medssl.data.radiograph.read import is_radiograph, read_radiograph, stem
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.evaluate.grade_report import GradedImage, graded, write_grades
from medssl.families.grade.cohort import GradePlan
from medssl.families.grade.config import FileSettings
from medssl.families.grade.cross_validation import TEMPERATURES
from medssl.infer.grade import calibrated, grade_logits
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.folds import chosen_for, model_of_fold
from medssl.pipeline.inputs import files_by_name
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.pipeline.sections import overridden
from medssl.train.description import weights_hash
from medssl.train.distributed import TEAM
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.track import Tracker
from medssl.transforms.crops import CropPreparation

BATCH = 64
"""Loose images that are graded at once."""

GRADES, CROSS_VALIDATION = "grades.csv", "cross_validation.csv"


def predict_in_words(*given: Any, **named: Any) -> str:
    """As `predict_radiographs`; returns where the grades are."""
    return f"grades   {predict_radiographs(*given, **named)}"


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Grade the test images into grades.csv; no true grade is read.

    Those that folds leave out are graded by a model that has not seen them: into grades.csv too
    where no others are tested, else into cross_validation.csv.
    """
    plan: GradePlan = job.plan
    final, folds = list[GradedImage](), list[GradedImage]()
    for number, names in plan.cohort.answers():
        network, temperature = model_of(plan, number)
        found = calibrated(_logits(plan, network, names, job.data), temperature)
        (final if number is None else folds).extend(graded(names, found))
    if not TEAM.leads:
        return {}
    for name, images in tables_of(final, folds).items():
        write_grades(plan.folder("predict") / name, images, plan.config.grades)
        tracker.artifact(plan.folder("predict") / name)
    return {}


def tables_of(final: list[GradedImage], folds: list[GradedImage]) -> dict[str, list[GradedImage]]:
    """Name of the table of the images that are scored first, and of those beside them."""
    found = {GRADES: final or folds, CROSS_VALIDATION: folds if final else []}
    return {name: images for name, images in found.items() if images}


def model_of(plan: GradePlan, number: int | None) -> tuple[Ensemble, float]:
    """The networks of a fold, or the final ones, and the temperature of their answers."""
    network, found = load_grade_checkpoint(model_of_fold(plan, number))
    chosen = None if number is None else chosen_for(plan.folder("train") / TEMPERATURES, number)
    return network, found.temperature if chosen is None else float(chosen)


def _logits(
    plan: GradePlan, network: Ensemble, names: Sequence[str], crops: np.ndarray
) -> np.ndarray:
    """[S, K] of the named images; each process answers some of the batches."""
    pipeline, places = plan.config.pipeline, list(plan.cohort.places(names))
    device, batch = choose_device(pipeline.train.device), pipeline.predict.batch
    network.to(device)
    batches = [places[start : start + batch] for start in range(0, len(places), batch)]
    with TEAM.joined(device):
        return np.concatenate(
            TEAM.spread(lambda some: grade_logits(network, crops, some, batch, device), batches)
        )


def predict_radiographs(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device_name: str = "auto",
    overwrite: bool = False,
    keep_ids: bool = False,
) -> Path:
    """Grade PNG, JPEG or DICOM files; a folder stands for those in it. Returns the CSV.

    Args:
        checkpoint: folder of weights and description; neither pipeline nor data are needed.
        out: folder of the CSV; nothing is written where a file cannot be graded.
        overrides: e.g. ["side=L", "spacing=0.2"]: what the files do not say themselves.
        overwrite: replace other grades in `out`.
        keep_ids: name DICOM files as they are called, which may be after patients.

    Raises:
        UsageError: no checkpoint, an unknown override, two files of one name, or `out` holds inputs
            or other grades.
        DataError: a file is missing or damaged, or lacks the side or spacing that is needed.
    """
    device = choose_device(device_name)
    network, found = load_grade_checkpoint(checkpoint)
    said = overridden(FileSettings, overrides, "")

    def name_of(path: Path) -> str:
        return stem(path) if keep_ids or not is_dicom(path) else image_name(path)

    paths = files_by_name(files, is_radiograph, name_of, "radiograph", "a PNG, JPEG or DICOM file")
    for name, path in paths.items():
        if name != stem(path):
            reporter.note(f"{name} is {path}")
    refuse_inputs(out, files)
    made = {"weights": weights_hash(checkpoint), "settings": said.model_dump(mode="json")}
    sources = {name: fingerprint_of([path]) for name, path in paths.items()}
    outputs = Outputs(out, made, sources, {"": [GRADES]}, overwrite, whole=True)
    prepare, names = CropPreparation(found.preprocess), list(paths)
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    network.to(device)

    def answer(some: Sequence[str]) -> np.ndarray:
        crops = []
        for name in some:
            crops.append(prepare(_read(paths[name], said)))
            steps.advance()
        return grade_logits(network, np.stack(crops), range(len(crops)), BATCH, device)

    own = sum(map(len, TEAM.own(batches)))
    with TEAM.joined(device), Steps(reporter, own) as steps:
        logits = np.concatenate(TEAM.spread(answer, batches))
    if TEAM.leads:
        with outputs.writing([GRADES]) as (path,):
            write_grades(path, graded(names, calibrated(logits, found.temperature)), found.grades)
        outputs.end()
    return out / GRADES


def _read(path: Path, said: FileSettings) -> Radiograph:
    """The image in a file, with what was said of it."""
    image = read_radiograph(path)
    if said.side and image.side and said.side != image.side:
        raise UsageError(
            f"{path} is of the side {image.side} by its header",
            f"side={said.side} was given",
            "leave it out; files whose header states their side need none",
        )
    return replace(image, side=image.side or said.side).with_spacing(said.spacing)
