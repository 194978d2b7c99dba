"""What others make of our DICOM: dciodvfy judges it; dcmqi, Slicer, plastimatch and OHIF read it.

None of them shares code with what writes: dcmqi is what 3D Slicer reads segmentations and reports
with (DCMTK), slicer-core the libraries of 3D Slicer itself, plastimatch an early reader of
structure sets, @cornerstonejs/adapters with dcmjs what the OHIF viewer reads segmentations with.
Tests of a reader that is not there are skipped: `pip install medssl[readers]` brings dcmqi,
slicer-core and plastimatch, the Debian package dicom3tools dciodvfy, and `npm install && npm run
build` in tests/export/ohif the reader of OHIF.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from medssl.data.dicom.series import find_series
from medssl.data.geometry import Geometry
from medssl.data.labels import Label
from medssl.data.volume import read_volume
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Algorithm, Result
from medssl.export.rtstruct import write_rtstruct
from tests.dicom_series import write_series
from tests.export.conftest import LABELS

OHIF = Path(__file__).parent / "ohif"
SLICER = Path(__file__).parent / "slicer_reads.py"

SHAPE = (14, 11, 6)
GRIDS = {
    "straight": np.diag([-0.5, -1.25, 3.0, 1.0]),
    "sagittal": np.array([[0, 0, 2.0, 1], [-0.7, 0, 0, 2], [0, -0.9, 0, 3], [0, 0, 0, 1]]),
    "oblique": np.array(
        [[-0.6, 0, 0, 5], [0, -0.64, 1.2, 6], [0, -0.48, -1.6, 7], [0, 0, 0, 1]], float
    ),
}

JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "SeriesDescription": "頭部 T1",
    "StudyDescription": "脳",
}
"""Texts of a series that changes between sets of letters, as scanners in Japan do."""

OF_LETTERS = (
    "(0x0008,0x0005) CS Specific Character Set",
    "- this is a Standard Extended SOP Class",
)
"""How warnings end of items that state their letters themselves, which OHIF needs."""


def run(tool: str, *arguments: object) -> str:
    """What a tool says; the test is skipped where the tool is not there."""
    beside = Path(sys.executable).parent / tool
    path = str(beside) if beside.is_file() else shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not there: install medssl[readers] or the package dicom3tools")
    told = subprocess.run(
        [path, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    return told.stdout + told.stderr


class Written:
    """Every kind of DICOM of one mask.

    Args:
        labels: of the values 1, 5 and 2.
        header: other attributes of the series.
    """

    def __init__(
        self, folder: Path, affine: np.ndarray, labels: tuple[Label, ...], **header: object
    ) -> None:
        grid, self.labels = Geometry(SHAPE, affine), labels
        told = {"StudyID": "1", "StudyDate": "20200101", "StudyTime": "120000", **header}
        self.series = write_series(folder / "series", grid, **told)
        self.mask = np.zeros(SHAPE, np.uint8)
        self.mask[1:12, 2:8, 0:4], self.mask[3:9, 3:7, 1:3] = 1, 0  # with a hole
        self.mask[4:7, 4:6, 2] = 5
        self.mask[2:3, 9:11, 3:6] = 2
        fractions = np.stack([self.mask == value for value in (0, 1, 5, 2)]) * 0.9 + 0.025
        algorithm = Algorithm("medssl tracoco, toy", parameters=(("step", "7"),))
        given = grid, labels, "mask", find_series(self.series), fractions, algorithm
        self.folder, self.grid, result = folder, grid, Result(self.mask, *given)
        for kind in ("binary", "fractional", "labelmap"):
            write_dicom_seg(result, folder / f"{kind}.dcm", kind, folder / f"{kind}_report.dcm")
        write_rtstruct(result, folder / "rtstruct.dcm")

    def assert_same(self, value: int, path: Path, least: float) -> None:
        """An image file marks the voxels of a label, where they are in the patient."""
        found = read_volume(path)
        here = places(found.array[0] >= least, found.geometry)
        wanted = places(self.mask == value, self.grid)
        assert len(here) == len(wanted)
        assert cKDTree(wanted).query(here)[0].max() < 1e-3


def places(marked: np.ndarray, grid: Geometry) -> np.ndarray:
    """Centres of the marked voxels, mm."""
    return np.asarray(np.argwhere(marked) @ grid.affine[:3, :3].T + grid.affine[:3, 3])


@pytest.fixture(scope="module", params=[*GRIDS, "japanese"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("readers")
    if request.param in GRIDS:
        return Written(folder, GRIDS[request.param], LABELS)
    one, two, three = LABELS
    labels = one, two.model_copy(update={"name": "新しい病変"}), three
    return Written(folder, GRIDS["straight"], labels, **JAPANESE)


@pytest.mark.parametrize(
    "kind", ["binary", "fractional", "rtstruct", "binary_report", "fractional_report"]
)
def test_dciodvfy_finds_no_error(written: Written, kind: str) -> None:
    """Label maps are younger than it."""
    said = run("dciodvfy", written.folder / f"{kind}.dcm")
    told = [line.strip() for line in said.splitlines() if "Error" in line or "Warning" in line]
    assert [line for line in told if not line.endswith(OF_LETTERS)] == []
    assert "Segmentation" in said or "RTStructureSet" in said or "Comprehensive3DSR" in said


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_dcmqi_reads_every_voxel_of_a_segmentation_where_it_is(
    written: Written, kind: str, tmp_path: Path
) -> None:
    given = "--inputDICOM", written.folder / f"{kind}.dcm", "--outputDirectory", tmp_path
    run("segimage2itkimage", *given, "-t", "nrrd")
    described = json.loads((tmp_path / "meta.json").read_text())
    attributes = [one for group in described["segmentAttributes"] for one in group]
    names = {one["labelID"]: one["SegmentLabel"] for one in attributes}
    assert {names[number] for number in (1, 2, 3)} == {label.name for label in written.labels}
    codes = {one["SegmentLabel"]: one["SegmentedPropertyTypeCodeSequence"]["CodeValue"]
             for one in attributes}  # fmt: skip
    assert codes["hippocampus"] == "5366008"
    for number, label in enumerate(written.labels, start=1):
        if kind == "labelmap":
            found = read_volume(tmp_path / "1.nrrd")
            here = places(found.array[0] == number, found.geometry)
            wanted = places(written.mask == label.value, written.grid)
            assert len(here) == len(wanted)
            assert cKDTree(wanted).query(here)[0].max() < 1e-3
        else:
            least = 128 if kind == "fractional" else 1
            written.assert_same(label.value, tmp_path / f"{number}.nrrd", least)


def test_slicer_lays_every_segment_on_its_voxels_of_the_series(
    written: Written, tmp_path: Path
) -> None:
    """Of what dcmqi reads; fractional ones it does not import as segments."""
    if importlib.util.find_spec("slicer_core") is None:
        pytest.skip("3D Slicer's libraries are not there: install medssl[readers]")
    folders = [tmp_path / "binary", tmp_path / "labelmap"]
    for folder in folders:
        folder.mkdir()
        seg = written.folder / f"{folder.name}.dcm"
        run("segimage2itkimage", "--inputDICOM", seg, "--outputDirectory", folder, "-t", "nrrd")
    out = tmp_path / "held.npz"
    told = subprocess.run(
        [sys.executable, SLICER, written.series, out, *folders],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    held = np.load(out)
    own = Geometry(held["scan"].shape, held["affine"])
    wanted, turn = written.grid.oriented(own.orientation)
    assert wanted.matches(own)
    mask = turn.apply(written.mask)
    for kind in ("mask0", "mask1"):
        assert len(held[kind]) == len(written.labels)
        for found, label in zip(held[kind], written.labels, strict=True):
            np.testing.assert_array_equal(found, mask == label.value)


def test_dcmqi_reads_the_volumes_of_a_report(written: Written, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    run("tid1500reader", "--inputDICOM", written.folder / "binary_report.dcm",
        "--outputMetadata", out)  # fmt: skip
    measured = json.loads(out.read_text())["Measurements"]
    assert [one["TrackingIdentifier"] for one in measured] == [
        label.name for label in written.labels
    ]
    for label, one in zip(written.labels, measured, strict=True):
        (item,) = one["measurementItems"]
        volume = int((written.mask == label.value).sum()) * written.grid.voxel / 1000
        assert item["quantity"]["CodeMeaning"] == "Volume"
        assert item["units"]["CodeValue"] == "ml"
        assert float(item["value"]) == pytest.approx(volume, rel=1e-5)
        assert one["measurementAlgorithmIdentification"]["AlgorithmName"] == "medssl tracoco, toy"


def test_plastimatch_fills_the_contours_of_a_structure_set_as_the_mask(
    written: Written, tmp_path: Path
) -> None:
    given = "--input", written.folder / "rtstruct.dcm", "--referenced-ct", written.series
    run("plastimatch", "convert", *given, "--output-prefix", tmp_path, "--prefix-format", "nrrd")
    for label in written.labels:
        written.assert_same(label.value, tmp_path / f"{label.name}.nrrd", 1)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_the_library_of_ohif_marks_every_voxel_on_its_image(written: Written, kind: str) -> None:
    """Its 5.14 says of fractional ones that they are not supported yet."""
    bundle, node = OHIF / "read_seg.cjs", shutil.which("node")
    if node is None or not bundle.is_file():
        pytest.skip("OHIF's reader is not there: npm install && npm run build in tests/export/ohif")
    given = [node, "-r", OHIF / "globals.cjs", bundle, written.folder / f"{kind}.dcm"]
    told = subprocess.run(
        [*given, written.series], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(told.stdout.splitlines()[-1])
    assert [name for name in found["names"] if name] == [
        *(["Background"] if kind == "labelmap" else []),
        *(label.name for label in written.labels),
    ]
    numbers = np.zeros(256, int)
    numbers[[label.value for label in written.labels]] = 1, 2, 3
    series = find_series(written.series)
    wanted, turn = written.grid.oriented(series.geometry.orientation)
    assert wanted.matches(series.geometry)
    planes = numbers[turn.apply(written.mask)]
    for number, one in enumerate(series.slices):
        own = np.zeros(SHAPE[0] * SHAPE[1], int)
        for index, value in found["marked"].get(one.uid, []):
            own[index] = value
        np.testing.assert_array_equal(own.reshape(one.shape), planes[:, :, number].T)
