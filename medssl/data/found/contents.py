"""What the images and masks of a data set hold: modality, channels, label values, grids."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medssl.data.dicom.header import read_header
from medssl.data.dicom.slices import first_slice_in
from medssl.data.files import DICOM, is_picture
from medssl.data.geometry import Geometry
from medssl.data.joined import is_joined
from medssl.data.picture.mask import LOSSY, colours_of
from medssl.data.picture.read import read_picture
from medssl.data.spec import Case
from medssl.data.volume import read_geometry, read_mask, read_volume
from medssl.data.workers import Workers
from medssl.errors import DataError, MedsslError

_SAMPLE = 5
_MOST_VALUES = 100
_AIR, _BONE = -200.0, 100.0
"""A CT shows air below and bone above these, HU; images of other kinds have no such values."""

Progress = Callable[[int, int], None]


@dataclass
class Contents:
    """What was found in the files of a data set.

    Attributes:
        channels: of one file.
        modality: as in a data spec; None where nothing tells.
        why: what tells the modality, in words.
        values: cases by the label value that their masks hold.
        empty: cases whose mask marks nothing.
        off_grid: cases whose mask does not lie on the grid of the scan.
        overlaps: a word on each case in whose mask structures overlap that have files of their own.
        unreadable: a sentence for each file that cannot be read.
        spacings: mm, of every scan.
        colours: cases by the colour in their masks, where these are pictures in colour.
    """

    channels: int = 1
    modality: str | None = None
    why: str = ""
    values: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    empty: list[str] = field(default_factory=list)
    off_grid: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    spacings: list[tuple[float, float, float]] = field(default_factory=list)
    colours: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def read_contents(cases: Sequence[Case], on_progress: Progress | None = None) -> Contents:
    """Headers of all scans, voxels of all masks and of a few scans.

    Raises:
        DataError: a mask holds so many values that it is none, or several in a JPEG, or nothing at
            all can be read.
    """
    found = Contents()
    with Workers(min(4, os.cpu_count() or 1)) as pool:
        for number, looked in enumerate(pool.map(_look, cases), start=1):
            _take(found, cases[number - 1], looked)
            if on_progress is not None:
                on_progress(number, len(cases))
    if found.unreadable and not found.spacings and not found.values:
        raise DataError(found.unreadable[0], do="check that these are medical images")
    _intensities(found, cases)
    return found


@dataclass
class _Look:
    """What one case showed."""

    grid: Geometry | None = None
    values: tuple[int, ...] | None = None
    colours: tuple[str, ...] = ()
    off_grid: bool = False
    overlaps: tuple[str, ...] = ()
    unreadable: list[str] = field(default_factory=list)


def _look(case: Case) -> _Look:
    look = _Look()
    image = next(iter(case.images.values()))
    try:
        look.grid = read_geometry(image)
    except MedsslError as error:
        look.unreadable.append(str(error))
    try:
        if case.label is not None:
            if is_picture(case.label) and (colours := colours_of(case.label)):
                look.values, look.colours = (), colours
                return look
            mask = read_mask(case.label, on=look.grid)
            look.values, look.overlaps = tuple(np.unique(mask.array).tolist()), mask.remarks
            look.off_grid = not (look.grid is None or mask.geometry.matches(look.grid))
    except MedsslError as error:
        look.unreadable.append(str(error))
    return look


def _take(found: Contents, case: Case, look: _Look) -> None:
    found.unreadable += look.unreadable
    if look.grid is not None:
        found.spacings.append(look.grid.spacing)
    found.off_grid += [case.id] * look.off_grid
    found.overlaps += [f"{case.id}: {one}" for one in look.overlaps[:1]]
    if look.values is None:
        return
    for colour in look.colours:
        found.colours[colour].append(case.id)
    if look.colours:
        return
    marked = [value for value in look.values if value != 0]
    if len(marked) > 1 and case.label is not None and case.label.suffix.lower() in LOSSY:
        raise DataError(
            f"{case.label} is no mask",
            f"it is a JPEG, which changes values, and holds {len(marked)} beside 0",
            "save masks as PNG, with one number per structure",
        )
    many = len(marked) > _MOST_VALUES and not (case.label is not None and is_joined(case.label))
    if many or any(not 0 < value < 256 for value in marked):
        raise DataError(
            f"{case.label} is no mask",
            f"it holds {len(marked)} values beside 0, from {min(marked)} to {max(marked)}",
            "a mask holds 0 and a small number per structure, at most 255; if it is a scan, give "
            "the masks' folder as --labels",
        )
    if not marked:
        found.empty.append(case.id)
    for value in marked:
        found.values[value].append(case.id)


def _intensities(found: Contents, cases: Sequence[Case]) -> None:
    """Modality and channels, by some of the scans."""
    images = [next(iter(case.images.values())) for case in cases]
    step = max(1, len(images) // _SAMPLE)
    stated, lows, highs = set(), [], []
    for path in images[::step][:_SAMPLE]:
        if is_picture(path):
            with suppress(MedsslError):
                found.channels = max(found.channels, read_picture(path).channels)
            if told := _stated(path):
                stated.add(told)
            continue
        if path.is_dir() and (told := _dicom_modality(path)):
            stated.add(told)
        try:
            array = read_volume(path).array
        except MedsslError:
            continue
        found.channels = len(array)
        lows.append(float(np.nanmin(array)))
        highs.append(float(np.nanmax(array)))
    if len(stated) == 1:
        found.modality, found.why = stated.pop(), "as the DICOM headers say"
    elif lows and np.median(lows) < _AIR and np.median(highs) > _BONE:
        span = f"{np.median(lows):.0f} to {np.median(highs):.0f}"
        found.modality, found.why = (
            "CT",
            f"as intensities go from {span}, which are Hounsfield units",
        )


def _dicom_modality(folder: Path) -> str | None:
    first = first_slice_in(folder)
    if first is None:
        return None
    try:
        told = str(read_header(first).get("Modality", ""))
    except Exception:  # a damaged header is told by whoever reads the series
        return None
    return told or None


def _stated(path: Path) -> str | None:
    """What the header of a single DICOM file says."""
    if path.suffix.lower() not in DICOM:
        return None
    with suppress(Exception):  # a damaged header is told by whoever reads the picture
        return str(read_header(path).get("Modality", "")) or None
    return None
