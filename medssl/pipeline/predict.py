"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask exists; the mask is written last and appears by one rename, so a killed
prediction continues with the cases that are missing.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import write_text
from medssl.data.volume import FORMATS, read_volume, write_mask, write_volume
from medssl.errors import DataError, UsageError
from medssl.infer.predict import Prediction, predict_case
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.config import WITHOUT_EFFECT, apply_override, validate
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.pipeline.stage import Plan, read_json
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint
from medssl.train.description import weights_hash
from medssl.train.loop import choose_device
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
) -> list[Path]:
    """Predict images that need no pipeline and no data spec; returns the masks, in order.

    Args:
        overrides: keys of the `predict` section, e.g. "flips=true", over the checkpoint's own.
        out: receives CASE.nii.gz and, as asked for, CASE_entropy.nii.gz and
            CASE_probability_VALUE.nii.gz, each on the grid of its image; `predict.format` chooses
            another ending.

    Raises:
        UsageError: no checkpoint, a wrong key, or `out` holds other predictions.
        DataError: a file cannot be used; the cases before it are written.
    """
    predictor, found = load_checkpoint(checkpoint)
    plain = found.predict.model_dump()
    for one in overrides:
        apply_override(plain, one)
    settings = validate(PredictSettings, plain, "predict.")
    cases = find_inputs(files, found.channels)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, checkpoint, settings, cases)
    return _predict(predictor, found, settings, cases, out, reporter, device)


def predict_stage(
    plan: Plan, checkpoint: Path, parent: str | None, reporter: QuietReporter
) -> Path:
    """Predict the test cases; returns the folder of the masks.

    Raises:
        UsageError, DataError: as `predict_files`.
    """
    stage, pipeline = plan.predict, plan.config.pipeline
    if stage.done:
        reporter.note(f"{plan.label}: predicted already, in {stage.folder}")
        return stage.folder
    stage.begin(plan.config.resolved(), plan.split.to_json())
    predictor, found = load_checkpoint(checkpoint)
    spec = plan.config.spec
    cases = [
        Input(case.id, tuple(dict.fromkeys(case.images[name] for name in spec.channels)))
        for case in plan.test
    ]
    reporter.note(f"{plan.label}: predicting {len(cases)} test cases")
    tags = {"stage": "predict", "method": pipeline.method.name, "split": plan.split.hash}
    name = f"predict {plan.label}"
    with Tracker(stage.folder, pipeline.name, name, parent, plan.config.flat(), tags) as tracker:
        _predict(
            predictor, found, pipeline.predict, cases, stage.folder, reporter, pipeline.train.device
        )
        run_id = tracker.run_id
    stage.finish(run_id=run_id, cases=len(cases))
    return stage.folder


def _predict(
    predictor: Ensemble,
    found: Checkpoint,
    settings: PredictSettings,
    cases: Sequence[Input],
    out: Path,
    reporter: QuietReporter,
    device_name: str,
) -> list[Path]:
    """Predict the cases whose mask is missing."""
    device = choose_device(device_name)
    network = _chosen(predictor, settings).to(device)
    ending = FORMATS[settings.format]
    masks = {case.id: out / f"{case.id}{ending}" for case in cases}
    missing = [case for case in cases if not masks[case.id].exists()]
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
            )
            _write(prediction, found, masks[case.id], ending)
            if settings.format == "nifti" and not volume.geometry.opens_as_nifti:
                reporter.note(_SHEARED.format(mask=masks[case.id]))
            steps.advance()
    return list(masks.values())


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


def _write(prediction: Prediction, found: Checkpoint, mask: Path, ending: str) -> None:
    """Maps first, the mask last: its presence says that the case is complete."""
    case, grid = mask.name.removesuffix(ending), prediction.geometry
    if prediction.entropy is not None:
        write_volume(prediction.entropy, grid, mask.with_name(f"{case}_entropy{ending}"))
    if prediction.probabilities is not None:
        for value, one in zip(found.label_values, prediction.probabilities, strict=True):
            write_volume(one, grid, mask.with_name(f"{case}_probability_{value}{ending}"))
    values = np.array(found.label_values, np.uint8)
    write_mask(values[prediction.labels], grid, mask)


def _claim(out: Path, checkpoint: Path, settings: PredictSettings, cases: Sequence[Input]) -> None:
    """Write down whose predictions `out` holds; refuse to mix them with others.

    Sources are kept as hashes: a path may name a patient.
    """
    mine: dict[str, Any] = {
        "weights": weights_hash(checkpoint),
        "predict": settings.model_dump(mode="json", exclude=WITHOUT_EFFECT["predict"]),
    }
    kept = out / "prediction.json"
    before = read_json(kept) if kept.exists() else {**mine, "sources": {}}
    sources = {case.id: _fingerprint(case) for case in cases}
    other = [name for name in mine if before.get(name) != mine[name]]
    clash = [
        name for name, source in sources.items() if before["sources"].get(name, source) != source
    ]
    if other or clash:
        raise UsageError(
            f"{out} already holds other predictions",
            f"made with other {' and '.join(other)}" if other else f"'{clash[0]}' was another file",
            "choose another --out, or empty it",
        )
    both = {**before["sources"], **sources}
    write_text(kept, json.dumps({**mine, "sources": both}, indent=2))


def _fingerprint(case: Input) -> str:
    text = "\n".join(str(path.resolve()) for path in case.paths)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
