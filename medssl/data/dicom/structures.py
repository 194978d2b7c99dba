"""What a DICOM-SEG or RTSTRUCT marks, on the grid of a series.

Legend: X Y Z voxels of the series (columns, rows, slices).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.dicom.facts import discreet, naming_parts
from medssl.data.dicom.header import read_header
from medssl.data.dicom.polygons import filled, together
from medssl.data.dicom.series import Series
from medssl.data.dicom.stored import DAMAGE
from medssl.data.overlaps import Layers
from medssl.errors import DataError

SEG, LABELMAP, RTSTRUCT = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
)

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_CLOSED = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_OPEN = "POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"
_OFF_GRID = 0.1
"""Voxels by which the grid of a segmentation may be beside that of the series."""
_FAR = 256  # voxels over which differences of the steps add up


_ONE_PLANE = 0.1
"""Slices by which contours of one plane may be apart."""

_FEW = 2
"""Outlined slices that may be evenly apart by chance."""


@dataclass(frozen=True)
class Structure:
    """A segment of a DICOM-SEG or a structure of an RTSTRUCT.

    Attributes:
        code: value and scheme of what it is; None where it is not said.
    """

    number: int
    name: str
    code: tuple[str, str] | None


@dataclass(frozen=True)
class Structures:
    """What a DICOM-SEG or RTSTRUCT says of itself.

    Attributes:
        series: UIDs of the series that it refers to.
        images: UIDs of the images.
    """

    path: Path
    found: tuple[Structure, ...]
    series: frozenset[str]
    images: frozenset[str]

    def is_on(self, series: Series) -> bool:
        """Whether it was drawn on a series."""
        named = {one.series for one in series.slices}
        return bool(named & self.series) or self.shows(series)

    def shows(self, series: Series) -> bool:
        """Whether it refers to images of a series."""
        return bool(self.images & {one.uid for one in series.slices})


def read_structures(path: Path) -> Structures:
    """The structures of a DICOM-SEG or RTSTRUCT, from its header.

    Raises:
        DataError: it cannot be read.
    """
    try:
        header = read_header(path)
        return Structures(path, tuple(_found(header)), *_referred(header))
    except DAMAGE as error:
        raise _damaged(path) from error


def read_marked(
    path: Path, values: Mapping[int, int], series: Series
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A mask [X, Y, Z] uint8 on the grid of a series, and where structures overlap, in sentences.

    Later values lie over earlier ones.

    Args:
        values: of each number of a segment or structure that counts.

    Raises:
        DataError: it cannot be read, or lies on another grid.
    """
    from pydicom import dcmread

    layers = Layers(series.geometry.shape)
    try:
        image = dcmread(path)
        names, naming = _names(image), naming_parts(image)
        for number, value in values.items():
            if image.SOPClassUID == RTSTRUCT:
                marked = _drawn(image, number, series, path)
            else:
                marked = np.zeros(series.geometry.shape, bool)
                for places in _marked(image, number, series, path):
                    marked[tuple(places.T)] = True
            layers.lay(marked, discreet(names.get(number, ""), naming), value)
    except DAMAGE as error:
        raise _damaged(path) from error
    return layers.mask, layers.remarks


def _names(header: Any) -> dict[int, str]:
    """The name of each structure, or else its number."""
    return {one.number: one.name.strip() or f"number {one.number}" for one in _found(header)}


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} cannot be read", "its header or its pixels are damaged", "export it again"
    )


def _found(header: Any) -> list[Structure]:
    """The structures that a header declares."""
    if header.SOPClassUID == RTSTRUCT:
        return [_of_contours(header, one) for one in header.StructureSetROISequence]
    return [_of_segment(one) for one in header.SegmentSequence if one.SegmentNumber]


def _of_segment(one: Any) -> Structure:
    kinds = one.get("SegmentedPropertyTypeCodeSequence") or [None]
    return Structure(int(one.SegmentNumber), str(one.get("SegmentLabel") or ""), _code(kinds[0]))


def _of_contours(header: Any, one: Any) -> Structure:
    number = int(one.ROINumber)
    codes = [
        code
        for seen in header.get("RTROIObservationsSequence") or []
        if seen.get("ReferencedROINumber") == number
        for code in seen.get("RTROIIdentificationCodeSequence") or []
    ]
    return Structure(number, str(one.get("ROIName") or ""), _code(codes[0] if codes else None))


def _code(item: Any) -> tuple[str, str] | None:
    if item is None or "CodeValue" not in item:
        return None
    return str(item.CodeValue), str(item.get("CodingSchemeDesignator") or "")


def _referred(header: Any) -> tuple[frozenset[str], frozenset[str]]:
    """UIDs of series and images that are referred to, however deep they lie."""
    series, images = set[str](), set[str]()

    def look(dataset: Any) -> None:
        for element in dataset:
            if element.keyword == "SeriesInstanceUID" and dataset is not header:
                series.add(str(element.value))
            elif element.keyword == "ReferencedSOPInstanceUID":
                images.add(str(element.value))
            elif element.VR == "SQ":
                for item in element.value:
                    look(item)

    look(header)
    return frozenset(series), frozenset(images)


def _marked(image: Any, number: int, series: Series, path: Path) -> Iterator[np.ndarray]:
    """Voxels [N, 3] of a segment, frame by frame."""
    pixels = image.pixel_array.reshape(-1, image.Rows, image.Columns)
    to_voxels = np.linalg.inv(series.geometry.affine) @ _LPS_TO_RAS
    shared = (image.get("SharedFunctionalGroupsSequence") or [None])[0]
    fraction = image.get("SegmentationType") == "FRACTIONAL"
    least = image.MaximumFractionalValue / 2 if fraction else 0.5
    frames = image.PerFrameFunctionalGroupsSequence
    declared = {int(one.SegmentNumber) for one in image.SegmentSequence}
    for values, frame in zip(pixels, frames, strict=True):
        named = _group(frame, shared, "SegmentIdentificationSequence")
        if image.SOPClassUID == LABELMAP or image.get("SegmentationType") == "LABELMAP":
            plane = values == number
        elif int(named.ReferencedSegmentNumber) not in declared:
            raise ValueError("a frame is of a segment that there is not")
        elif int(named.ReferencedSegmentNumber) == number:
            plane = values >= least
        else:
            continue
        if plane.any():
            rows, columns = np.nonzero(plane)
            first, steps = _lattice(frame, shared, to_voxels, path)
            places = first + np.outer(columns, steps[0]) + np.outer(rows, steps[1])
            if (places < 0).any() or (places >= series.geometry.shape).any():
                raise _elsewhere(path, "it marks voxels beyond the series")
            yield places


def _group(frame: Any, shared: Any, keyword: str) -> Any:
    """A functional group of a frame, or that of all frames; None without one."""
    for groups in (frame, shared):
        if groups is not None and keyword in groups:
            return groups[keyword].value[0]
    return None


def _lattice(
    frame: Any, shared: Any, to_voxels: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Voxel of the first pixel of a frame, and the steps from column to column and row to row."""
    orientation = _group(frame, shared, "PlaneOrientationSequence").ImageOrientationPatient
    place = _group(frame, shared, "PlanePositionSequence").ImagePositionPatient
    down, across = map(float, _group(frame, shared, "PixelMeasuresSequence").PixelSpacing)
    directions = np.reshape(orientation, (2, 3)).astype(float) * [[across], [down]]
    steps = directions @ to_voxels[:3, :3].T
    first = to_voxels[:3, :3] @ np.array(place, float) + to_voxels[:3, 3]
    whole = np.rint(steps), np.rint(first)
    apart = max(np.abs(steps - whole[0]).max() * _FAR, np.abs(first - whole[1]).max())
    if apart > _OFF_GRID or (np.abs(whole[0]).sum(axis=1) != 1).any():
        raise _elsewhere(path, "its pixels are others than those of the series")
    return whole[1].astype(int), whole[0].astype(int)


@dataclass(frozen=True)
class _Contour:
    """A closed contour: polygon [N, 2] in voxels, and by how many slices it is off its slice."""

    polygon: np.ndarray
    beside: float
    exclusive: bool


def _drawn(image: Any, number: int, series: Series, path: Path) -> np.ndarray:
    """The filled contours of a structure, bool [X, Y, Z].

    Of planes that are closer than slices that nearest to each slice counts.
    """
    mask = np.zeros(series.geometry.shape, bool)
    to_voxels = np.linalg.inv(series.geometry.affine) @ _LPS_TO_RAS
    found: dict[int, list[_Contour]] = {}
    for contour in _contours(image, number):
        places = np.reshape(contour.ContourData, (-1, 3)).astype(float)
        voxels = places @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        slice_ = int(np.rint(voxels[:, 2].mean()))
        if np.abs(voxels[:, 2] - slice_).max() > 0.5:
            raise _elsewhere(path, "a contour does not lie in one slice of the series")
        if not 0 <= slice_ < mask.shape[2]:
            raise _elsewhere(path, "a contour lies beyond the slices of the series")
        exclusive = contour.ContourGeometricType == "CLOSEDPLANAR_XOR"
        beside = float(voxels[:, 2].mean()) - slice_
        found.setdefault(slice_, []).append(_Contour(voxels[:, :2], beside, exclusive))
    _refuse_sparse(sorted(found), path)
    shape = mask.shape[0], mask.shape[1]
    for slice_, drawn in found.items():
        nearest = min((one.beside for one in drawn), key=abs)
        plane = [one for one in drawn if abs(one.beside - nearest) < _ONE_PLANE]
        inside = together([one.polygon for one in plane if not one.exclusive], shape)
        apart = [filled(one.polygon, shape) for one in plane if one.exclusive]
        mask[:, :, slice_] = inside | np.logical_xor.reduce([np.zeros(shape, bool), *apart])
    return mask


def _refuse_sparse(slices: Sequence[int], path: Path) -> None:
    """Refuse outlines of every second or third slice alone: those between would be background."""
    steps = set(np.diff(slices).tolist())
    if len(slices) > _FEW and len(steps) == 1 and (step := steps.pop()) > 1:
        raise DataError(
            f"{path} outlines a structure on every {step}. slice alone, {len(slices)} times",
            "the slices between them would teach that nothing is there",
            "fill them in where it was drawn, e.g. by interpolation, and export it again",
        )


def _contours(image: Any, number: int) -> Iterator[Any]:
    """The closed contours of a structure; points and lines mark no voxel."""
    for structure in image.get("ROIContourSequence") or []:
        if structure.get("ReferencedROINumber") == number:
            for contour in structure.get("ContourSequence") or []:
                kind, count = contour.ContourGeometricType, len(contour.ContourData)
                told = int(contour.get("NumberOfContourPoints") or count / 3)
                if kind not in (*_CLOSED, *_OPEN) or count != 3 * told:
                    raise ValueError("a contour is not what it says")
                if kind in _CLOSED and count >= 9:
                    yield contour


def _elsewhere(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} does not lie on the grid of its series", why, "export it on the series itself"
    )
