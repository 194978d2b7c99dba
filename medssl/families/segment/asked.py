"""What is to be predicted into a folder: which cases are done, and what is written of the others.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medssl.data.dicom.choice import Wanted
from medssl.data.dicom.series import Series
from medssl.data.dicom.study import StudyFiles
from medssl.data.volume import Volume, write_volume
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.forms import FORMS, Form
from medssl.export.meaning import empty_masks
from medssl.export.result import Algorithm, Result
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.formats import must_hold, usual_form
from medssl.families.segment.report import REPORT, write_report
from medssl.families.segment.scans import Scans
from medssl.infer.checkpoint_guard import read_guard, watch_of
from medssl.infer.cleaning import Cleaning
from medssl.infer.guard import Guard, Verdict
from medssl.infer.measure import Measured, measure
from medssl.infer.predict import Prediction, predict_case
from medssl.infer.sparing import Once
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.inputs import Input, paths_of
from medssl.pipeline.outputs import Outputs, fingerprint_of
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.section import digest
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint
from medssl.train.description import weights_hash
from medssl.transforms.compose import Preparation

_SHEARED = (
    "{mask} does not open in 3D Slicer, ITK-SNAP and other viewers built on ITK: the image's axes "
    "are not at right angles, as of a CT with a tilted gantry, and NIfTI files of such are refused "
    "there; predict with --format nrrd for a file that opens"
)


@dataclass(frozen=True)
class Asked:
    """What is to be predicted into a folder, and with what.

    Attributes:
        found: what the checkpoint says of itself.
        cases: files in channel order, or those of a study, by case.
        measures: whether volumes and doubt of each case are kept in the record of the outputs.
        failed: receives why a case could not be predicted, and the others go on; None: the first
            such case ends the work.
    """

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    cases: Mapping[str, Input]
    out: Path
    measures: bool = False
    failed: dict[str, DataError] | None = None

    def names(self, case: str) -> list[str]:
        """File names of a case's results; the mask, which appears last, is the first."""
        maps = ["_entropy"] if "entropy" in self.settings.save else []
        if "probabilities" in self.settings.save:
            regions = [name.replace(" ", "_") for name in self.found.regions]
            maps += [f"_probability_{one}" for one in regions or self.found.label_values]
        form = self.form(case)
        masks = form.names(case, self.found.labels)
        report = [f"{case}{REPORT}"] if self.settings.report else []
        return [*masks, *(f"{case}{one}{form.maps}" for one in maps), *report]

    @property
    def measuring(self) -> bool:
        """Whether volumes and doubt of each case are measured: for the record, or for a report."""
        return self.measures or self.settings.report

    def form(self, case: str) -> Form:
        """The file format in which the results of a case are written."""
        return FORMS[self.settings.format or usual_form(self.cases[case])]

    @property
    def algorithm(self) -> Algorithm:
        """What DICOM objects say of the model."""
        found, weights = self.found, weights_hash(self.checkpoint)[:16]
        name = f"medssl {found.method['name']}, {found.data.name}"
        return Algorithm(name, parameters=(("weights", weights), ("step", str(found.step))))

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
        sources = {case: fingerprint_of(paths_of(given)) for case, given in self.cases.items()}
        names = {case: self.names(case) for case in self.cases}
        outputs = Outputs(self.out, made, sources, names, overwrite)
        outputs.begin()  # a folder that cannot be written to is said before the work
        return outputs

    def missing(self, outputs: Outputs) -> list[str]:
        """Cases whose results are not there as they were written."""
        known = self.measured(outputs) if self.measuring else self.cases
        return [
            case for case in self.cases if case not in known or not outputs.has(self.names(case))
        ]

    def measured(self, outputs: Outputs) -> dict[str, Measured]:
        """Volumes and doubt by case, as far as they stand in the record of the outputs."""
        found = {}
        for case in self.cases:
            with suppress(KeyError, TypeError, ValueError):
                one = outputs.measured[case]
                if one.get("rules", "") == self._rules(case):
                    found[case] = Measured.from_plain(one)
        return found

    @property
    def limit(self) -> float | None:
        """Score above which the guard marks a case; None where no guard is there or asked."""
        return self._guard.limit(self.settings.guard) if self._guard else None

    @property
    def _guard(self) -> Guard | None:
        return read_guard(self.checkpoint) if self.settings.guard else None

    def _tell_unlike(self, outputs: Outputs, reporter: QuietReporter) -> None:
        """Warn of scans that are unlike those of training, predicted now or before."""
        guard, rate = self._guard, self.settings.guard
        if guard is None:
            return
        for case in self.cases:
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                verdict = Verdict.from_plain(outputs.measured[case])
                if verdict and (parts := verdict.unlike(guard.limit(rate))):
                    reporter.warn(
                        f"{case} is unlike the scans that the model was trained on, by its "
                        f"{' and '.join(parts)}: its mask is not to be trusted unseen (score "
                        f"{verdict.score:.1f}, limit {guard.limit(rate):.1f}; of scans like those "
                        f"of training about {guard.false_alarms(rate):.0%} are marked, with 95 % "
                        f"certainty at most {guard.false_alarms_at_most(rate):.0%})"
                    )

    def _rules(self, case: str) -> str:
        """8 characters for what a study's series were chosen by; empty of other cases."""
        given = self.settings.model_dump(mode="json")["series"]
        return digest([given]) if given and isinstance(self.cases[case], StudyFiles) else ""

    def predict(
        self, predictor: Ensemble, outputs: Outputs, reporter: QuietReporter, device_name: str
    ) -> list[Path]:
        """Predict the cases whose results are missing; returns all masks."""
        found, settings, device = self.found, self.settings, choose_device(device_name)
        network = _chosen(predictor.to(device), settings)
        watch = watch_of(self.checkpoint, predictor, found, device) if settings.guard else None
        prepare, cleaning = Preparation(found.preprocess), Cleaning.of(settings, found.classes)
        missing, empty, note = self.missing(outputs), list[str](), Once(reporter.warn)
        resample = found.resample_channels or settings.resample_channels
        scans = Scans(self.wanted, reporter, resample)

        def one(case: str) -> None:
            volume, series = scans.open(case, self.cases[case])
            must_hold(settings.format, case, volume)
            given = network, volume, prepare, found.patch, self._with_maps(case)
            how = found.outputs, device, cleaning, found.mirrored or ()
            made = predict_case(*given, *how, self.measuring, watch, note)
            self._write(case, volume, made, series, scans.remarks(case), outputs)
            if not made.labels.any():
                empty.append(case)
            mask = self.out / self.names(case)[0]
            if mask.name.endswith(".nii.gz") and not volume.geometry.opens_as_nifti:
                reporter.warn(_SHEARED.format(mask=mask))

        try:
            with Steps(reporter, len(self.cases), len(self.cases) - len(missing)) as steps:
                for case in missing:
                    with self._going_on(case, reporter):
                        one(case)
                    steps.advance()
        finally:
            scans.write(self.out)
            if empty:
                reporter.warn(empty_masks(empty, found.empty_masks))
            self._tell_unlike(outputs, reporter)
        failed = self.failed or {}
        return [self.out / self.names(case)[0] for case in self.cases if case not in failed]

    @property
    def wanted(self) -> Wanted:
        """Which series a study must hold to be predicted."""
        found = self.found
        rules = {**found.series, **self.settings.series}
        return Wanted(found.modality, found.channels, rules, found.grids)

    @contextmanager
    def _going_on(self, case: str, reporter: QuietReporter) -> Iterator[None]:
        """Keeps what is wrong with the files of a case, so that the others go on."""
        try:
            yield
        except (DataError, MemoryError) as error:
            if self.failed is None:
                raise
            if isinstance(error, MemoryError):
                error = DataError(f"{case} does not fit into the memory of this machine")
            self.failed[case] = error
            if len(self.cases) > 1:
                reporter.warn(f"{case} is left out: {error}")

    def _write(
        self,
        case: str,
        volume: Volume,
        one: Prediction,
        series: Sequence[Series],
        remarks: Sequence[str],
        outputs: Outputs,
    ) -> None:
        """The mask of a case, its maps and its page, and what the record keeps of them."""
        save, form = self.settings.save, self.form(case)
        maps = [one.entropy] if "entropy" in save and one.entropy is not None else []
        if "probabilities" in save and one.probabilities is not None:
            maps += list(one.probabilities)
        rules = self._rules(case)
        known = {"rules": rules} if rules else {}
        judged = {"guard": one.verdict.to_plain()} if one.verdict else {}
        measured = self._measure(case, one) if self.measuring else None
        facts = {case: (measured.to_plain() if measured else judged) | known}
        values = np.array(self.found.label_values, np.uint8)[one.labels]
        result = Result(
            values,
            one.geometry,
            self.found.labels,
            case,
            series[0] if series else None,
            self._of_labels(one.probabilities),
            self.algorithm,
        )
        count = len(form.names(case, self.found.labels))
        with outputs.writing(self.names(case), facts) as paths:
            for path, map_ in zip(paths[count:], maps, strict=False):
                write_volume(map_, one.geometry, path)
            if self.settings.report and measured:
                told = self.found, self._guard, self.settings.guard, case, volume
                write_report(paths[-1], *told, one, measured, remarks)
            form.write(result, paths[:count])

    def _with_maps(self, case: str) -> PredictSettings:
        """The settings, with the entropy that measuring needs, and what the form is made of."""
        save = {*self.settings.save, *(["entropy"] if self.measuring else [])}
        save |= {"probabilities"} if self.form(case).fractions else set()
        return self.settings.model_copy(update={"save": tuple(sorted(save))})

    def _of_labels(self, probabilities: np.ndarray | None) -> np.ndarray | None:
        """[K, X, Y, Z] of background and labels, of what the networks answer with."""
        if probabilities is None or not self.found.regions:
            return probabilities
        found: np.ndarray = self.found.outputs.of_classes(torch.from_numpy(probabilities)).numpy()
        return found

    def _measure(self, case: str, one: Prediction) -> Measured:
        if one.entropy is None:
            raise ValueError("measuring needs the entropy")
        spacing, classes = one.geometry.spacing, len(self.found.classes)
        given = one.labels, one.entropy, spacing, classes, one.members, one.verdict
        return measure(*given, picture=usual_form(self.cases[case]) != "nifti")


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
    return Ensemble([predictor.members[index]], predictor.outputs).eval()
