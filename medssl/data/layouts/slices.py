"""Slices of another data set's volumes as pictures, made on first use: `CASE_012/t1.png`.

A slice is a case of its own, and keeps the patient of its volume. Intensities of a scan become 0 to
65,535, so that slices of one scan keep their scale; masks hold the values of the other data set.
The folder's name is a hash of all that the files depend on, and it appears by one rename.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medssl.atomic import appearing
from medssl.data.geometry import Geometry, Orientation
from medssl.data.layout import Layout
from medssl.data.layouts import find_cases
from medssl.data.picture.write import write_png
from medssl.data.spec import Case, DataSpec, load_spec
from medssl.errors import UsageError

VERSION = 1  # of what equal options give; raise it when equal volumes give other slices

_AXES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}
"""How columns, rows and slices run, so that a picture hangs as radiologists see it."""

_WHITE = 65_535
LIST = "cases.json"


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str = Field(description="name or path of the data spec of the volumes")
    plane: Literal["axial", "coronal", "sagittal"] = Field(
        default="axial", description="of the slices"
    )
    every: int = Field(default=1, ge=1, description="of so many slices that would do, one is taken")
    marked: bool = Field(
        default=True,
        description="of a volume with a mask, only slices on which it marks something would do",
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """The slices, by volume and place; makes them if they do not exist yet."""
    options = spec.layout.options(Options)
    source = load_spec(options.of)
    if odd := [name for name in spec.channels if name not in source.channels]:
        raise UsageError(
            f"the channel '{odd[0]}' of {spec.name} is none of {source.name}",
            do=f"choose from {', '.join(source.channels)}",
        )
    volumes = [
        one for one in find_cases(source) if all(name in one.images for name in spec.channels)
    ]
    folder = root / _key(spec, options, volumes)
    if not folder.is_dir():
        _make(spec, options, source, volumes, folder)
    listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
    return [_case(spec, folder, *one) for one in listed]


def _key(spec: DataSpec, options: Options, volumes: list[Case]) -> str:
    from medssl.data.pixels import files_of

    known: list[object] = [VERSION, options.model_dump(), spec.channels]
    for case in volumes:
        paths = [case.images[name] for name in spec.channels]
        files = [file for path in [*paths, *filter(None, [case.label])] for file in files_of(path)]
        stated = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        known.append([case.id, case.patient, case.label is not None, stated])
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]


def _case(spec: DataSpec, folder: Path, name: str, patient: str, labelled: bool) -> Case:
    images = {channel: folder / name / f"{channel}.png" for channel in spec.channels}
    return Case(name, patient, images, folder / name / "mask.png" if labelled else None)


def _make(
    spec: DataSpec, options: Options, source: DataSpec, volumes: list[Case], folder: Path
) -> None:
    listed: list[tuple[str, str, bool]] = []
    with appearing(folder, first_wins=True) as beside:
        beside.mkdir()
        for case in volumes:
            for name in _sliced(spec, options, source, case, beside):
                listed.append((name, case.patient, case.label is not None))
        (beside / LIST).write_text(json.dumps(listed), encoding="utf-8")


def _sliced(
    spec: DataSpec, options: Options, source: DataSpec, case: Case, folder: Path
) -> Iterator[str]:
    """Write the slices of one volume; yields their names."""
    from medssl.data.volume import read_mask, read_volume

    volume = read_volume([case.images[name] for name in spec.channels], source.resample_channels)
    mask = None
    if case.label is not None:
        mask = read_mask(case.label, source.labels, volume.geometry).array[0].astype(np.uint8)
    grid, turn = volume.geometry.oriented(_AXES[options.plane])
    scaled = turn.apply(np.stack([_scaled(channel) for channel in volume.array]))
    for index in _chosen(mask, turn, grid, options):
        name = f"{case.id}_{index:03d}"
        (folder / name).mkdir()
        plane = grid.cropped((0, 0, index), (*grid.shape[:2], index + 1))
        for channel, image in zip(spec.channels, scaled, strict=True):
            write_png(image[..., index : index + 1], plane, folder / name / f"{channel}.png")
        if mask is not None:
            marked = turn.apply(mask)[..., index : index + 1]
            write_png(marked, plane, folder / name / "mask.png")
        yield name


def _chosen(
    mask: np.ndarray | None, turn: Orientation, grid: Geometry, options: Options
) -> list[int]:
    """Which slices are taken."""
    fitting = list(range(grid.shape[2]))
    if mask is not None and options.marked:
        fitting = np.flatnonzero(turn.apply(mask).any(axis=(0, 1))).tolist()
    return fitting[:: options.every]


def _scaled(channel: np.ndarray) -> np.ndarray:
    """A scan [X, Y, Z] as uint16."""
    low, high = float(channel.min()), float(channel.max())
    share = (channel.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.rint(share * _WHITE).astype(np.uint16)


LAYOUT = Layout(Options, cases, makes_files=True)
