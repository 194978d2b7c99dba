"""The scans that are to be predicted: files as they are, and of a study the series that fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.data.dicom.choice import Decision, UndecidedError, Wanted, choose
from medssl.data.dicom.contents import candidates_in
from medssl.data.dicom.series import Series, find_series
from medssl.data.dicom.slices import refuse_damaged
from medssl.data.dicom.study import StudyFiles
from medssl.data.files import is_picture
from medssl.data.volume import Volume, read_volume, volume_of
from medssl.discreet import without_files
from medssl.errors import DataError
from medssl.pipeline.inputs import Input
from medssl.pipeline.progress import QuietReporter

SERIES = "series.csv"
"""Beside the masks: what each series of each study is, and why it was taken or not."""

_HEAD = ["case", "study", "series", "description", "part", "modality", "slices", "taken_as", "why"]


@dataclass
class Scans:
    """Opens scans, and keeps what was said of the series of each study.

    Attributes:
        wanted: what the network was trained on.
        resample: whether channels on other grids are put on that of the first.
    """

    wanted: Wanted
    resample: bool = False
    decisions: dict[str, tuple[Decision, ...]] = field(default_factory=dict)
    _resampled: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def open(
        self, case: str, given: Input, reporter: QuietReporter
    ) -> tuple[Volume, tuple[Series, ...]]:
        """The image of a case, with the channels that the network wants, and its DICOM series.

        Of files that are no DICOM there are no series.

        Args:
            reporter: is told which series of a study are taken.

        Raises:
            DataError: a file cannot be read, or it cannot be told which series is meant.
        """
        if isinstance(given, StudyFiles):
            return self._of_study(case, given, reporter)
        channels, series = self.wanted.channels, tuple[Series, ...]()
        if len(given) == 1 and given[0].is_dir():
            series = (find_series(given[0]),)
            volume = volume_of(series, str(given[0]), self.resample)
        else:
            colours = len(given) == 1 and is_picture(given[0])
            volume = read_volume(given * len(channels) if colours else given, self.resample)
        if len(volume.array) != len(channels):
            raise DataError(
                f"{given[0]} gives {len(volume.array)} channels",
                f"the checkpoint wants {len(channels)}: {', '.join(channels)}",
                "give a folder with one image per channel",
            )
        self._warn(case, volume, reporter)
        return volume, series

    def _warn(self, case: str, volume: Volume, reporter: QuietReporter) -> None:
        self._resampled[case] = volume.remarks
        for remark in volume.remarks:
            reporter.warn(f"{case}: {remark}")

    def _of_study(
        self, case: str, study: StudyFiles, reporter: QuietReporter
    ) -> tuple[Volume, tuple[Series, ...]]:
        try:
            found = choose(candidates_in(study), self.wanted, case)
        except UndecidedError as error:
            self._tell(case, study, error.decisions, reporter)
            raise
        self._tell(case, study, found.decisions, reporter)
        for folder in {file.parent for one in found.series for file in one.files}:
            refuse_damaged(folder, set(study.files))
        volume = volume_of(found.series, case, self.resample)
        self._warn(case, volume, reporter)
        return volume, found.series

    def _tell(
        self,
        case: str,
        study: StudyFiles,
        decisions: Sequence[Decision],
        reporter: QuietReporter,
    ) -> None:
        """Where a study lies is said on the terminal alone: it may name the patient."""
        self.decisions[case] = tuple(decisions)
        reporter.note(f"{case} is {study.folder}:")
        for one in decisions:
            reporter.note(f"  {one}")
            if one.channel and one.reason:
                reporter.warn(f"the series taken as {one.channel} of {case}: {one.reason}")

    def remarks(self, case: str) -> list[str]:
        """What should be known of the series that were taken, in sentences."""
        return [
            f"The series taken as {one.channel}: {one.reason}."
            for one in self.decisions.get(case, ())
            if one.channel and one.reason
        ] + [f"{one[0].upper()}{one[1:]}." for one in self._resampled.get(case, ())]

    def forget(self, case: str) -> None:
        """Drop what was said of a case, once it is written down."""
        self.decisions.pop(case, None)
        self._resampled.pop(case, None)

    def rows(self, case: str) -> list[list[str | int]]:
        """What was said of each series of a case, as rows of `SERIES` without the case."""
        rows = list[list[str | int]]()
        for one in self.decisions.get(case, ()):
            facts, series = one.candidate.facts, one.candidate.series
            count = len(series.slices) if series else 0
            number = "" if facts.number is None else facts.number
            head = [facts.study, number, facts.description, one.candidate.part, facts.modality]
            why = without_files(one.reason, one.candidate.paths)
            rows.append([*head, count, one.channel, why])
        return rows


def write_series(path: Path, rows: Mapping[str, Sequence[Sequence[str | int]]]) -> None:
    """Write what was said of the series of all studies, by case; nothing where there are none."""
    if rows:
        told = [[case, *map(str, row)] for case in sorted(rows) for row in rows[case]]
        write_text(path, table_text(_HEAD, told))
