"""Cases from their files to masks, maps and pages: what is asked is carried out here.

While a case is predicted, the next one is read and the last one is written.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from medssl.data.dicom.series import Series
from medssl.data.volume import Volume, write_volume
from medssl.discreet import unexpected
from medssl.errors import DataError, MedsslError, UsageError
from medssl.export.dicom_seg import misread
from medssl.export.result import Result
from medssl.families.segment.asked import Asked
from medssl.families.segment.formats import usual_form
from medssl.families.segment.report import write_report
from medssl.families.segment.scans import Scans
from medssl.infer.checkpoint_guard import watch_of
from medssl.infer.cleaning import Cleaning
from medssl.infer.measure import Measured, measure
from medssl.infer.predict import Prediction, predict_case
from medssl.infer.sparing import Once
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.outputs import Outputs
from medssl.pipeline.overlap import overlapped
from medssl.pipeline.progress import KeptReporter
from medssl.settings import PredictSettings
from medssl.transforms.compose import Preparation

_SHEARED = (
    "{mask} does not open in 3D Slicer, ITK-SNAP and other viewers built on ITK: the image's axes "
    "are not at right angles, as of a CT with a tilted gantry, and NIfTI files of such are refused "
    "there; predict with --format nrrd for a file that opens"
)


@dataclass
class Opened:
    """A case that was read, or why it could not be.

    Attributes:
        series: of DICOM, those that were taken.
        said: what was remarked of its files.
        made: what the network says of it, once it does.
    """

    case: str
    volume: Volume | None = None
    series: Sequence[Series] = ()
    said: KeptReporter = field(default_factory=KeptReporter)
    error: DataError | None = None
    made: Prediction | None = None


@dataclass(frozen=True)
class Done:
    """How a case ended.

    Attributes:
        error: why it has no mask; None: it has one.
        empty: whether nothing is marked in it.
        lines: what is to be told of it, in order.
    """

    case: str
    error: DataError | None
    empty: bool
    lines: Sequence[tuple[str, bool]]

    def plain(self) -> list[Any]:
        """As values that a message can hold."""
        error = self.error and [self.error.what, self.error.why, self.error.do]
        return [self.case, error, self.empty, self.lines]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Self:
        """What `plain` gave."""
        case, error, empty, lines = plain
        return cls(case, error and DataError(*error), empty, lines)


class Work:
    """Predicts cases, one after the other.

    Args:
        outputs: begun.
        forgiving: whether any failure that concerns one case alone is kept with it.
    """

    def __init__(
        self,
        asked: Asked,
        predictor: Ensemble,
        outputs: Outputs,
        device: torch.device,
        forgiving: bool = False,
    ) -> None:
        self._asked, self._outputs, self._device = asked, outputs, device
        self._forgiving, self._told = forgiving, set[str]()
        settings, found = asked.settings, asked.found
        self._network = _chosen(predictor.to(device), settings)
        self._watch = None
        if settings.guard:
            self._watch = watch_of(asked.checkpoint, predictor, found, device)
        self._prepare = Preparation(found.preprocess)
        self._cleaning = Cleaning.of(settings, found.classes)
        resample = found.resample_channels or settings.resample_channels
        self._scans = Scans(asked.wanted, resample)

    def __call__(self, cases: Iterable[str | Opened]) -> Iterator[Done]:
        """How each case ended; an error that is none of a case's own ends all.

        Args:
            cases: names, or what could not even be named.
        """
        return overlapped(map(self._open, cases), self._answer, self._write)

    def _open(self, case: str | Opened) -> Opened:
        if isinstance(case, Opened):
            return case
        opened = Opened(case)
        with self._kept(opened):
            given = self._asked.cases[case]
            opened.volume, opened.series = self._scans.open(case, given, opened.said)
        return opened

    def _answer(self, one: Opened) -> Opened:
        found, asked = self._asked.found, self._asked
        if one.volume is None or one.error is not None:
            return one
        with self._kept(one):
            given = self._network, one.volume, self._prepare, found.patch, self._with_maps(one.case)
            how = found.outputs, self._device, self._cleaning, found.mirrored or ()
            note = Once(one.said.warn, self._told)
            one.made = predict_case(*given, *how, asked.measuring, self._watch, note)
        return one

    def _write(self, one: Opened) -> Done:
        rows = self._scans.rows(one.case)
        with self._kept(one):
            if one.made is not None and one.volume is not None:
                self._leave(one.case, one.volume, one.made, one.series)
                mask = self._asked.out / self._asked.names(one.case)[0]
                if mask.name.endswith(".nii.gz") and not one.volume.geometry.opens_as_nifti:
                    one.said.warn(_SHEARED.format(mask=mask))
                if self._asked.settings.format == "dicom-seg":
                    for odd in misread(one.volume.geometry.shape):
                        Once(one.said.warn, self._told)(odd)
        self._outputs.add(series={one.case: rows} if rows else {})
        self._scans.forget(one.case)
        empty = one.error is None and one.made is not None and not one.made.labels.any()
        return Done(one.case, one.error, empty, one.said.lines)

    @contextmanager
    def _kept(self, one: Opened) -> Iterator[None]:
        """Keeps what is wrong with a case, so that the others go on if they may."""
        try:
            yield
        except DataError as error:
            one.error = error
        except MemoryError:
            one.error = DataError(f"{one.case} does not fit into the memory of this machine")
        except Exception as error:
            if not self._forgiving:
                raise
            one.error = failure_of(error)

    def _leave(self, case: str, volume: Volume, one: Prediction, series: Sequence[Series]) -> None:
        """The mask of a case, its maps and its page, and what the record keeps of them."""
        asked, labels = self._asked, self._asked.found.labels
        save, form = asked.settings.save, asked.form(case)
        maps = [one.entropy] if "entropy" in save and one.entropy is not None else []
        if "probabilities" in save and one.probabilities is not None:
            maps += list(one.probabilities)
        rules = asked.rules_of(case)
        known = {"rules": rules} if rules else {}
        judged = {"guard": one.verdict.to_plain()} if one.verdict else {}
        measured = self._measure(case, one) if asked.measuring else None
        facts = {case: (measured.to_plain() if measured else judged) | known}
        values = np.array(asked.found.label_values, np.uint8)[one.labels]
        result = Result(
            values,
            one.geometry,
            labels,
            case,
            series[0] if series else None,
            self._of_labels(one.probabilities),
            asked.algorithm,
        )
        count = len(form.names(case, labels))
        with self._outputs.writing(asked.names(case), facts) as paths:
            for path, map_ in zip(paths[count:], maps, strict=False):
                write_volume(map_, one.geometry, path)
            if asked.settings.report and measured:
                told = asked.found, asked.guard, asked.settings.guard, case, volume
                write_report(paths[-1], *told, one, measured, self._scans.remarks(case))
            form.write(result, paths[:count])

    def _with_maps(self, case: str) -> PredictSettings:
        """The settings, with the entropy that measuring needs, and what the form is made of."""
        settings = self._asked.settings
        save = {*settings.save, *(["entropy"] if self._asked.measuring else [])}
        save |= {"probabilities"} if self._asked.form(case).fractions else set()
        return settings.model_copy(update={"save": tuple(sorted(save))})

    def _of_labels(self, probabilities: np.ndarray | None) -> np.ndarray | None:
        """[K, X, Y, Z] of background and labels, of what the networks answer with."""
        described = self._asked.found
        if probabilities is None or not described.regions:
            return probabilities
        found: np.ndarray = described.outputs.of_classes(torch.from_numpy(probabilities)).numpy()
        return found

    def _measure(self, case: str, one: Prediction) -> Measured:
        if one.entropy is None:
            raise ValueError("measuring needs the entropy")
        spacing, found = one.geometry.spacing, self._asked.found
        given = one.labels, one.entropy, spacing, len(found.classes), one.members, one.verdict
        picture = usual_form(self._asked.cases[case]) != "nifti"
        return measure(*given, picture, self._asked.size_factors)


def failure_of(error: Exception) -> DataError:
    """What is wrong with one case among many, without words that may quote a header.

    Raises:
        MedsslError: it is nothing of that case's own, such as a full disk.
    """
    if isinstance(error, DataError | UsageError):
        return DataError(error.what, error.why, error.do)
    if isinstance(error, MedsslError):
        raise error
    return DataError(unexpected(error))


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
