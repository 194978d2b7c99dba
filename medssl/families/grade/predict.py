"""The prediction stage of radiographs: grades of a pipeline's test images, and of any file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.radiograph.read import is_radiograph, make_crops, read_radiograph, stem
from medssl.data.radiograph.settings import CropSettings
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.evaluate.grade_report import graded, write_grades
from medssl.families.grade.cohort import GradePlan
from medssl.families.grade.config import FileSettings
from medssl.infer.grade import calibrated, grade_logits
from medssl.pipeline.config import overridden
from medssl.pipeline.inputs import files_by_name
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.train.description import weights_hash
from medssl.train.grade_checkpoint import load_grade_checkpoint
from medssl.train.track import Tracker

GRADES = "grades.csv"


def predict_in_words(*given: Any) -> str:
    """As `predict_radiographs`; returns where the grades are."""
    return f"grades   {predict_radiographs(*given)}"


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Grade the test images into grades.csv; no true grade is read."""
    plan: GradePlan = job.plan
    pipeline, path = plan.config.pipeline, plan.folder("predict") / GRADES
    images = plan.cohort.places("test")
    network, found = load_grade_checkpoint(plan.model)
    device = choose_device(pipeline.train.device)
    given = network.to(device), job.data, list(images), pipeline.predict.batch, device
    probability = calibrated(grade_logits(*given), found.temperature)
    write_grades(path, graded(list(images.values()), probability), found.grades)
    tracker.artifact(path)
    return {}


def predict_radiographs(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device_name: str = "auto",
    overwrite: bool = False,
) -> Path:
    """Grade PNG, JPEG or DICOM files; a folder stands for those in it. Returns the CSV.

    Args:
        checkpoint: folder of weights and description; neither pipeline nor data are needed.
        out: folder of the CSV; nothing is written where a file cannot be graded.
        overrides: e.g. ["side=L", "spacing=0.2"]: what the files do not say themselves.
        overwrite: replace other grades in `out`.

    Raises:
        UsageError: no checkpoint, an unknown override, two files of one name, or `out` holds inputs
            or other grades.
        DataError: a file is missing or damaged, or lacks the side or spacing that is needed.
    """
    device = choose_device(device_name)
    network, found = load_grade_checkpoint(checkpoint)
    said = overridden(FileSettings, overrides, "")
    paths = files_by_name(files, is_radiograph, stem, "radiograph", "a PNG, JPEG or DICOM file")
    refuse_inputs(out, files)
    made = {"weights": weights_hash(checkpoint), "settings": said.model_dump(mode="json")}
    sources = {name: fingerprint_of([path]) for name, path in paths.items()}
    outputs = Outputs(out, made, sources, {"": [GRADES]}, overwrite, whole=True)
    crops = []
    with Steps(reporter, len(paths)) as steps:
        for path in paths.values():
            crops.append(_crops(path, found.crop, said))
            steps.advance()
    logits = grade_logits(network.to(device), np.stack(crops), range(len(crops)), 64, device)
    probability = calibrated(logits, found.temperature)
    with outputs.writing([GRADES]) as (path,):
        write_grades(path, graded(list(paths), probability), found.grades)
    return out / GRADES


def _crops(path: Path, settings: CropSettings, said: FileSettings) -> np.ndarray:
    image = read_radiograph(path)
    if said.side and image.side and said.side != image.side:
        raise UsageError(
            f"{path} is of the side {image.side} by its header",
            f"side={said.side} was given",
            "leave it out; files whose header states their side need none",
        )
    image = replace(image, side=image.side or said.side).with_spacing(said.spacing)
    return make_crops(image, settings)
