"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.volume import FORMATS, read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.meaning import empty_mask
from medssl.families.segment.cohort import SegmentPlan
from medssl.families.segment.config import WITHOUT_EFFECT, SegmentConfig
from medssl.infer.predict import Prediction, predict_case
from medssl.networks.ensemble import Ensemble
from medssl.overrides import apply_override
from medssl.pipeline.config import validate
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.section import check_stride
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint, read_description
from medssl.train.description import weights_hash
from medssl.train.track import Tracker

_SHEARED = (
    "{mask} does not open in 3D Slicer, ITK-SNAP and other viewers built on ITK: the image's axes "
    "are not at right angles, as of a CT with a tilted gantry, and NIfTI files of such are refused "
    "there; predict with --format nrrd for a file that opens"
)


def predict_files(
    checkpoint: Path,
    files: Sequence[Path],
    out: Path,
    overrides: Sequence[str],
    reporter: QuietReporter,
    device: str = "auto",
    overwrite: bool = False,
) -> list[Path]:
    """Predict images that need no pipeline and no data spec; returns the masks, in order.

    Args:
        overrides: keys of the `predict` section, e.g. "flips=true", over the checkpoint's own.
        out: receives CASE.nii.gz and, as asked for, CASE_entropy.nii.gz and
            CASE_probability_VALUE.nii.gz, each on the grid of its image; `predict.format` chooses
            another ending.
        overwrite: replace other predictions and other files that are in the way in `out`.

    Raises:
        UsageError: no checkpoint, a wrong key, a stride that leaves gaps, mirrored copies of what
            training never mirrored, or `out` holds inputs, other predictions or other files of the
            same names.
        DataError: a file cannot be used; the cases before it are written.
    """
    choose_device(device)
    found = read_description(checkpoint)
    plain = found.predict.model_dump()
    for one in overrides:
        apply_override(plain, one)
    settings = validate(PredictSettings, plain, "predict.")
    check_stride(settings.stride, found.patch)
    _check_flips(checkpoint, found, settings)
    cases = find_inputs(files, found.channels)
    refuse_inputs(out, files)
    predictor, found = load_checkpoint(checkpoint)
    outputs = _outputs(out, checkpoint, found, settings, cases, overwrite)
    return _predict(predictor, found, settings, cases, out, outputs, reporter, device)


def predict_in_words(
    checkpoint: Path, files: Sequence[Path], out: Path, *given: Any, **named: Any
) -> str:
    """As `predict_files`; returns how many masks there are, and where."""
    return f"{len(predict_files(checkpoint, files, out, *given, **named))} masks in {out}"


def predict(job: Job, tracker: Tracker) -> dict[str, Any]:
    """Predict the test cases whose masks are not there.

    Raises:
        UsageError, DataError: as `predict_files`.
    """
    plan, asked = job.plan, _asked(job.plan)
    predictor = load_checkpoint(asked.checkpoint)[0]
    folder, device = plan.folder("predict"), plan.config.pipeline.train.device
    given = predictor, asked.found, asked.settings, asked.cases, folder
    _predict(*given, asked.outputs(folder), job.reporter, device)
    return {"cases": len(asked.cases)}


def intact(job: Job) -> bool:
    """Whether the masks of all test cases are there as they were written."""
    asked = _asked(job.plan)
    outputs = asked.outputs(job.plan.folder("predict"))
    return all(outputs.has(_names(case, asked.found, asked.settings)) for case in asked.cases)


@dataclass(frozen=True)
class _Asked:
    """What the prediction stage of a run is to predict, and with what."""

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    cases: Sequence[Input]

    def outputs(self, folder: Path) -> Outputs:
        given = self.checkpoint, self.found, self.settings, self.cases
        return _outputs(folder, *given, overwrite=True)


def _asked(plan: SegmentPlan) -> _Asked:
    pipeline, channels = plan.config.pipeline, plan.config.spec.channels
    cases = [
        Input(case.id, tuple(dict.fromkeys(case.images[name] for name in channels)))
        for case in plan.cohort.test
    ]
    checkpoint = plan.folder("train") / "checkpoint" / pipeline.predict.checkpoint
    found = _as_trained(read_description(checkpoint), plan.config)
    return _Asked(checkpoint, found, pipeline.predict, cases)


def _predict(
    predictor: Ensemble,
    found: Checkpoint,
    settings: PredictSettings,
    cases: Sequence[Input],
    out: Path,
    outputs: Outputs,
    reporter: QuietReporter,
    device_name: str,
) -> list[Path]:
    """Predict the cases whose results are missing."""
    device = choose_device(device_name)
    network = _chosen(predictor, settings).to(device)
    masks = {case.id: out / f"{case.id}{FORMATS[settings.format]}" for case in cases}
    missing = [case for case in cases if not outputs.has(_names(case, found, settings))]
    with Steps(reporter, len(cases), len(cases) - len(missing)) as steps:
        for case in missing:
            volume = read_volume(case.paths)
            if len(volume.array) != len(found.channels):
                raise DataError(
                    f"{case.paths[0]} gives {len(volume.array)} channels",
                    f"the checkpoint wants {len(found.channels)}: {', '.join(found.channels)}",
                    "give a folder with one image per channel",
                )
            prediction = predict_case(
                network,
                volume,
                found.preprocess,
                found.patch,
                settings,
                len(found.classes),
                device,
                found.mirrored or (),
            )
            _write(prediction, found, case, settings, outputs)
            if not prediction.labels.any():
                reporter.warn(empty_mask(case.id, found.empty_masks))
            if settings.format == "nifti" and not volume.geometry.opens_as_nifti:
                reporter.warn(_SHEARED.format(mask=masks[case.id]))
            steps.advance()
    return list(masks.values())


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
        "leave it out" + ("" if unknown else ", or train with augment.flip=half"),
    )


def _as_trained(found: Checkpoint, config: SegmentConfig) -> Checkpoint:
    """The description with the axes that its training mirrored, which earlier ones left out."""
    if found.mirrored is not None:
        return found
    return found.model_copy(update={"mirrored": config.pipeline.augment.mirrored})


def _chosen(predictor: Ensemble, settings: PredictSettings) -> Ensemble:
    """All networks, or the one asked for."""
    if settings.network == "ensemble":
        return predictor
    index = ("first", "second").index(settings.network)
    if index >= len(predictor.members):
        raise UsageError(
            f"predict.network={settings.network} does not exist",
            f"the checkpoint holds {len(predictor.members)} network",
            "choose predict.network=ensemble",
        )
    return Ensemble([predictor.members[index]]).eval()


def _names(case: Input, found: Checkpoint, settings: PredictSettings) -> list[str]:
    """File names of a case's results; the mask, which appears last, is the first."""
    ending = FORMATS[settings.format]
    names = [f"{case.id}{ending}"]
    if "entropy" in settings.save:
        names.append(f"{case.id}_entropy{ending}")
    if "probabilities" in settings.save:
        names += [f"{case.id}_probability_{value}{ending}" for value in found.label_values]
    return names


def _write(
    prediction: Prediction,
    found: Checkpoint,
    case: Input,
    settings: PredictSettings,
    outputs: Outputs,
) -> None:
    grid = prediction.geometry
    maps = [] if prediction.entropy is None else [prediction.entropy]
    maps += [] if prediction.probabilities is None else list(prediction.probabilities)
    with outputs.writing(_names(case, found, settings)) as (mask, *beside):
        for path, one in zip(beside, maps, strict=True):
            write_volume(one, grid, path)
        write_mask(np.array(found.label_values, np.uint8)[prediction.labels], grid, mask)


def _outputs(
    folder: Path,
    checkpoint: Path,
    found: Checkpoint,
    settings: PredictSettings,
    cases: Sequence[Input],
    overwrite: bool,
) -> Outputs:
    """What the folder holds of the wanted results.

    Raises:
        UsageError: it holds others, or files that are in the way.
    """
    made: dict[str, Any] = {
        "weights": weights_hash(checkpoint),
        "predict": settings.model_dump(mode="json", exclude=WITHOUT_EFFECT["predict"]),
    }
    if settings.flips:
        made["mirrored"] = list(found.mirrored or ())
    sources = {case.id: fingerprint_of(case.paths) for case in cases}
    names = {case.id: _names(case, found, settings) for case in cases}
    outputs = Outputs(folder, made, sources, names, overwrite)
    outputs.begin()  # a folder that cannot be written to is said before the work
    return outputs
