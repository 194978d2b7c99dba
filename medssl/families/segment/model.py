"""A trained model that answers files: opened once, asked as often as there are files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from medssl.data.dicom.study import StudyFiles
from medssl.device import choose_device
from medssl.errors import DataError, UsageError
from medssl.export.forms import FORMS
from medssl.export.terms import guessed
from medssl.families.segment.asked import Asked
from medssl.families.segment.carry_out import predict_missing
from medssl.families.segment.cohort import PAGE, VOLUMES
from medssl.families.segment.index import write_index
from medssl.families.segment.listed import predict_lines
from medssl.families.segment.work import Work
from medssl.infer.cleaning import Cleaning
from medssl.infer.measure import write_volumes
from medssl.names import some_of
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.inputs import Input, find_inputs
from medssl.pipeline.manifest import FAILED, Line, Shard
from medssl.pipeline.outputs import refuse_inputs
from medssl.pipeline.progress import Counted, QuietReporter
from medssl.pipeline.sections import overridden
from medssl.section import check_stride
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint, load_checkpoint, read_description
from medssl.train.distributed import TEAM
from medssl.transforms.augment_words import MIRRORING


@dataclass(frozen=True)
class Model:
    """A checkpoint with the settings that it predicts with.

    Attributes:
        found: what the checkpoint says of itself.
        device: where it runs, as the command line names it.
        predictor: its networks, which are read at the first call and kept.
    """

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    device: str
    predictor: Callable[[], Ensemble]

    def asking(self, overrides: Sequence[str]) -> "Model":
        """The same networks with other keys of `predict`, e.g. "format=nrrd".

        Raises:
            UsageError: a key is wrong, a stride leaves gaps, or mirrored copies are asked for of
                what training never mirrored.
        """
        plain = self.settings.model_dump()
        settings = overridden(PredictSettings, overrides, "predict.", plain)
        check_stride(settings.stride, self.found.patch)
        Cleaning.of(settings, self.found.classes)
        _check_flips(self.checkpoint, self.found, settings)
        return replace(self, settings=settings)

    def predict(
        self,
        files: Sequence[Path],
        out: Path,
        reporter: QuietReporter,
        overwrite: bool = False,
        statistics: Path | None = None,
        keep_ids: bool = False,
    ) -> list[Path]:
        """Predict images that need no pipeline and no data spec; returns the masks, in order.

        Args:
            out: receives CASE.nii.gz and, as asked for, CASE_entropy.nii.gz and
                CASE_probability_VALUE.nii.gz, each on the grid of its image; `predict.format`
                chooses another ending. Of studies also volumes.csv and, what each series is,
                series.csv; with `predict.report` a page of each case, and one of all.
            overwrite: replace other predictions and other files that are in the way in `out`.
            statistics: CSV to write of the volume of each structure and the doubt of each case.
            keep_ids: name results of DICOM after files and folders, which may name patients.

        Raises:
            UsageError: `out` holds inputs, other predictions or other files of the same names.
            DataError: cases cannot be predicted; all others are written.
        """
        found = self.found
        with Counted(reporter) as counted:  # thousands of headers take a while
            given = files, found.channels, reporter.note, keep_ids, found.classes[1:]
            cases = find_inputs(*given, counted)
        _check_form(self.settings, cases, found, reporter)
        refuse_inputs(out, files)
        _tell_names(cases, reporter)
        predictor = self.predictor()
        statistics = statistics or _usual_table(out, cases)
        measures = statistics is not None or self.settings.report
        failed = dict[str, DataError]()
        asked = Asked(self.checkpoint, found, self.settings, cases, out, measures)
        if self.settings.guard and asked.guard is None:
            words = "has no guard: scans unlike those of training are not marked"
            reporter.note(f"{self.checkpoint} {words}")
        with TEAM.first():
            outputs = asked.outputs(overwrite)
        masks = predict_missing(asked, predictor, outputs, reporter, self.device, failed)
        if not TEAM.leads:
            return masks
        if statistics is not None and len(failed) < len(cases):
            labels = [(label.value, label.name) for label in found.labels]
            told = found.empty_masks, asked.limit
            write_volumes(statistics, asked.measured(outputs), labels, *told)
        if self.settings.report and len(failed) < len(cases):
            about = "Each name leads to a page of its own, with three planes to scroll."
            write_index(out / PAGE, found.data.title, about, asked, asked.measured(outputs))
        _refuse_failed(failed, len(cases), out)
        return masks

    def predict_lines(
        self,
        lines: Sequence[Line],
        shard: Shard,
        out: Path,
        reporter: QuietReporter,
        overwrite: bool = False,
        statistics: Path | None = None,
        keep_ids: bool = False,
    ) -> int:
        """Predict what a list names, or a shard of it; returns how many lines have results.

        As `predict`, but a line that cannot be predicted is only noted, in failed.csv, and neither
        notes nor warnings say what anything is called. volumes.csv is always written, of all
        shards that have ended.

        Raises:
            UsageError: `out` holds other predictions.
            DataError: lines have no results; all others do.
        """
        asked = Asked(self.checkpoint, self.found, self.settings, {}, out, measures=True)
        with TEAM.first():
            outputs = asked.outputs(overwrite)
        device = choose_device(self.device)
        work = Work(asked, self.predictor(), outputs, device, forgiving=True)
        given = asked, outputs, work, lines, shard, reporter, statistics, keep_ids
        good, bad = predict_lines(*given)
        if bad and TEAM.leads:
            raise DataError(
                f"{bad} of {good + bad} lines have no mask: see {out / FAILED}",
                f"the masks of the others are in {out}",
                "the same command does what is missing",
            )
        return good


def open_model(checkpoint: Path, overrides: Sequence[str], device: str = "auto") -> Model:
    """The model of a checkpoint; its weights are read when it is first asked.

    Args:
        overrides: keys of the `predict` section, over the checkpoint's own.

    Raises:
        UsageError: no checkpoint or device, or as `Model.asking`.
    """
    choose_device(device)
    found = read_description(checkpoint)
    predictor = cache(lambda: load_checkpoint(checkpoint)[0])
    return Model(checkpoint, found, found.predict, device, predictor).asking(overrides)


def _tell_names(cases: Mapping[str, Input], reporter: QuietReporter) -> None:
    """Say on the terminal, and nowhere else, which file of DICOM a neutral name stands for."""
    for name, given in cases.items():
        if not isinstance(given, StudyFiles) and name not in str(given[0].resolve()):
            reporter.note(f"{name} is {given[0]}")


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
    """The table of volumes, which is always written of studies."""
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
        "leave it out" + ("" if unknown else f", or train with {MIRRORING}"),
    )
