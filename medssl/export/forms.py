"""The forms in which the result of a case can be written, by the word of `predict.format`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.data.volume import FORMATS, PNG_SLICES, write_mask
from medssl.export.dicom_seg import Kind, write_dicom_seg
from medssl.export.mesh import write_obj, write_stl
from medssl.export.result import Result
from medssl.export.rtstruct import write_rtstruct

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


def _volume(ending: str, maps: str = "") -> Form:
    def write(result: Result, paths: Sequence[Path]) -> None:
        write_mask(result.values, result.geometry, paths[0])

    return Form(lambda case, _: [f"{case}{ending}"], write, maps or ending)


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


def _rtstruct(result: Result, paths: Sequence[Path]) -> None:
    write_rtstruct(result, paths[0])


def _meshes(ending: str, write_one: Callable[[np.ndarray, Geometry, Path], None]) -> Form:
    """A file for each structure."""

    def names(case: str, labels: Sequence[Label]) -> list[str]:
        return [f"{case}_{label.name.replace(' ', '_')}{ending}" for label in labels]

    def write(result: Result, paths: Sequence[Path]) -> None:
        for label, path in zip(result.labels, paths, strict=True):
            write_one(result.values == label.value, result.geometry, path)

    return Form(names, write, _MAPS)


_MAPS = ".nrrd"  # which viewers open for every grid

FORMS: Mapping[str, Form] = {
    **{word: _volume(ending) for word, ending in FORMATS.items()},
    "png": _volume(FORMATS["png"], ".tif"),  # which holds no fractions
    "dicom-seg": _dicom_seg("binary", ""),
    "dicom-seg-fractional": _dicom_seg("fractional", "_fractional"),
    "dicom-seg-labelmap": _dicom_seg("labelmap", "_labelmap"),
    "rtstruct": Form(lambda case, _: [f"{case}_rtstruct.dcm"], _rtstruct, _MAPS, series=True),
    "stl": _meshes(".stl", write_stl),
    "obj": _meshes(".obj", write_obj),
}

_PNG_OF_SLICES = _volume(PNG_SLICES, _MAPS)


def form_of(word: str, flat: bool) -> Form:
    """The form that a word of `predict.format` means.

    Args:
        flat: whether the scan has one slice: PNG files of a volume are as many as it has.
    """
    return FORMS[word] if flat or word != "png" else _PNG_OF_SLICES
