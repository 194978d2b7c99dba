"""The prediction stage: masks and uncertainty of the test cases, or of any files.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.volume import FORMATS, Volume, read_volume, write_mask, write_volume
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.meaning import empty_masks
from medssl.families.segment.cohort import SegmentPlan
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.cross_validation import (
    CORRECTIONS,
    corrections_of_fold,
    fold_folder,
)
from medssl.infer.cleaning import Cleaning
from medssl.infer.measure import Measured, measure, write_volumes
from medssl.infer.predict import Prediction, predict_case
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
    statistics: Path | None = None,
) -> list[Path]:
    """Predict images that need no pipeline and no data spec; returns the masks, in order.

    Args:
        overrides: keys of the `predict` section, e.g. "flips=true", over the checkpoint's own.
        out: receives CASE.nii.gz and, as asked for, CASE_entropy.nii.gz and
            CASE_probability_VALUE.nii.gz, each on the grid of its image; `predict.format` chooses
            another ending.
        overwrite: replace other predictions and other files that are in the way in `out`.
        statistics: CSV to write of the volume of each structure and the doubt of each case.

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
    asked = Asked(checkpoint, found, settings, cases, out, measures=statistics is not None)
    outputs = asked.outputs(overwrite)
    masks = asked.predict(predictor, outputs, reporter, device)
    if statistics is not None:
        labels = [(label.value, label.name) for label in found.labels]
        write_volumes(statistics, asked.measured(outputs), labels, found.empty_masks)
    return masks


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
    fold = plan.cohort.fold_of(case)
    return plan.folder("predict") if fold is None else fold_folder(plan.folder("predict"), fold)


def _asked(plan: SegmentPlan) -> list["Asked"]:
    """What the final model is to predict of the test cases, and what each fold."""
    cohort, train, out = plan.cohort, plan.folder("train"), plan.folder("predict")
    parts = [asked_of_run(plan, cohort.split.test, out)]
    for number, fold in enumerate(cohort.folds):
        model = fold_folder(train, number) / plan.model.relative_to(train)
        chosen = corrections_of_fold(train, number)
        parts.append(asked_of_run(plan, fold.test, fold_folder(out, number), model, chosen))
    return [asked for asked in parts if asked.cases]


def asked_of_run(
    plan: SegmentPlan,
    wanted: Collection[str],
    out: Path,
    model: Path | None = None,
    chosen: Mapping[str, Any] | None = None,
    measures: bool = False,
) -> "Asked":
    """What a model of a run predicts.

    Args:
        wanted: ids of the cases.
        out: receives the masks.
        model: its checkpoint; None: the model that the run leaves.
        chosen: keys of `predict` that are null in the pipeline; else the checkpoint's own.
        measures: whether the masks are measured too.
    """
    pipeline, channels, weights = (
        plan.config.pipeline,
        plan.config.spec.channels,
        model or plan.model,
    )
    cases = {
        case.id: tuple(dict.fromkeys(case.images[name] for name in channels))
        for case in plan.cohort.cases
        if case.id in wanted
    }
    found = read_description(weights)
    if found.mirrored is None:  # earlier ones left out along which axes training mirrored
        found = found.model_copy(update={"mirrored": pipeline.mirrored})
    own = found.predict.model_dump() | dict(chosen or {})
    known = {key: own[key] for key in CORRECTIONS if getattr(pipeline.predict, key) is None}
    settings = PredictSettings.model_validate(pipeline.predict.model_dump() | known)
    return Asked(weights, found, settings, cases, out, measures)


@dataclass(frozen=True)
class Asked:
    """What is to be predicted into a folder, and with what.

    Attributes:
        found: what the checkpoint says of itself.
        cases: files in channel order by case.
        measures: whether volumes and doubt of each case are kept in the record of the outputs.
    """

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    cases: Mapping[str, tuple[Path, ...]]
    out: Path
    measures: bool = False

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

    def missing(self, outputs: Outputs) -> list[str]:
        """Cases whose results are not there as they were written."""
        known = self.measured(outputs) if self.measures else self.cases
        return [
            case for case in self.cases if case not in known or not outputs.has(self.names(case))
        ]

    def measured(self, outputs: Outputs) -> dict[str, Measured]:
        """What was measured, as far as the record of the outputs knows it."""
        found = {}
        for case in self.cases:
            with suppress(KeyError, TypeError, ValueError):
                found[case] = Measured.from_plain(outputs.measured[case])
        return found

    def predict(
        self, predictor: Ensemble, outputs: Outputs, reporter: QuietReporter, device_name: str
    ) -> list[Path]:
        """Predict the cases whose results are missing; returns all masks."""
        found, settings, device = self.found, self.settings, choose_device(device_name)
        network = _chosen(predictor, settings).to(device)
        prepare, cleaning = Preparation(found.preprocess), Cleaning.of(settings, found.classes)
        missing, empty = self.missing(outputs), list[str]()
        try:
            with Steps(reporter, len(self.cases), len(self.cases) - len(missing)) as steps:
                for case in missing:
                    volume = self._volume(case)
                    given = network, volume, prepare, found.patch, self._with_entropy()
                    how = len(found.classes), device, cleaning, found.mirrored or ()
                    one = predict_case(*given, *how, self.measures)
                    self._write(case, one, outputs)
                    empty += [] if one.labels.any() else [case]
                    if settings.format == "nifti" and not volume.geometry.opens_as_nifti:
                        reporter.warn(_SHEARED.format(mask=self.out / self.names(case)[0]))
                    steps.advance()
        finally:
            if empty:
                reporter.warn(empty_masks(empty, found.empty_masks))
        return [self.out / self.names(case)[0] for case in self.cases]

    def _volume(self, case: str) -> Volume:
        """The image of a case, with the channels that the network wants."""
        volume, channels = read_volume(self.cases[case]), self.found.channels
        if len(volume.array) != len(channels):
            raise DataError(
                f"{self.cases[case][0]} gives {len(volume.array)} channels",
                f"the checkpoint wants {len(channels)}: {', '.join(channels)}",
                "give a folder with one image per channel",
            )
        return volume

    def _write(self, case: str, one: Prediction, outputs: Outputs) -> None:
        """The mask of a case and its maps, and what the record keeps of them."""
        maps = [one.entropy] if "entropy" in self.settings.save and one.entropy is not None else []
        maps += [] if one.probabilities is None else list(one.probabilities)
        facts = {case: self._measure(one).to_plain()} if self.measures else {}
        with outputs.writing(self.names(case), facts) as (mask, *beside):
            for path, told in zip(beside, maps, strict=True):
                write_volume(told, one.geometry, path)
            values = np.array(self.found.label_values, np.uint8)[one.labels]
            write_mask(values, one.geometry, mask)

    def _with_entropy(self) -> PredictSettings:
        """The settings, with the entropy that measuring needs."""
        if not self.measures or "entropy" in self.settings.save:
            return self.settings
        return self.settings.model_copy(update={"save": (*self.settings.save, "entropy")})

    def _measure(self, one: Prediction) -> Measured:
        if one.entropy is None:
            raise ValueError("measuring needs the entropy")
        spacing, classes = one.geometry.spacing, len(self.found.classes)
        return measure(one.labels, one.entropy, spacing, classes, one.members)


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
