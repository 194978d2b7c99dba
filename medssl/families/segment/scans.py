"""The scans that are to be predicted: files as they are, and of a study the series that fit."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from medssl.atomic import write_text
from medssl.data.csv_table import read_table, table_text
from medssl.data.dicom.choice import Decision, UndecidedError, Wanted, choose
from medssl.data.dicom.contents import candidates_in
from medssl.data.dicom.series import Series, find_series
from medssl.data.dicom.slices import refuse_damaged
from medssl.data.dicom.study import StudyFiles
from medssl.data.files import is_picture
from medssl.data.volume import Volume, read_volume, volume_of
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
    reporter: QuietReporter
    resample: bool = False
    decisions: dict[str, tuple[Decision, ...]] = field(default_factory=dict)
    _resampled: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def open(self, case: str, given: Input) -> tuple[Volume, tuple[Series, ...]]:
        """The image of a case, with the channels that the network wants, and its DICOM series.

        Of files that are no DICOM there are no series.

        Raises:
            DataError: a file cannot be read, or it cannot be told which series is meant.
        """
        if isinstance(given, StudyFiles):
            return self._of_study(case, given)
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
        self._warn(case, volume)
        return volume, series

    def _warn(self, case: str, volume: Volume) -> None:
        self._resampled[case] = volume.remarks
        for remark in volume.remarks:
            self.reporter.warn(f"{case}: {remark}")

    def _of_study(self, case: str, study: StudyFiles) -> tuple[Volume, tuple[Series, ...]]:
        try:
            found = choose(candidates_in(study), self.wanted, case)
        except UndecidedError as error:
            self._tell(case, study, error.decisions)
            raise
        self._tell(case, study, found.decisions)
        for folder in {file.parent for one in found.series for file in one.files}:
            refuse_damaged(folder, set(study.files))
        volume = volume_of(found.series, case, self.resample)
        self._warn(case, volume)
        return volume, found.series

    def _tell(self, case: str, study: StudyFiles, decisions: Sequence[Decision]) -> None:
        """Where a study lies is said on the terminal alone: it may name the patient."""
        self.decisions[case] = tuple(decisions)
        self.reporter.note(f"{case} is {study.folder}:")
        for one in decisions:
            self.reporter.note(f"  {one}")
            if one.channel and one.reason:
                self.reporter.warn(f"the series taken as {one.channel} of {case}: {one.reason}")

    def remarks(self, case: str) -> list[str]:
        """What should be known of the series that were taken, in sentences."""
        return [
            f"The series taken as {one.channel}: {one.reason}."
            for one in self.decisions.get(case, ())
            if one.channel and one.reason
        ] + [f"{one[0].upper()}{one[1:]}." for one in self._resampled.get(case, ())]

    def write(self, folder: Path) -> None:
        """Add what was said to the table in `folder`; rows of other cases stay."""
        if not self.decisions:
            return
        path, rows = folder / SERIES, list[list[str]]()
        with suppress(DataError, KeyError):
            kept = read_table(path) if path.is_file() else []
            rows = [[row[name] for name in _HEAD] for row in kept]
        rows = [row for row in rows if row[0] not in self.decisions]
        rows += [list(map(str, row)) for row in self._rows()]
        write_text(path, table_text(_HEAD, sorted(rows, key=itemgetter(0))))

    def _rows(self) -> Iterable[list[str | int]]:
        for case, decisions in self.decisions.items():
            for one in decisions:
                facts, series = one.candidate.facts, one.candidate.series
                count = len(series.slices) if series else 0
                number = "" if facts.number is None else facts.number
                head = [
                    case,
                    facts.study,
                    number,
                    facts.description,
                    one.candidate.part,
                    facts.modality,
                ]
                yield [*head, count, one.channel, one.reason]
