"""The forms in which the result of a case can be written, by the word of `predict.format`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medssl.data.labels import Label
from medssl.data.volume import FORMATS, write_mask
from medssl.export.dicom_seg import Kind, write_dicom_seg
from medssl.export.result import Result

Names = Callable[[str, Sequence[Label]], list[str]]
Write = Callable[[Result, Sequence[Path]], None]


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        names: (case, labels) -> file names of its result, the one that appears last first.
        write: writes a result to such files.
        maps: ending of the maps beside it.
        series: whether it refers to a DICOM series, so that the scan must be one.
        fractions: whether it is made of probabilities.
    """

    names: Names
    write: Write
    maps: str
    series: bool = False
    fractions: bool = False


def _volume(ending: str) -> Form:
    def write(result: Result, paths: Sequence[Path]) -> None:
        write_mask(result.values, result.geometry, paths[0])

    # Maps are fractions, which a PNG does not hold.
    return Form(lambda case, _: [f"{case}{ending}"], write, ".tif" if ending == ".png" else ending)


def _dicom_seg(kind: Kind, name: str) -> Form:
    def write(result: Result, paths: Sequence[Path], kind: Kind) -> None:
        write_dicom_seg(result, paths[0], kind, report=paths[1])

    return Form(
        lambda case, _: [f"{case}{name}.dcm", f"{case}{name}_report.dcm"],
        partial(write, kind=kind),
        _MAPS,
        series=True,
        fractions=kind == "fractional",
    )


_MAPS = ".nrrd"  # which viewers open for every grid

FORMS: Mapping[str, Form] = {
    **{word: _volume(ending) for word, ending in FORMATS.items()},
    "dicom-seg": _dicom_seg("binary", ""),
    "dicom-seg-fractional": _dicom_seg("fractional", "_fractional"),
    "dicom-seg-labelmap": _dicom_seg("labelmap", "_labelmap"),
}
