"""Folders as people have them become a data spec and a pipeline that work; nothing is asked."""

import csv
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.check import check, labelled
from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.spec import Case, DataSpec, load_spec
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError, UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.init import initialise, pipeline_of
from medssl.pipeline.progress import QuietReporter
from medssl.transforms.chain import Preprocess

GRID = Geometry((8, 8, 8), np.diag([1.0, 1.0, 2.0, 1.0]))


@pytest.fixture
def scans(directory: Path) -> Path:
    """An empty folder `scans` in a working directory of its own."""
    (directory / "scans").mkdir()
    return directory / "scans"


def scan(path: Path, low: float = 0.0) -> None:
    """A file of its own noise; the name draws it."""
    generator = np.random.default_rng(zlib.crc32(str(path).encode()))
    array = generator.normal(100, 10, GRID.shape).astype(np.float32)
    array[0, 0, 0] = low
    write_volume(array, GRID, path)


def mask(path: Path, *values: int) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    for index, value in enumerate(values or (1,), start=1):
        array[index] = value
    write_mask(array, GRID, path)


def fill(root: Path, images: Sequence[str], masks: Sequence[str]) -> None:
    for name in images:
        scan(root / name)
    for name in masks:
        mask(root / name, 1, 2)


def written(name: str = "scans") -> tuple[DataSpec, list[Case]]:
    """What init wrote, which must be sound: the spec, its cases, and the pipeline too."""
    spec = load_spec(name)
    assert [one for one in check(spec) if one.level == "error"] == []
    load_config(name)
    return spec, find_cases(spec)


NUMBERS = ("01", "02", "03", "10")

FORMS: dict[str, tuple[list[str], list[str], dict[str, str], str]] = {
    "side by side, prefixes": (
        [f"scan_{n}.nii.gz" for n in NUMBERS], ["seg_01.nii.gz", "seg_10.nii.gz"],
        {"image": "scan_{case}.nii.gz"}, "seg_{case}.nii.gz",
    ),
    "side by side, endings": (
        [f"{n}.nii.gz" for n in NUMBERS], ["01_mask.nii.gz", "10_mask.nii.gz"],
        {"image": "{case}.nii.gz"}, "{case}_mask.nii.gz",
    ),
    "two folders, equal names": (
        [f"images/p{n}.nrrd" for n in NUMBERS], ["masks/p01.nii.gz", "masks/p10.nii.gz"],
        {"image": "images/{case}.nrrd"}, "masks/{case}.nii.gz",
    ),
    "two folders, other names": (
        [f"imgs/case_{n}_ct.nii" for n in NUMBERS], ["segmentations/10-label.nii"],
        {"ct": "imgs/case_{case}_ct.nii"}, "segmentations/{case}-label.nii",
    ),
    "a folder per patient": (
        [f"P{n}/image.nii.gz" for n in NUMBERS], ["P01/mask.nii.gz", "P10/mask.nii.gz"],
        {"image": "{case}/image.nii.gz"}, "{case}/mask.nii.gz",
    ),
    "a folder per patient, several channels": (
        [f"{n}/{c}.nii.gz" for n in ("anna", "bert") for c in ("t1", "flair")],
        ["bert/seg.nii.gz"],
        {"flair": "{case}/flair.nii.gz", "t1": "{case}/t1.nii.gz"}, "{case}/seg.nii.gz",
    ),
    "files named after their folder": (
        [f"S{n}/S{n}_{c}.nii.gz" for n in NUMBERS for c in ("t1", "t2")],
        [f"S{n}/S{n}_seg.nii.gz" for n in NUMBERS[:2]],
        {"t1": "{case}/{case}_t1.nii.gz", "t2": "{case}/{case}_t2.nii.gz"},
        "{case}/{case}_seg.nii.gz",
    ),
    "a folder per patient, several scans each": (
        [f"{p}/scan_{n}.nii.gz" for p in ("a", "b") for n in ("01", "02", "03")],
        ["a/seg_01.nii.gz", "b/seg_02.nii.gz"],
        {"image": "{patient}/scan_{case}.nii.gz"}, "{patient}/seg_{case}.nii.gz",
    ),
    "channels side by side": (
        [f"{n}_{c}.nii.gz" for n in NUMBERS for c in ("t1", "flair")], ["02_seg.nii.gz"],
        {"flair": "{case}_flair.nii.gz", "t1": "{case}_t1.nii.gz"}, "{case}_seg.nii.gz",
    ),
    "channels in folders": (
        [f"{c}/{n}.nii.gz" for n in NUMBERS for c in ("t1", "flair")], ["labels/02.nii.gz"],
        {"flair": "flair/{case}.nii.gz", "t1": "t1/{case}.nii.gz"}, "labels/{case}.nii.gz",
    ),
    "other words before single digits": (
        [f"volume-{n}.nii" for n in range(4)], ["segmentation-0.nii", "segmentation-2.nii"],
        {"image": "volume-{case}.nii"}, "segmentation-{case}.nii",
    ),
    "no word tells": (
        [f"{n}.nii.gz" for n in NUMBERS], ["01_liver.nii.gz", "03_liver.nii.gz"],
        {"image": "{case}.nii.gz"}, "{case}_liver.nii.gz",
    ),
}  # fmt: skip
"""Names of scans and masks; the patterns that are to be found."""


@pytest.mark.parametrize("form", FORMS)
def test_names_of_scans_and_masks_are_understood(scans: Path, form: str) -> None:
    images, masks, patterns, label = FORMS[form]
    fill(scans, images, masks)
    said = initialise(scans, QuietReporter())
    spec, cases = written()
    assert spec.layout.model_extra == {"images": patterns, "label": label}
    assert len(cases) == len(images) // len(patterns)
    assert sum(map(labelled, cases)) == len(masks)
    assert [one.name for one in spec.labels] == ["label_1", "label_2"]
    rule = label.rpartition("/")[2].partition(".")[0].replace("{case}", "(.+)")
    assert f"{rule} belongs to" in said
    assert f"{rule} belongs to" in Path("data_specs/scans.yaml").read_text()
    assert Path("contact_sheet_scans.png").is_file()
    assert "`medssl run scans`" in said


def test_masks_may_lie_apart(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], [])
    fill(scans.parent / "drawn", [], ["b.nii.gz"])
    initialise(scans, QuietReporter(), labels=scans.parent / "drawn")
    _, cases = written()
    assert [(case.id, labelled(case)) for case in cases] == [("a", False), ("b", True)]


def test_what_the_files_hold_is_written_with_the_reason(scans: Path) -> None:
    for name in ("a", "b"):
        scan(scans / f"{name}.nii.gz", low=-1024.0)
        write_volume(np.linspace(-1000, 1500, 512).reshape(8, 8, 8), GRID, scans / f"{name}.nii.gz")
    mask(scans / "a_seg.nii.gz", 3, 7)
    initialise(scans, QuietReporter())
    spec = load_spec("scans")
    assert (spec.modality, spec.label_values) == ("CT", (0, 3, 7))
    text = Path("data_specs/scans.yaml").read_text()
    assert "# CT, as intensities go from -1000 to 1500, which are Hounsfield units." in text
    config = load_config("scans").pipeline
    assert (config.method.name, config.predict.unlabelled) == ("tracoco", True)
    assert "preprocess: ct" in Path("pipelines/scans.yaml").read_text()


@pytest.mark.parametrize("form", ["{part}/{kind}/{n}.nii.gz", "{kind}/{part}/{n}.nii.gz"])
def test_folders_of_parts_divide_the_scans_and_are_no_patients(scans: Path, form: str) -> None:
    parts = {"train": (1, 2, 3), "val": (1,), "test": (1, 2)}
    fill(
        scans,
        [form.format(part=part, kind="images", n=n) for part, all_ in parts.items() for n in all_],
        [
            form.format(part=part, kind="masks", n=n)
            for part, n in [("train", 1), ("train", 2), ("val", 1), ("test", 1)]
        ],
    )
    said = initialise(scans, QuietReporter())
    spec, cases = written()
    layout = spec.layout.model_extra or {}
    assert layout["label"] == form.format(part="{part}", kind="masks", n="{case}")
    assert len({case.patient for case in cases}) == 6
    assert [case.id for case in cases if case.part == "test"] == ["test_1"]
    assert [case.id for case in cases if not labelled(case)] == ["test_2", "train_3"]
    assert "1 of these masks is declared for testing" in said
    assert "Learns from the 3 masks" in Path("pipelines/scans.yaml").read_text()


def test_several_scans_of_a_patient_stay_together(scans: Path) -> None:
    names = [f"p{n}_visit{v}" for n in (1, 2, 3) for v in (1, 2)]
    fill(scans, [f"{name}.nii.gz" for name in names], ["p1_visit2_seg.nii.gz"])
    said = initialise(scans, QuietReporter())
    _, cases = written()
    assert {case.patient for case in cases} == {"p1", "p2", "p3"}
    assert "6 scans of 3 patients" in said


def test_numbers_of_cases_are_no_visits(scans: Path) -> None:
    fill(scans, [f"brain_{n:03d}.nii.gz" for n in range(1, 8)], ["brain_001_seg.nii.gz"])
    initialise(scans, QuietReporter())
    assert load_spec("scans").patient is None


def test_a_tree_of_dicom_series(scans: Path) -> None:
    for patient in ("p1", "p2"):
        write_series(scans / patient / "series", sum(patient.encode()))
    mask(scans / "masks" / "p2.nii.gz", 4)
    initialise(scans, QuietReporter(), labels=scans / "masks")
    spec = load_spec("scans")
    assert spec.layout.model_extra == {
        "images": {"image": "{case}/series/"},
        "label": "masks/{case}.nii.gz",
    }
    assert spec.modality == "MR"
    assert [(one.id, labelled(one)) for one in find_cases(spec)] == [("p1", False), ("p2", True)]


def write_series(folder: Path, seed: int) -> None:
    """Eight slices on the grid of the masks."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

    folder.mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 900, (8, 8, 8)).astype(np.uint16)
    for index in range(8):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, f"1.2.{index + 1}"
        one.SeriesInstanceUID, one.Modality = f"1.3.{seed}", "MR"
        one.Rows, one.Columns, one.PixelSpacing = 8, 8, [1, 1]
        one.ImagePositionPatient, one.ImageOrientationPatient = (
            [0, 0, 2 * index],
            [1, 0, 0, 0, 1, 0],
        )
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        one.SliceThickness, one.PixelData = 2, pixels[index].tobytes()
        one.save_as(folder / f"{index}.dcm", enforce_file_format=True)


def test_pictures_with_masks(scans: Path) -> None:
    for name in ("a", "b"):
        (scans / "images").mkdir(exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(
            scans / f"images/{name}.png"
        )
    (scans / "masks").mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(scans / "masks/a.png")
    said = initialise(scans, QuietReporter())
    assert "pixels of unknown size: the files do not say it" in said
    spec = load_spec("scans")
    assert (spec.modality, spec.label_values) == ("OT", (0, 255))
    assert spec.layout.model_extra == {
        "images": {"image": "images/{case}.png"},
        "label": "masks/{case}.png",
    }

    assert load_config("scans").pipeline.preprocess == Preprocess.of("radiograph")


def test_values_that_jpeg_has_changed_are_no_labels(scans: Path) -> None:
    for kind in ("images", "masks"):
        (scans / kind).mkdir()
        disc = (np.hypot(*np.mgrid[-16:16, -16:16]) < 9).astype(np.uint8) * 255
        Image.fromarray(disc).save(scans / kind / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is no mask.*JPEG.*save masks as PNG"):
        initialise(scans, QuietReporter())
    assert not Path("data_specs").exists()


def test_pictures_in_colour_with_masks_in_colours(scans: Path) -> None:
    (scans / "images").mkdir()
    (scans / "masks").mkdir()
    rng = np.random.default_rng(0)
    marks = np.zeros((8, 8, 3), np.uint8)
    marks[1], marks[2] = (255, 0, 0), (0, 128, 0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(scans / f"images/{name}.png")
        Image.fromarray(marks).save(scans / f"masks/{name}.png")
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert spec.channels == ("red", "green", "blue")
    assert [(one.value, one.colour) for one in spec.labels] == [(1, "#008000"), (2, "#ff0000")]
    assert len(set(cases[0].images.values())) == 1
    assert load_config("scans").pipeline.preprocess == Preprocess.of("rgb")


def test_pictures_without_a_mask_are_refused_and_nothing_is_written(scans: Path) -> None:
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(scans / "a.png")
    with pytest.raises(DataError, match="none of the 1 pictures of scans has a mask"):
        initialise(scans, QuietReporter())
    assert not Path("data_specs").exists()


def table(path: Path, *rows: Sequence[str], sign: str = ",") -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream, delimiter=sign).writerows(rows)


@pytest.mark.parametrize("sign", [",", ";"])
def test_a_table_of_grades(scans: Path, sign: str) -> None:
    rows = [["filename", "KL", "patient_id", "age"]]
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels).save(scans / f"{number}.png")
        rows.append([f"{number}.png", str(number % 2) if number < 6 else "", f"p{number}", "60"])
    table(scans / "grades.csv", *rows, sign=sign)
    said = initialise(scans, QuietReporter())
    spec, cases = written()
    assert spec.layout.kind == "radiographs"
    assert sum(map(labelled, cases)) == 6
    assert {case.patient for case in cases} == {f"p{number}" for number in range(8)}
    rule = "the column 'KL' of grades.csv says what the one in 'filename' shows"
    assert f"6 have a label, 2 have none; {rule}" in said
    assert f"# {rule}: 6 of 8 images have a label." in Path("data_specs/scans.yaml").read_text()
    pipeline = load_config("scans").pipeline
    assert pipeline.preprocess.short == {"radiograph": {"field": None}}
    split = pipeline.split
    assert (split.labels, split.validation, split.test, split.folds) == (None, 0, 0, 5)
    assert pipeline.predict.checkpoint == "last"  # no image is kept back to choose by


def test_declared_parts_of_a_table_of_grades_stay_what_they_are(scans: Path) -> None:
    rows = [["file", "grade", "split"]]
    for number in range(8):
        Image.fromarray(np.eye(32, dtype=np.uint8) * number).save(scans / f"{number}.png")
        part = "test" if number > 5 else "validation" if number > 3 else "train"
        rows.append([f"{number}.png", str(number % 2), part])
    table(scans / "grades.csv", *rows)
    initialise(scans, QuietReporter())
    split = load_config("scans").pipeline.split
    assert (split.labels, split.validation, split.folds) == (None, None, 0)


def test_a_folder_of_slides_with_a_table(scans: Path) -> None:
    for number in range(4):
        (scans / f"s{number}.svs").write_bytes(b"slide")
    table(scans / "labels.csv", ["slide", "label"], ["s0", "normal"], ["s1", "tumour"])
    initialise(scans, QuietReporter())
    spec = load_spec("scans")
    assert spec.layout.kind == "slides"
    assert load_config("scans").pipeline.split.folds == 0
    assert (
        "slides of two patients for a cross-validation" in Path("pipelines/scans.yaml").read_text()
    )
    assert sum(map(labelled, find_cases(spec))) == 2
    assert "columns" not in (spec.layout.model_extra or {})


@pytest.mark.parametrize("folder", [".", "slides"])
@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (["slide", "diagnosis", "patient", "part"], ""),
        (["Slide_ID", "Diagnosis", "Patient_ID", "split"], ""),
        (["file", "slide label", "pid", "set"], ".svs"),
    ],
)
def test_a_table_of_slides_may_call_its_columns_freely(
    scans: Path, folder: str, names: list[str], suffix: str
) -> None:
    (scans / folder).mkdir(exist_ok=True)
    rows = [names]
    for number in range(6):
        (scans / folder / f"s{number}.svs").write_bytes(b"slide")
        part = "test" if number > 3 else "train"
        rows.append(
            [f"s{number}{suffix}", ["benign", "tumour"][number % 2], f"p{number // 2}", part]
        )
    table(scans / "cohort.csv", *rows)
    said = initialise(scans, QuietReporter())
    cases = find_cases(load_spec("scans"))
    assert [case.extra["class"] for case in cases] == [0, 1, 0, 1, 0, 1]
    assert [case.patient for case in cases] == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert [case.part for case in cases] == ["train"] * 4 + ["test"] * 2
    rule = f"the column '{names[1]}' of cohort.csv says what the one in '{names[0]}' shows"
    assert f"6 have a label, 0 have none; {rule}" in said
    assert f"# {rule}: 6 of 6 slides have a label." in Path("data_specs/scans.yaml").read_text()


def test_a_table_of_slides_that_does_not_tell_what_they_show_is_told(scans: Path) -> None:
    (scans / "s0.svs").write_bytes(b"slide")
    table(scans / "t.csv", ["slide_id", "call"], ["s0", "normal"])
    with pytest.raises(
        DataError, match=r"t.csv does not tell which column holds the labels.* slide_id, call; name"
    ):
        initialise(scans, QuietReporter())


def test_slides_and_a_table_that_does_not_name_them_are_told(scans: Path) -> None:
    (scans / "s0.svs").write_bytes(b"slide")
    table(scans / "t.csv", ["nodes", "call"], ["n0", "normal"])
    with pytest.raises(DataError, match=r"no table .*t.csv has the columns nodes, call"):
        initialise(scans, QuietReporter())


def test_layouts_with_a_list_are_known(scans: Path) -> None:
    fill(scans, ["imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz"], ["labelsTr/a.nii.gz"])
    (scans / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}}'
    )
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert (spec.layout.kind, spec.channels, spec.modality) == ("nnunet", ("CT",), "CT")
    assert spec.classes == ("background", "liver", "tumour")
    assert len(cases) == 2


def test_nnunets_folder_of_pictures(scans: Path) -> None:
    """In colour, as its NaturalImage2DIO reads them: a file has all channels."""
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (scans / folder).mkdir()
    for name in "abc":
        picture = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(picture).save(scans / "imagesTr" / f"{name}_0000.png")
        Image.fromarray(picture[..., 0] // 128).save(scans / "labelsTr" / f"{name}.png")
    (scans / "dataset.json").write_text(
        '{"channel_names": {"0": "R", "1": "G", "2": "B"}, "file_ending": ".png", '
        '"labels": {"background": 0, "road": 1}, "numTraining": 3}'
    )
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert (spec.layout.kind, spec.channels, spec.modality) == ("nnunet", ("R", "G", "B"), "OT")
    assert spec.classes == ("background", "road")
    assert not [one for one in check(spec, cases) if one.level == "error"]
    assert load_config(spec.name).pipeline.preprocess.word == "rgb"


def test_a_datalist(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_x.nii.gz"])
    entries = '[{"image": "a.nii.gz", "label": "a_x.nii.gz"}, {"image": "b.nii.gz"}]'
    (scans / "list.json").write_text(f'{{"training": {entries}}}')
    initialise(scans, QuietReporter())
    assert load_spec("scans").layout.model_extra == {"file": "list.json"}
    written()


def test_a_table_of_volumes(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["m.nii.gz"])
    table(scans / "all.csv", ["case", "t1", "label"], ["A", "a.nii.gz", "m.nii.gz"],
          ["B", "b.nii.gz", ""])  # fmt: skip
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert (spec.layout.kind, spec.channels, len(cases)) == ("table", ("t1",), 2)


def test_folders_with_lists(scans: Path) -> None:
    fill(scans, ["train/a/image.nii.gz", "train/b/image.nii.gz"], ["train/a/label.nii.gz"])
    (scans / "train.list").write_text("a\nb\n")
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert (spec.layout.kind, len(cases)) == ("folders", 2)


@pytest.mark.parametrize("kind", ["bids", "plain"])
def test_scans_without_any_mask_give_a_pipeline_that_pretrains(scans: Path, kind: str) -> None:
    name = "sub-{0}/anat/sub-{0}_T1w.nii.gz" if kind == "bids" else "{0}.nii.gz"
    fill(scans, [name.format(number) for number in range(1, 4)], [])
    said = initialise(scans, QuietReporter())
    spec, _ = written()
    assert spec.layout.kind == ("bids" if kind == "bids" else "glob")
    assert load_config("scans").pipeline.method.name == "masked_image_modelling"
    assert "no scan has a mask" in said


def test_a_dry_run_prints_both_files_and_writes_nothing(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
    before = sorted(scans.parent.rglob("*"))
    said = initialise(scans, QuietReporter(), dry_run=True)
    assert "# --- data_specs/scans.yaml" in said
    assert "# --- pipelines/scans.yaml" in said
    assert sorted(scans.parent.rglob("*")) == before


def test_nothing_is_ever_overwritten(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
    Path("pipelines").mkdir()
    Path("pipelines/scans.yaml").write_text("mine")
    with pytest.raises(UsageError, match=r"pipelines/scans.yaml is there already; nothing is"):
        initialise(scans, QuietReporter())
    assert Path("pipelines/scans.yaml").read_text() == "mine"
    assert not Path("data_specs").exists()
    initialise(scans, QuietReporter(), name="other")
    assert load_spec("other").name == "other"


def test_names_are_made_valid_and_do_not_hide_those_of_medssl(scans: Path) -> None:
    for folder, name in (
        ("Leber & Milz (neu)", "Leber_Milz_neu"),
        ("hippocampus", "my_hippocampus"),
    ):
        fill(scans.parent / folder, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
        initialise(scans.parent / folder, QuietReporter())
        written(name)


def test_a_contact_sheet_that_is_there_stays(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
    Path("contact_sheet_scans.png").write_bytes(b"mine")
    said = initialise(scans, QuietReporter())
    assert Path("contact_sheet_scans.png").read_bytes() == b"mine"
    assert Path("contact_sheet_scans_2.png").read_bytes().startswith(b"\x89PNG")
    assert "look at contact_sheet_scans_2.png" in said


@pytest.mark.parametrize("form", ["{site}/scan_{n}", "{site}/p{n}/t1"])
def test_sites_are_no_patients(scans: Path, form: str) -> None:
    names = [form.format(site=site, n=n) for site in ("site_A", "site_B") for n in (1, 2, 3)]
    fill(scans, [f"{name}.nii.gz" for name in names], [f"{names[0]}_seg.nii.gz"])
    said = initialise(scans, QuietReporter())
    _, cases = written()
    assert len({case.patient for case in cases}) == 6
    assert "6 scans, each taken for a patient" in said


def test_folders_of_scans_are_patients_and_what_to_write_for_others_is_told(scans: Path) -> None:
    names = [f"{site}/scan_{n}.nii.gz" for site in ("Basel", "Bern") for n in (1, 2, 3)]
    fill(scans, names, ["Bern/scan_1_seg.nii.gz"])
    said = initialise(scans, QuietReporter())
    assert "6 scans of 2 patients" in said
    assert "if folders are sites or the like, write {part} in place of {patient}" in said
    path = Path("data_specs/scans.yaml")
    path.write_text(path.read_text().replace("{patient}", "{part}"))
    _, cases = written()
    assert len({case.patient for case in cases}) == 6


def test_a_folder_that_is_run_is_initialised_once(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
    name, said = pipeline_of(scans, QuietReporter())
    assert (name, "wrote data_specs/scans.yaml" in said) == ("scans", True)
    assert pipeline_of(scans, QuietReporter()) == ("scans", "")
    (scans.parent / "more").mkdir()
    fill(scans.parent / "more" / "scans", ["c.nii.gz"], [])
    with pytest.raises(UsageError, match="is the data spec of another folder"):
        pipeline_of(scans.parent / "more" / "scans", QuietReporter())


BAD: dict[str, tuple[list[str], list[str], str]] = {
    "two masks for one scan": (
        ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz", "b_seg.nii.gz", "a_mask.nii.gz"],
        "a.nii.gz has two masks, a_seg.nii.gz and a_mask.nii.gz",
    ),
    "a mask that fits two scans": (
        ["images/01_pre.nii.gz", "images/01_late.nii.gz", "images/02_pre.nii.gz",
         "images/02_late.nii.gz"],
        ["masks/01.nii.gz", "masks/02.nii.gz"],
        "the mask masks/01.nii.gz fits two scans, images/01_",
    ),
    "masks without a scan": (
        ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz", "c_seg.nii.gz"],
        r"1 of the 2 masks belong to no scan, first c_seg.nii.gz; .* named as \(.\+\)_seg",
    ),
    "masks of other scans": (
        ["x.nii.gz"], ["c_seg.nii.gz"], "none of the 1 masks belongs to a scan by its name",
    ),
    "masks alone": ([], ["a_seg.nii.gz"], "holds 1 masks and no scan"),
    "nothing": ([], [], "holds no image that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_matched_is_one_sentence_and_nothing_is_written(
    scans: Path, name: str
) -> None:
    images, masks, sentence = BAD[name]
    fill(scans, images, masks)
    with pytest.raises(DataError, match=sentence) as caught:
        initialise(scans, QuietReporter())
    assert caught.value.do
    assert "\n" not in str(caught.value)
    assert not Path("data_specs").exists()
    assert not Path("pipelines").exists()


def test_a_folder_that_is_none_or_holds_broken_files(scans: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        initialise(scans / "gone", QuietReporter())
    for name in ("a", "b"):
        (scans / f"{name}.nii.gz").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        initialise(scans, QuietReporter())
    assert not Path("data_specs").exists()


def test_one_broken_file_among_others_is_told(scans: Path) -> None:
    fill(scans, ["a.nii.gz", "b.nii.gz"], ["a_seg.nii.gz"])
    (scans / "c.nii.gz").write_bytes(b"no image")
    said = initialise(scans, QuietReporter())
    assert "warning: 1 file cannot be read, first: " in said


def test_what_is_odd_is_told_and_works(scans: Path) -> None:
    fill(scans, [f"{name}.nii.gz" for name in "abc"], [])
    mask(scans / "a_seg.nii.gz", 1, 2)
    assert "one scan alone has a mask" in initialise(scans, QuietReporter(), name="one")
    mask(scans / "b_seg.nii.gz", 1)
    said = initialise(scans, QuietReporter(), name="two")
    assert "the value 2 (label_2) is in the mask of a alone" in said
    assert "2 have a mask, 1 has none" in said
    assert "labels: 1 (label_1) in 2 masks, 2 (label_2) in 1 mask\n" in said
    write_mask(np.zeros(GRID.shape, np.uint8), GRID, scans / "c_seg.nii.gz")
    assert "nothing is marked in 1 mask (c)" in initialise(scans, QuietReporter(), name="three")
    written("three")
