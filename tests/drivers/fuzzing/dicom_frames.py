"""Multi-frame DICOM as volumes: functional groups, tags at the top level, pixels, bytes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, NuclearMedicineImageStorage

from medssl.data.files import is_image, is_picture
from medssl.errors import MedsslError
from tests.drivers.fuzzing.damage import damage_bytes, pick
from tests.drivers.fuzzing.dicom import write_image
from tests.drivers.fuzzing.elements import odd_element
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.volumes import name_subject, read_everywhere, whole_case

FRAMES, ROWS, COLUMNS = 6, 12, 10
ACROSS = [1, 0, 0, 0, 1, 0]


def _make(place: Path) -> None:
    whole_case(place)
    rng = np.random.default_rng(0)
    (place / "kinds").mkdir()
    (place / "series").mkdir()
    pixels = rng.integers(0, 900, (FRAMES, ROWS, COLUMNS)).astype(np.int16)
    told = {"Modality": "MR", "SOPInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.3",
            "StudyInstanceUID": "1.2", "Rows": ROWS, "Columns": COLUMNS,
            "NumberOfFrames": FRAMES}  # fmt: skip
    shared = _item(
        PlaneOrientationSequence=[_item(ImageOrientationPatient=ACROSS)],
        PixelMeasuresSequence=[_item(PixelSpacing=[1.5, 0.5], SliceThickness="2")],
    )
    frames = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[-5, 3, 2 * number])],
            PixelValueTransformationSequence=[
                _item(RescaleSlope=str(number + 1), RescaleIntercept="-3", RescaleType="US")
            ],
            FrameContentSequence=[_item(TemporalPositionIndex=1, FrameAcquisitionNumber=1)],
            MREchoSequence=[_item(EffectiveEchoTime=10.0)],
        )
        for number in range(FRAMES)
    ]
    write_image(
        place / "kinds" / "enhanced.dcm", pixels, EnhancedMRImageStorage, **told,
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
    )  # fmt: skip
    write_image(
        place / "kinds" / "stacked.dcm", pixels, NuclearMedicineImageStorage,
        **{**told, "Modality": "NM"}, SpacingBetweenSlices="2.5", PixelSpacing=[1.5, 0.5],
        DetectorInformationSequence=[
            _item(ImagePositionPatient=[-5, 3, 0], ImageOrientationPatient=ACROSS)
        ],
        RescaleSlope="2", RescaleIntercept="-3",
    )  # fmt: skip
    (place / "cases.csv").write_text("case,image\nbad,series\n")
    (place / "spec.yaml").write_text(
        "{title: T, modality: MR, channels: [image], root: .., licence: CC0, citation: none,"
        " layout: {kind: table}}"
    )


def _item(**tags: Any) -> Dataset:
    made = Dataset()
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def _damage(place: Path, rng: Generator) -> str:
    kind = pick(rng, sorted((place / "kinds").iterdir()))
    path = name_subject(place, place / "series") / "0.dcm"
    path.write_bytes(kind.read_bytes())
    words = damage_bytes(path, rng) if rng.random() < 0.25 else odd_element(path, rng)
    return f"{kind.name}: {words}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    yield from read_everywhere(place, _compare, "spec.yaml")
    yield "predicted", lambda: _compare_mask(place)


def _compare(folder: Path, volume: Any) -> None:
    """Number of frames, and the sum of their rescaled voxels, against pydicom's."""
    (path,) = folder.iterdir()
    try:
        header = pydicom.dcmread(path, force=True)
        pixels = header.pixel_array.reshape(-1, header.Rows, header.Columns).astype(np.float64)
        groups = header.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * len(pixels)
        scaled = [plane * slope + intercept for plane, (slope, intercept) in
                  zip(pixels, (_scale(header, one) for one in groups), strict=True)]  # fmt: skip
    except Exception:
        return  # where pydicom fails, it cannot tell
    if volume.geometry.shape[2] != len(scaled):
        raise Silent(f"{volume.geometry.shape[2]} slices of {len(scaled)} frames")
    theirs, mine = float(np.sum(scaled)), float(volume.array.astype(np.float64).sum())
    if not np.isclose(theirs, mine, rtol=1e-4, equal_nan=True):
        raise Silent(f"sum {mine:g}, pydicom {theirs:g}")


def _compare_mask(place: Path) -> None:
    """A mask lies where the volume does, and there is none where there is no volume."""
    from medssl.data.volume import read_geometry

    masks = [path for path in (place / "out").glob("*") if is_image(path) or is_picture(path)]
    if masks:
        try:
            volume = read_geometry(place / "series")
        except MedsslError as error:
            if not _is_placed(place / "series"):
                return  # a picture of several frames
            raise Silent(f"predicted what is refused elsewhere: {error}") from error
        if not all(read_geometry(path).matches(volume) for path in masks):
            raise Silent("the mask does not lie on the volume")


def _is_placed(folder: Path) -> bool:
    """Whether anything in a file says where it lies."""
    (path,) = folder.iterdir()
    header = pydicom.dcmread(path, force=True)
    return any(one.keyword == "ImagePositionPatient" for one in header.iterall())


def _scale(header: Dataset, frame: Dataset) -> tuple[float, float]:
    """Slope and intercept of a frame, of all frames, or at the top level."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for holder in (frame, shared):
        if found := holder.get("PixelValueTransformationSequence"):
            return float(found[0].RescaleSlope), float(found[0].RescaleIntercept)
    if "PerFrameFunctionalGroupsSequence" in header:
        return 1.0, 0.0
    return float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))


FORMAT = Format("dicom_frames", _make, _damage, _exercise)
