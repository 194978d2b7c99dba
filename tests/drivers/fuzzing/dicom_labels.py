"""Masks in DICOM-SEG and RTSTRUCT beside the series that they were drawn on."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from numpy.random import Generator

from tests.dicom_series import write_series
from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.elements import odd_element
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.volumes import name_subject, subject

SHAPE = (11, 9, 6)
KINDS = ("binary", "fractional", "labelmap", "rtstruct")

SPEC = """
title: Studies
modality: MR
channels: [t1]
labels: [{value: 1, name: liver}, {value: 2, name: tumour}]
root: studies
layout: {kind: dicom}
licence: none
citation: none
"""


def _make(place: Path) -> None:
    from medssl.data.dicom.series import find_series
    from medssl.data.geometry import Geometry
    from medssl.data.labels import Label
    from medssl.export.dicom_seg import write_dicom_seg
    from medssl.export.result import Result
    from medssl.export.rtstruct import write_rtstruct

    grid = Geometry(SHAPE, np.diag([-0.5, -1.25, 3.0, 1.0]))
    values = np.random.default_rng(0).integers(1, 500, SHAPE)
    study = place / "data" / "studies" / "a"
    told = {"SeriesDescription": "T1", "PatientID": "a"}
    series = find_series(write_series(study / "t1", grid, values, **told))
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:10, 1:8, 1:4] = 1
    mask[7:9, 2:4, 3] = 2
    labels = Label(value=1, name="liver"), Label(value=2, name="tumour")
    fractions = np.stack([mask == value for value in (0, 1, 2)]).astype(np.float32)
    result = Result(mask, grid, labels, "mask", series, fractions)
    (place / "kinds").mkdir()
    for kind in KINDS[:3]:
        write_dicom_seg(result, place / "kinds" / f"{kind}.dcm", kind)
    write_rtstruct(result, place / "kinds" / "rtstruct.dcm")
    (place / "data_specs").mkdir()
    (place / "data_specs" / "studies.yaml").write_text(SPEC)


def _damage(place: Path, rng: Generator) -> str:
    study, kind = place / "data" / "studies" / "a", pick(rng, KINDS)
    path = name_subject(place, study / "mask.dcm")
    path.write_bytes((place / "kinds" / f"{kind}.dcm").read_bytes())
    if rng.random() < 0.1:
        path = pick(rng, sorted((study / "t1").iterdir()))
    words = damage_bytes(path, rng) if rng.random() < 0.2 else odd_element(path, rng)
    return f"{kind}, {path.name}: {words}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    from medssl.data.cache import CaseCache
    from medssl.data.layouts import find_cases, listed_cases
    from medssl.data.spec import load_spec
    from medssl.data.volume import read_mask
    from medssl.transforms.chain import Preprocess

    path, spec = subject(place), load_spec("studies")

    def mask() -> None:
        for case in listed_cases(spec)[0]:
            if case.label is not None:
                _compare(path, read_mask(case.label).array[0])

    def cache() -> None:
        for case in find_cases(spec):
            CaseCache(Path("cache"), spec, Preprocess.of("mr")).open(case)

    yield "mask", mask
    yield "cache", cache
    yield "check", lambda: medssl("data", "check", "studies", "-q")


def _compare(path: Path, mine: np.ndarray) -> None:
    """How many voxels a segmentation marks, as pydicom has it."""
    try:
        image = pydicom.dcmread(path)
        if "ROIContourSequence" in image:
            _compare_contours(image)
        kind = image.SegmentationType
        numbers = {one.SegmentLabel.strip().lower(): one.SegmentNumber
                   for one in image.SegmentSequence}  # fmt: skip
        pixels = image.pixel_array.reshape(-1, image.Rows, image.Columns)
        frames = image.PerFrameFunctionalGroupsSequence
        named = [0 if kind == "LABELMAP" else one.SegmentIdentificationSequence[0]
                 .ReferencedSegmentNumber for one in frames]  # fmt: skip
    except Silent:
        raise
    except Exception:
        return  # an RTSTRUCT, or where pydicom fails
    if lost := set(named) - {0, *numbers.values()}:
        raise Silent(f"frames of {lost}, which is no segment, are lost")
    marked = {}
    for name, number in numbers.items():
        if kind == "LABELMAP":
            marked[name] = int((pixels == number).sum())
        else:
            least = image.MaximumFractionalValue / 2 if kind == "FRACTIONAL" else 0.5
            own = [plane for plane, other in zip(pixels, named, strict=True) if other == number]
            marked[name] = int(sum((plane >= least).sum() for plane in own))
    for value, name in enumerate(("liver", "tumour"), start=1):
        # The other label may lie over it, and its segment may have lost its name.
        found, wanted = int((mine == value).sum()), marked.get(name)
        if wanted is not None and found > wanted:
            raise Silent(f"{found} voxels of {name}, pydicom {wanted}")
    if marked and sum(marked.values()) < int((mine > 0).sum()):
        raise Silent(f"{int((mine > 0).sum())} voxels, pydicom {marked}")


def _compare_contours(image: pydicom.Dataset) -> None:
    """A contour with fewer points than it says, or of a kind that there is not, was refused."""
    labels = {one.ROINumber for one in image.StructureSetROISequence
              if one.ROIName in ("liver", "tumour")}  # fmt: skip
    for structure in image.ROIContourSequence:
        if structure.ReferencedROINumber not in labels:
            continue
        for contour in structure.get("ContourSequence") or ():
            count, told = len(contour.ContourData), contour.get("NumberOfContourPoints")
            if told and count != 3 * told:
                raise Silent(f"{told} points with {count} coordinates")
            if "PLANAR" not in contour.ContourGeometricType:
                raise Silent(f"{contour.ContourGeometricType!r} is no kind of contour")


FORMAT = Format("dicom_labels", _make, _damage, _exercise)
