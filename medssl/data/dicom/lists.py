"""Series and structures that are chosen among many files, as small files that stand for them.

A list of a series ends in `.series`, one of the structures of a label in `.segments`. Its name has
a digest of what it chooses, so that equal names mean equal voxels wherever the files lie.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.atomic import write_text
from medssl.data.dicom.series import Series, series_of
from medssl.data.dicom.slices import NoDicomError, header_of, slices_of
from medssl.data.dicom.tags import Slice
from medssl.errors import DataError

SERIES, SEGMENTS = ".series", ".segments"


def is_list(path: Path) -> bool:
    """Whether a file stands for DICOM files."""
    return path.suffix in (SERIES, SEGMENTS)


def write_series_list(folder: Path, name: str, series: Series) -> Path:
    """Keep which slices of which files a series is; returns the list."""
    plain = _plain(series)
    chosen = [(one.uid, one.frame) for one in series.slices]
    return _written(folder, name, SERIES, plain, chosen)


def write_segments_list(
    folder: Path, name: str, series: Series, label: Path, values: Mapping[int, int]
) -> Path:
    """Keep which numbers of a DICOM-SEG or RTSTRUCT are which values on a series' grid."""
    pairs = [[number, value] for number, value in values.items()]
    plain = {**_plain(series), "label": str(label.absolute()), "values": pairs}
    chosen = [*((one.uid, one.frame) for one in series.slices), *pairs]
    return _written(folder, name, SEGMENTS, plain, chosen)


def listed_files(path: Path) -> list[Path]:
    """The DICOM files that a list stands for, and the digest of what it chooses of them.

    Raises:
        DataError: the list is damaged.
    """
    plain = _read(path)
    label = [Path(plain["label"])] if "label" in plain else []
    files = dict.fromkeys(Path(file) for file, _ in plain["slices"])
    return [path.with_name(f"{path.name}.key"), *files, *label]


def listed_series(path: Path) -> Series:
    """The series of a list.

    Raises:
        DataError: the list is damaged, or its files are missing or have changed.
    """
    wanted = [(Path(file), int(frame)) for file, frame in _read(path)["slices"]]
    found: dict[tuple[Path, int], Slice] = {}
    for file in dict.fromkeys(file for file, _ in wanted):
        try:
            header = header_of(file)
        except (NoDicomError, OSError):
            header = None
        if header is None:
            raise DataError(f"{file} cannot be read", "", "copy the data set again, or check again")
        found |= {(file, one.frame): one for one in slices_of(file, header)}
    if missing := [file for file, frame in wanted if (file, frame) not in found]:
        raise DataError(f"{missing[0]} has changed", "", "check the data set again")
    return series_of([found[key] for key in wanted])


def listed_label(path: Path) -> tuple[Path, dict[int, int]]:
    """The DICOM-SEG or RTSTRUCT of a list, and the mask value of each number in it.

    Raises:
        DataError: the list is damaged.
    """
    plain = _read(path)
    return Path(plain["label"]), {int(number): int(value) for number, value in plain["values"]}


def _plain(series: Series) -> dict[str, Any]:
    return {"slices": [[str(one.path.absolute()), one.frame] for one in series.slices]}


def _written(folder: Path, name: str, ending: str, plain: Any, chosen: Any) -> Path:
    digest = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:8]
    path = folder / f"{name}_{digest}{ending}"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path.with_name(f"{path.name}.key"), digest)
    write_text(path, json.dumps(plain))
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read", "it lists DICOM files", "delete it; it is made anew"
        ) from error
    return dict(plain)
