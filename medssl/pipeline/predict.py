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
from medssl.data.volume import read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.infer.predict import Prediction, predict_case
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.config import WITHOUT_EFFECT, apply_override, validate
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.lock import alone_in
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.pipeline.stage import Plan, carry_out, read_json
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint
from medssl.train.description import weights_hash
from medssl.train.track import Tracker


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
            CASE_probability_VALUE.nii.gz, each on the grid of its image.

    Raises:
        UsageError: no checkpoint, a wrong key, or `out` holds other predictions.
        DataError: a file cannot be used; the cases before it are written.
    """
    choose_device(device)
    predictor, found = load_checkpoint(checkpoint)
    plain = found.predict.model_dump()
    for one in overrides:
        apply_override(plain, one)
    settings = validate(PredictSettings, plain, "predict.")
    cases = find_inputs(files, found.channels)
    with alone_in(out, reporter.note):
        _claim(out, checkpoint, settings, cases)
        return _predict(predictor, found, settings, cases, out, reporter, device)


def predict_stage(
    plan: Plan, checkpoint: Path, reporter: QuietReporter, resume: bool = True
) -> Path:
    """Predict the test cases; returns the folder of the masks.

    Raises:
        UsageError, DataError: as `predict_files`.
    """
    stage, pipeline = plan.predict, plan.config.pipeline

    def work(_: Tracker) -> dict[str, Any]:
        predictor, found = load_checkpoint(checkpoint)
        channels = plan.config.spec.channels
        cases = [
            Input(case.id, tuple(dict.fromkeys(case.images[name] for name in channels)))
            for case in plan.test
        ]
        device = pipeline.train.device
        _predict(predictor, found, pipeline.predict, cases, stage.folder, reporter, device)
        return {"cases": len(cases)}

    carry_out(stage, plan.subject, work, reporter, parent=plan.whole, resume=resume)
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
    masks = {case.id: out / f"{case.id}.nii.gz" for case in cases}
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
            _write(prediction, found, masks[case.id])
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


def _write(prediction: Prediction, found: Checkpoint, mask: Path) -> None:
    """Maps first, the mask last: its presence says that the case is complete."""
    case, grid = mask.name.removesuffix(".nii.gz"), prediction.geometry
    if prediction.entropy is not None:
        write_volume(prediction.entropy, grid, mask.with_name(f"{case}_entropy.nii.gz"))
    if prediction.probabilities is not None:
        for value, one in zip(found.label_values, prediction.probabilities, strict=True):
            write_volume(one, grid, mask.with_name(f"{case}_probability_{value}.nii.gz"))
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
