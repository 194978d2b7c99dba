"""What can be wrong with one case, each as one sentence that names the file and the remedy."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from medssl.data.files import is_picture
from medssl.data.geometry import Geometry
from medssl.data.joined import named_by
from medssl.data.layouts import holds_sessions
from medssl.data.overlaps import ORDER
from medssl.data.picture.mask import UnknownColour
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import Volume, read_mask, read_volume
from medssl.errors import DataError, MedsslError
from medssl.names import shown

Level = Literal["error", "warning"]
Rule = Literal[
    "series",
    "missing image",
    "missing label",
    "unreadable",
    "channels",
    "geometry",
    "label values",
    "empty mask",
    "non-finite",
    "constant",
    "patient",
    "duplicate",
    "unused",
    "label",
    "table",
    "empty bag",
    "scale",
    "tissue",
    "contrast",
    "side",
    "name",
    "undeclared",
    "dimensions",
]


MANY = 10
"""More values than these are not named."""

_LATER = f"{ORDER}; change their order if the other is to show"


@dataclass(frozen=True)
class Verdict:
    """One thing that is wrong.

    Attributes:
        case: id of the case; empty where a file belongs to none.
        file: the file concerned.
        what: the fact, naming the file.
        do: the remedy.
    """

    case: str
    file: Path
    level: Level
    rule: Rule
    what: str
    do: str


@dataclass
class Finding:
    """What inspecting one case brought.

    Attributes:
        digest: of the voxels of its images; None if one could not be read.
        grids: of its images, each once with the first file on it, else of its label.
        values: of its mask, the least; None where there is none that could be read.
    """

    case: Case
    verdicts: list[Verdict] = field(default_factory=list)
    digest: str | None = None
    grids: list[tuple[Path, Geometry]] = field(default_factory=list)
    values: tuple[int, ...] | None = None

    def add(self, file: Path, rule: Rule, what: str, do: str, level: Level = "error") -> None:
        """Note what is wrong."""
        self.verdicts.append(Verdict(self.case.id, file, level, rule, what, do))


@contextmanager
def noted(finding: Finding, path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file inside becomes a verdict on it, and the check goes on.

    Also what medssl did not foresee: one odd file must not hide what is wrong with the others.
    """
    try:
        yield
    except MedsslError as error:
        finding.add(path, "unreadable", *said(error))
    except MemoryError:
        what = f"{path} does not fit into the memory of this machine"
        finding.add(path, "unreadable", what, "check its header, or use a machine with more memory")
    except Exception as error:
        words = shown(str(error), 200)
        what = f"{path} cannot be checked: unexpected {type(error).__name__}: {words}"
        finding.add(path, "unreadable", what, "please report it, with the file if you may")


def inspect(case: Case, spec: DataSpec) -> Finding:
    """Everything that is wrong with a case on its own; its files are read.

    To have no label is not wrong.
    """
    finding = Finding(case)
    volumes = _images(finding, spec)
    for volume in volumes:
        if not any(volume.geometry.matches(grid) for _, grid in finding.grids):
            finding.grids.append((Path(volume.source), volume.geometry))
    for other in volumes[1:]:
        if spec.resample_channels:
            _resampled(finding, spec)
            break
        if holds_sessions(spec):
            _apart(finding, other, volumes[0])
        else:
            _must_match(finding, Path(other.source), other.geometry, volumes[0])
    if case.label is not None:
        _label(finding, case.label, spec, volumes[0] if volumes else None)
    return finding


def _images(finding: Finding, spec: DataSpec) -> list[Volume]:
    """The images that can be read, in channel order."""
    case = finding.case
    if not case.images:
        finding.add(
            case.label or Path(case.id),
            "missing image",
            f"the label {case.label} has no image" if case.label else f"case {case.id} has no file",
            "add the image or remove the label" if case.label else "name its image or remove it",
        )
    elif absent := [
        name for name in spec.channels if name not in case.images and not holds_sessions(spec)
    ]:
        file = next(iter(case.images.values()))
        finding.add(
            file,
            "channels",
            f"{file} is there but the channel {' and '.join(absent)} of case {case.id} is not",
            f"add its file (the data set has the channels {', '.join(spec.channels)}), or write "
            "`sessions: true` under `layout` in the data spec if it is for pre-training",
        )
    paths = list(case.images.values())
    read = [_image(finding, path, paths.count(path)) for path in dict.fromkeys(paths)]
    volumes = [volume for volume in read if volume is not None]
    if volumes and len(volumes) == len(read):
        digest = hashlib.blake2b(digest_size=16)
        for volume in volumes:
            digest.update(np.ascontiguousarray(volume.array).data)
        finding.digest = digest.hexdigest()
    return volumes


def _image(finding: Finding, path: Path, channels: int) -> Volume | None:
    if not path.exists():
        finding.add(
            path,
            "missing image",
            f"the image {path} of case {finding.case.id} does not exist",
            "add the file or remove the case",
        )
        return None
    with noted(finding, path):
        volume = read_volume([path] * channels if is_picture(path) else path)
        _voxels(finding, path, volume, channels)
        return volume
    return None


def _voxels(finding: Finding, path: Path, volume: Volume, channels: int) -> None:
    if len(volume.array) != channels:
        finding.add(
            path,
            "channels",
            f"{path} has {len(volume.array)} channels instead of {channels}",
            "split or join the channels as the data spec declares them, or correct its `channels`",
        )
    finite = np.isfinite(volume.array)
    if not finite.all():
        finding.add(
            path,
            "non-finite",
            f"{path} has {int((~finite).sum())} voxels that are not finite (NaN or infinite)",
            "replace them, by 0 outside the body, or export the image again",
        )
    elif words := constant(volume):
        finding.add(path, "constant", *words)


def constant(volume: Volume) -> tuple[str, str] | None:
    """What is wrong with an image that shows nothing, and the remedy; None where it shows more."""
    for index, channel in enumerate(volume.array):
        few = channel[::8, ::8, ::8]  # enough to tell nearly every image, without reading it all
        if few.min() != few.max():
            continue
        low = channel.min()
        if low == channel.max():
            file = volume.file_of(index)
            which = f"channel {index} of {file}" if volume.files.count(file) > 1 else file
            what = f"{which} has the value {low:g} in every voxel"
            return what, "export the image again or remove the case"
    return None


def empty(label: str) -> tuple[str, str]:
    """What is wrong with a mask without foreground, and the remedy."""
    return f"{label} marks no voxel", (
        "draw the mask, remove it, or write `empty_masks: true` in the data spec if it is meant so"
    )


def _label(finding: Finding, path: Path, spec: DataSpec, image: Volume | None) -> None:
    if not path.exists():
        finding.add(
            path,
            "missing label",
            f"the label {path} of case {finding.case.id} does not exist",
            "add the mask or remove it from the list",
        )
        return
    with noted(finding, path):
        try:
            mask = read_mask(path, spec.labels, None if image is None else image.geometry)
        except UnknownColour as error:
            finding.add(path, "label values", *said(error))
            return
        if image is not None:
            _must_match(finding, Path(mask.source), mask.geometry, image)
        for remark in mask.remarks:
            finding.add(path, "label values", f"{mask.source}: {remark}", _LATER, "warning")
        finding.grids = finding.grids or [(path, mask.geometry)]
        values = np.unique(mask.array).tolist()
        finding.values = tuple(values[:MANY])
        _values(finding, path, spec, set(values))


def _values(finding: Finding, path: Path, spec: DataSpec, values: set[int]) -> None:
    odd = sorted(values - set(spec.mask_values))
    if spec.labels and odd:
        declared = ", ".join(str(value) for value in spec.mask_values)
        finding.add(
            path,
            "label values",
            f"{path} holds {some(odd)} where only {declared} are declared",
            "correct the mask or declare the values under `labels` in the data spec",
        )
    if values == {spec.ignore}:
        what = f"{path} has the value {spec.ignore} in every voxel, which is ignored"
        finding.add(path, "empty mask", what, "outline a part of it, or remove the mask")
    elif not values - {0, spec.ignore} and not spec.empty_masks:
        finding.add(path, "empty mask", *empty(named_by(path)))


def _must_match(finding: Finding, path: Path, grid: Geometry, image: Volume) -> None:
    if not grid.matches(image.geometry):
        finding.add(
            path,
            "geometry",
            f"{path} does not lie on the grid of {image.source}: {grid.difference(image.geometry)}",
            "resample it to the image, or correct the header that is wrong",
        )


def _resampled(finding: Finding, spec: DataSpec) -> None:
    """Channels may lie on other grids, if they show the place of the first."""
    images = finding.case.images
    files = [images[name] for name in spec.channels if name in images]
    try:
        read_volume(files, resample=True)
    except DataError as error:
        finding.add(files[0], "geometry", *said(error))


def _apart(finding: Finding, scan: Volume, first: Volume) -> None:
    """Scans of a session may have grids of their own, but then make no pair."""
    if difference := scan.geometry.difference(first.geometry):
        finding.add(
            Path(scan.source),
            "geometry",
            f"{scan.source} does not lie on the grid of {first.source}: {difference}",
            "pre-training makes no pair of them; resample it to the other for that",
            "warning",
        )


def some(values: list[int]) -> str:
    """Values for a sentence, the first of many."""
    first = ", ".join(map(str, values[:MANY]))
    return first if len(values) <= MANY else f"{first} and {len(values) - MANY} more values"


def said(error: MedsslError) -> tuple[str, str]:
    """What is wrong with a file that cannot be read, and the remedy."""
    fact = f"{error.what}: {error.why}" if error.why else error.what
    return fact, error.do or "replace the file"
