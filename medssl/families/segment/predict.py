"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.volume import FORMATS, read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.meaning import empty_mask
from medssl.families.segment.cohort import SegmentPlan
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.cross_validation import (
    CORRECTIONS,
    corrections_of_fold,
    fold_folder,
)
from medssl.infer.cleaning import Cleaning
from medssl.infer.predict import predict_case
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.config import overridden
from medssl.pipeline.inputs import find_inputs
from medssl.pipeline.outputs import Outputs, fingerprint_of, refuse_inputs
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.section import check_stride
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint, read_description
from medssl.train.description import weights_hash
from medssl.train.track import Tracker
from medssl.transforms.compose import Preparation

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
    settings = overridden(PredictSettings, overrides, "predict.", found.predict.model_dump())
    check_stride(settings.stride, found.patch)
    Cleaning.of(settings, found.classes)
    _check_flips(checkpoint, found, settings)
    cases = find_inputs(files, found.channels)
    refuse_inputs(out, files)
    predictor, found = load_checkpoint(checkpoint)
    asked = _Asked(checkpoint, found, settings, cases, out)
    return asked.predict(predictor, asked.outputs(overwrite), reporter, device)


def predict_in_words(
    checkpoint: Path, files: Sequence[Path], out: Path, *given: Any, **named: Any
) -> str:
    """As `predict_files`; returns how many masks there are, and where."""
    return f"{len(predict_files(checkpoint, files, out, *given, **named))} masks in {out}"


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
    return all(
        asked.outputs(overwrite=True).has(asked.names(case))
        for asked in _asked(job.plan)
        for case in asked.cases
    )


def mask_folder(plan: SegmentPlan, case: str) -> Path:
    """Where the mask of a test case is: in the stage's folder, or in that of a fold."""
    fold = plan.cohort.fold_of(case)
    return plan.folder("predict") if fold is None else fold_folder(plan.folder("predict"), fold)


def _asked(plan: SegmentPlan) -> list["_Asked"]:
    """What the final model is to predict, and what each fold."""
    cohort, train = plan.cohort, plan.folder("train")
    parts: list[tuple[Path, Path, Sequence[str], Mapping[str, Any]]]
    parts = [(plan.model, plan.folder("predict"), cohort.split.test, {})]
    for number, fold in enumerate(cohort.folds):
        model = fold_folder(train, number) / plan.model.relative_to(train)
        out = fold_folder(plan.folder("predict"), number)
        parts.append((model, out, fold.test, corrections_of_fold(train, number)))
    return [_part(plan, *part) for part in parts if part[2]]


def _part(
    plan: SegmentPlan, model: Path, out: Path, test: Sequence[str], chosen: Mapping[str, Any]
) -> "_Asked":
    """What one model is to predict, with the corrections that were chosen for it."""
    pipeline, channels = plan.config.pipeline, plan.config.spec.channels
    cases = {
        case.id: tuple(dict.fromkeys(case.images[name] for name in channels))
        for case in plan.cohort.cases
        if case.id in set(test)
    }
    found = read_description(model)
    if found.mirrored is None:  # earlier ones left out along which axes training mirrored
        found = found.model_copy(update={"mirrored": pipeline.mirrored})
    own = found.predict.model_dump() | dict(chosen)
    known = {key: own[key] for key in CORRECTIONS if getattr(pipeline.predict, key) is None}
    settings = PredictSettings.model_validate(pipeline.predict.model_dump() | known)
    return _Asked(model, found, settings, cases, out)


@dataclass(frozen=True)
class _Asked:
    """What is to be predicted into a folder, and with what.

    Attributes:
        found: what the checkpoint says of itself.
        cases: files in channel order by case.
    """

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    cases: Mapping[str, tuple[Path, ...]]
    out: Path

    def names(self, case: str) -> list[str]:
        """File names of a case's results; the mask, which appears last, is the first."""
        maps = [""]
        if "entropy" in self.settings.save:
            maps.append("_entropy")
        if "probabilities" in self.settings.save:
            maps += [f"_probability_{value}" for value in self.found.label_values]
        return [f"{case}{one}{FORMATS[self.settings.format]}" for one in maps]

    def outputs(self, overwrite: bool) -> Outputs:
        """What the folder holds of the wanted results.

        Raises:
            UsageError: it holds others, or files that are in the way.
        """
        how = SegmentConfig.without_effect["predict"]
        made: dict[str, Any] = {
            "weights": weights_hash(self.checkpoint),
            "predict": self.settings.model_dump(mode="json", exclude=how),
        }
        if self.settings.flips:
            made["mirrored"] = list(self.found.mirrored or ())
        sources = {case: fingerprint_of(paths) for case, paths in self.cases.items()}
        names = {case: self.names(case) for case in self.cases}
        outputs = Outputs(self.out, made, sources, names, overwrite)
        outputs.begin()  # a folder that cannot be written to is said before the work
        return outputs

    def predict(
        self, predictor: Ensemble, outputs: Outputs, reporter: QuietReporter, device_name: str
    ) -> list[Path]:
        """Predict the cases whose results are missing; returns all masks."""
        found, settings, device = self.found, self.settings, choose_device(device_name)
        network = _chosen(predictor, settings).to(device)
        prepare, cleaning = Preparation(found.preprocess), Cleaning.of(settings, found.classes)
        missing = [case for case in self.cases if not outputs.has(self.names(case))]
        with Steps(reporter, len(self.cases), len(self.cases) - len(missing)) as steps:
            for case in missing:
                volume = read_volume(self.cases[case])
                if len(volume.array) != len(found.channels):
                    raise DataError(
                        f"{self.cases[case][0]} gives {len(volume.array)} channels",
                        f"the checkpoint wants {len(found.channels)}: {', '.join(found.channels)}",
                        "give a folder with one image per channel",
                    )
                given = network, volume, prepare, found.patch, settings
                how = len(found.classes), device, cleaning, found.mirrored or ()
                prediction = predict_case(*given, *how)
                grid, maps = prediction.geometry, [prediction.entropy]
                maps += [] if prediction.probabilities is None else list(prediction.probabilities)
                with outputs.writing(self.names(case)) as (mask, *beside):
                    told = [one for one in maps if one is not None]
                    for path, one in zip(beside, told, strict=True):
                        write_volume(one, grid, path)
                    values = np.array(found.label_values, np.uint8)[prediction.labels]
                    write_mask(values, grid, mask)
                if not prediction.labels.any():
                    reporter.warn(empty_mask(case, found.empty_masks))
                if settings.format == "nifti" and not volume.geometry.opens_as_nifti:
                    reporter.warn(_SHEARED.format(mask=self.out / self.names(case)[0]))
                steps.advance()
        return [self.out / self.names(case)[0] for case in self.cases]


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
