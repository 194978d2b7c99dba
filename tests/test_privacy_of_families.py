"""Nothing that names a patient is in what grades, slides and pre-training write or say.

A patient is planted in the headers of radiographs and of series in DICOM, at the top, in nested
sequences and in private tags, and in the texts of a slide's TIFF. Then every verb that these
families know runs, and all that it left is searched: runs with their MLflow store, caches, reports,
pictures, packages, what was said, and digests that anybody can make of a name.
"""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask
from tests.dicom_series import write_series
from tests.families.grade.conftest import PIPELINE as JOINTS
from tests.families.grade.conftest import SPEC as JOINTS_SPEC
from tests.families.grade.conftest import draw_joint
from tests.families.pretrain.conftest import ENCODER, MASKS
from tests.families.slide.conftest import DINO, SLIDES, SLIDES_SPEC
from tests.planted import (
    EVERYWHERE,
    ID,
    IN_HEADERS,
    NAME,
    NUMBER,
    PLACE,
    Place,
    guessed,
    plant_deeper,
    planted,
    search,
)

HEADS_SPEC = """
title: Heads
modality: MR
channels: [t1, t2]
labels: [{value: 1, name: ball}]
root: heads
layout: {kind: glob, images: {t1: "{case}_t1", t2: "{case}_t2"}, label: "{case}_seg.nii.gz"}
licence: internal
citation: none
"""

QUICK = JOINTS.replace("labels: 4", "labels: 2").replace("steps: 60", "steps: 2")
QUICK = QUICK.replace("validate_every: 20", "validate_every: 1")
UNET = (
    "data: heads\nmethod: {name: masked_image_modelling, masking: {cell: 4}}\n"
    "network: {name: plain_unet, features: [2, 4]}\nprobe: {patients: 0}\n"
    "train: {patch: [8, 8, 8], steps: 2, batch_scans: 2, device: cpu}\n"
)
HEADS_STUDY = "title: Arms\npipeline: encoder\nseeds: [0]\narms: {mim: [method.arm=mim]}\n"
JOINTS_STUDY = "title: Arms\npipeline: joints\nlabels: [2]\nseeds: [0]\narms: {supervised: []}\n"
SLIDES_STUDY = "title: Arms\npipeline: slides\nseeds: [0]\narms: {snuffy: []}\n"


def declare(root: Path, specs: dict[str, str], pipelines: dict[str, str]) -> Place:
    """A working directory with data specs and pipelines."""
    for folder, texts in (("data_specs", specs), ("pipelines", pipelines)):
        (root / folder).mkdir(exist_ok=True)
        for name, text in texts.items():
            (root / folder / f"{name}.yaml").write_text(text)
    return Place(root)


def write_radiograph(path: Path, pixels: np.ndarray, side: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    one = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality = generate_uid(), generate_uid(), "CR"
    one.Rows, one.Columns = pixels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation, one.ImageLaterality = 1, "MONOCHROME2", side
    one.BitsAllocated = one.BitsStored = 8
    one.HighBit, one.PixelRepresentation, one.PixelData = 7, 0, pixels.tobytes()
    for keyword, value in planted().items():
        setattr(one, keyword, value)
    one.save_as(path, enforce_file_format=True)
    plant_deeper(path)


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Radiographs in DICOM, and a run on them."""
    root = tmp_path_factory.mktemp("grades")
    folder, rng = root / "data" / "joints", np.random.default_rng(0)
    folder.mkdir(parents=True)
    lines = ["file,grade,patient,split,side"]
    for part, count in (("train", 9), ("val", 3), ("test", 6), ("", 3)):
        for number in range(count):
            name, side = f"{part or 'bare'}{number}", "LR"[number % 2]
            write_radiograph(folder / f"{name}.dcm", draw_joint(number % 3, rng), side)
            grade = number % 3 if part else ""
            lines.append(f"{name}.dcm,{grade},p{name},{part},{side}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    pipelines = {"joints": QUICK,
                 "joints_study": JOINTS_STUDY}  # fmt: skip
    found = declare(root, {"joints": JOINTS_SPEC}, pipelines)
    found.medssl("run", "joints")
    return found


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two series in DICOM of each patient, and an encoder that is pre-trained on them."""
    root = tmp_path_factory.mktemp("heads")
    grid, rng = Geometry((14, 14, 14), np.diag([-1.0, -1.0, 1.0, 1.0])), np.random.default_rng(0)
    for number in range(5):
        anatomy, study = rng.integers(500, 1500, grid.shape), generate_uid()
        stem = root / "data" / "heads" / f"p{number}"
        for name, values in (("t1", anatomy), ("t2", 2000 - anatomy)):
            told = planted() | {"StudyInstanceUID": study}
            series = write_series(Path(f"{stem}_{name}"), grid, values, **told)
            for file in series.iterdir():
                plant_deeper(file)
        write_mask((anatomy > 1000).astype(np.uint8), grid, Path(f"{stem}_seg.nii.gz"))
    pipelines = {"encoder": ENCODER, "masks": MASKS, "unet": UNET, "heads_study": HEADS_STUDY}
    found = declare(root, {"heads": HEADS_SPEC}, pipelines)
    found.medssl("pretrain", "encoder")
    return found


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Slides whose TIFF says who they are of, and a run on them."""
    root = tmp_path_factory.mktemp("slides")
    folder, rng = root / "data" / "toys", np.random.default_rng(1)
    folder.mkdir(parents=True)
    rows = ["slide,label,patient"]
    for number in range(5):
        write_slide(folder / f"s{number}.tiff", number, rng)
        if number < 4:
            rows.append(f"s{number}.tiff,{('normal', 'tumour')[number % 2]},p{number}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    pipelines = {"slides": SLIDES, "dino": DINO, "slides_study": SLIDES_STUDY}
    found = declare(root, {"slides": SLIDES_SPEC}, pipelines)
    found.medssl("run", "slides")
    return found


def write_slide(path: Path, number: int, rng: np.random.Generator) -> None:
    pixels = np.full((160, 192, 3), 244, np.uint8)
    stain = (150, 60, 140) if number % 2 else (90, 80, 190)
    pixels[32:128, 32:160] = np.array(stain) + rng.integers(-30, 30, (96, 128, 3))
    tifffile.imwrite(
        path, pixels, tile=(64, 64), photometric="rgb", resolution=(1250, 1250),
        resolutionunit="CENTIMETER", description=f"{NAME}^Ada|{ID}|{NUMBER}|19330709",
        software=f"scanner of {NAME}", extratags=[(315, "s", 0, f"{NAME} {ID}", True)],
    )  # fmt: skip


def clean(place: Place, *folders: str) -> None:
    """Nothing that names the patient is in some folders, nor a digest that can be guessed."""
    for folder in folders:
        assert any((place.root / folder).rglob("*"))
        assert search(place.root / folder, EVERYWHERE) == []
        assert guessed(place.root / folder, EVERYWHERE) == []


KEPT = ("runs", ".cache")


@pytest.mark.parametrize("name", ["grades", "heads", "slides"])
def test_the_patient_is_in_the_data(name: str, request: pytest.FixtureRequest) -> None:
    found = search(request.getfixturevalue(name).root / "data", IN_HEADERS, dicom=True)
    assert {word for word, _ in found} >= {NAME, ID, NUMBER, "19330709"}


def test_grades_name_no_patient(grades: Place) -> None:
    assert (grades.root / "runs" / "mlflow.db").is_file()
    clean(grades, *KEPT)
    (model,) = (grades.root / "runs" / "joints").glob("train-*")
    grades.medssl("data", "check", "joints")
    grades.medssl("data", "show", "joints", "--out", "sheets/sheet.png")
    named = grades.root / "named"
    named.mkdir()
    for number, file in enumerate(sorted((grades.root / "data" / "joints").glob("test*.dcm"))[:2]):
        (named / f"{PLACE}_{number}.dcm").write_bytes(file.read_bytes())
    grades.medssl("predict", model, "named", "-o", "out/grades")
    (table,) = (grades.root / "runs" / "joints").glob("predict-*/grades.csv")
    grades.medssl("evaluate", table, "--data", "joints", "--out", "scored")
    grades.medssl("compare", "joints")
    grades.medssl("study", "joints_study", "--quiet")
    clean(grades, "sheets", "out", "scored", *KEPT)


def test_pretraining_names_no_patient(heads: Place) -> None:
    assert (heads.root / "runs" / "mlflow.db").is_file()
    clean(heads, "runs")
    heads.medssl("data", "check", "heads")
    heads.medssl("data", "show", "heads", "--out", "sheets/sheet.png")
    (weights,) = (heads.root / "runs" / "encoder").rglob("weights.safetensors")
    heads.medssl("info", weights.parent)
    heads.medssl("run", "masks", f"pretrain={weights.parent}")
    heads.medssl("study", "heads_study", "--quiet")
    clean(heads, "sheets", *KEPT)


def test_encoders_that_come_and_go_and_chosen_scans_name_no_patient(heads: Place) -> None:
    heads.medssl("pretrain", "unet")
    (weights,) = (heads.root / "runs" / "unet").rglob("weights.safetensors")
    heads.medssl("export", "encoder", weights.parent, "--out", "handed_on/encoder")
    heads.medssl("import", "handed_on/encoder/model.safetensors", "--as", "back")
    heads.medssl("select", "unet", "--proxy", weights.parent, "-o", "handed_on/ids.json")
    clean(heads, "handed_on", "encoders", *KEPT)


def test_slides_name_no_patient(slides: Place) -> None:
    assert (slides.root / "runs" / "mlflow.db").is_file()
    clean(slides, *KEPT)
    (model, *_) = (slides.root / "runs" / "slides").glob("train-*")
    slides.medssl("data", "check", "slides")
    slides.medssl("data", "show", "slides", "--out", "sheets/sheet.png")
    slides.medssl("predict", model, "data/toys/s4.tiff", "-o", "out")
    slides.medssl("pretrain", "dino")
    slides.medssl("study", "slides_study", "--quiet")
    clean(slides, "sheets", "out", *KEPT)


def test_crash_output_names_no_patient(
    grades: Place, heads: Place, slides: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are cut off, and tags that cannot be, with and without --debug."""
    whole = sorted((grades.root / "data" / "joints").glob("*.dcm"))[0]
    header = pydicom.dcmread(whole)
    header.BitsAllocated = 12
    broken = grades.root / "broken"
    broken.mkdir()
    header.save_as(broken / "a.dcm")
    (broken / "b.dcm").write_bytes(whole.read_bytes()[:900])
    raw = whole.read_bytes()
    (broken / "c.dcm").write_bytes(raw.replace(b"19330709", b"1933070\xff"))
    (model,) = (grades.root / "runs" / "joints").glob("train-*")
    for debug, code in (([], 3), (["--debug"], 1)):
        for name in "ab":
            grades.medssl("predict", model, broken / f"{name}.dcm", "-o", "o", *debug, code=code)
    grades.medssl("predict", model, broken / "c.dcm", "-o", "o")
    first = next((heads.root / "data" / "heads" / "p0_t1").iterdir())
    first.write_bytes(first.read_bytes()[:700])
    heads.medssl("pretrain", "encoder", "seed=7", "--debug", code=1)
    slide = slides.root / "cut.tiff"
    slide.write_bytes((slides.root / "data" / "toys" / "s4.tiff").read_bytes()[:3000])
    (trained, *_) = (slides.root / "runs" / "slides").glob("train-*")
    slides.medssl("predict", trained, slide, "-o", "out2", "--debug", code=1)
    for place in (grades, heads, slides):
        clean(place, "runs")


def test_nothing_that_was_said_quotes_a_header(grades: Place, heads: Place, slides: Place) -> None:
    """The last of this file: of all verbs together."""
    for place in (grades, heads, slides):
        assert len(place.said) > 500
        assert [word for word in IN_HEADERS if word.lower() in place.said.lower()] == []
