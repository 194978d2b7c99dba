"""Folders with a mask of each structure, as TotalSegmentator writes them: labels by file names."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.check import check, labelled
from medssl.data.geometry import Geometry
from medssl.data.guess import guess_spec
from medssl.data.joined import parts_of
from medssl.data.layouts import find_cases
from medssl.data.spec import Case, DataSpec, load_spec
from medssl.data.volume import read_mask, write_mask, write_volume
from medssl.errors import DataError
from medssl.pipeline.config import load_config
from medssl.pipeline.init import initialise
from medssl.pipeline.progress import QuietReporter
from tests.conftest import Medssl

GRID = Geometry((10, 8, 8), np.diag([1.0, 1.0, 2.0, 1.0]))
PLACES = {"liver": slice(0, 4), "spleen": slice(6, 8), "left_kidney": slice(9, 10)}


@pytest.fixture
def scans(directory: Path) -> Path:
    """An empty folder `scans` in a working directory of its own."""
    (directory / "scans").mkdir()
    return directory / "scans"


def scan(path: Path) -> None:
    generator = np.random.default_rng(zlib.crc32(str(path).encode()))
    write_volume(generator.normal(100, 10, GRID.shape).astype(np.float32), GRID, path)


def mask(path: Path, *planes: slice, value: int = 1) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    for plane in planes:
        array[plane] = value
    write_mask(array, GRID, path)


def fill(root: Path, image: str, masks: str, names: Sequence[str] = tuple(PLACES)) -> None:
    """Cases s01, s02 and s10, the last without masks."""
    for case in ("s01", "s02", "s10"):
        scan(root / image.format(case=case))
    for case in ("s01", "s02"):
        for name in names:
            mask(root / masks.format(case=case, name=name), PLACES[name])


def written(name: str = "scans") -> tuple[DataSpec, list[Case]]:
    """What init wrote, which must be sound: the spec, its cases, and the pipeline too."""
    spec = load_spec(name)
    assert [one for one in check(spec) if one.level == "error"] == []
    load_config(name)
    return spec, find_cases(spec)


FORMS: dict[str, tuple[str, str, str]] = {
    "a folder of masks in that of a case": (
        "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz",
        "{case}/segmentations/{label}.nii.gz",
    ),
    "beside the scan in its folder": (
        "{case}/image.nii.gz", "{case}/{name}.nii.gz", "{case}/{label}.nii.gz",
    ),
    "beside the scan, with a word for masks": (
        "{case}/image.nii.gz", "{case}/{name}_mask.nii.gz", "{case}/{label}_mask.nii.gz",
    ),
    "a folder of each case": (
        "images/{case}.nii.gz", "masks/{case}/{name}.nii.gz", "masks/{case}/{label}.nii.gz",
    ),
    "a folder of each structure": (
        "images/{case}.nii.gz", "masks/{name}/{case}.nii.gz", "masks/{label}/{case}.nii.gz",
    ),
    "a folder of each structure, beside that of the scans": (
        "images/{case}.nii.gz", "{name}/{case}.nii.gz", "{label}/{case}.nii.gz",
    ),
    "side by side": (
        "{case}.nii.gz", "{case}_{name}.nii.gz", "{case}_{label}.nii.gz",
    ),
    "side by side, with words": (
        "scan_{case}.nii.gz", "seg_{name}_{case}.nii.gz", "seg_{label}_{case}.nii.gz",
    ),
    "with the case's name twice": (
        "{case}/{case}.nii.gz", "{case}/{case}_{name}_seg.nii.gz",
        "{case}/{case}_{label}_seg.nii.gz",
    ),
}  # fmt: skip
"""Names of scans and of masks; the pattern that is to be found."""


@pytest.mark.parametrize("form", FORMS)
def test_files_of_structures_become_labels_by_their_names(scans: Path, form: str) -> None:
    image, masks, label = FORMS[form]
    fill(scans, image, masks)
    said = initialise(scans, QuietReporter())
    spec, cases = written()
    assert (spec.layout.model_extra or {})["label"] == label
    assert [(one.value, one.name) for one in spec.labels] == [
        (1, "liver"), (2, "spleen"), (3, "left_kidney"),  # the largest first
    ]  # fmt: skip
    assert [labelled(case) for case in cases] == [True, True, False]
    array = read_mask(cases[0].label, on=GRID).array[0]
    assert array[:, 0, 0].tolist() == [1, 1, 1, 1, 0, 0, 2, 2, 0, 3]
    assert "(structure)" in said
    assert Path("contact_sheet_scans.png").is_file()


ALONE: dict[str, tuple[str, str, str]] = {
    "as TotalSegmentator writes it": (
        "{case}/ct.nii.gz", "{case}/segmentations/liver.nii.gz", "liver",
    ),
    "two words": ("{case}/ct.nii.gz", "{case}/segmentations/left_kidney.nii.gz", "left_kidney"),
    "with a number": ("{case}/ct.nii.gz", "{case}/segmentations/vertebrae_L1.nii.gz",
        "vertebrae_L1"),
    "beside the scan, with a word for masks": (
        "{case}/image.nii.gz", "{case}/lesion_mask.nii.gz", "lesion",
    ),
    "side by side": ("{case}.nii.gz", "{case}_liver.nii.gz", "liver"),
    "side by side, with a word before": ("{case}.nii.gz", "seg_liver_{case}.nii.gz", "liver"),
    "a word for masks": ("{case}/ct.nii.gz", "{case}/segmentation.nii.gz", "label_1"),
    "nothing but the case": ("images/{case}.nii.gz", "masks/{case}.nii.gz", "label_1"),
    "a version": ("{case}/ct.nii.gz", "{case}/seg_final.nii.gz", "label_1"),
    "a side without a structure": ("{case}.nii.gz", "{case}_left_seg.nii.gz", "label_1"),
    "the contrast": ("{case}_t1.nii.gz", "{case}_t1_seg.nii.gz", "label_1"),
    "a word of the scans too": ("brain_{case}.nii.gz", "brain_{case}_seg.nii.gz", "label_1"),
}  # fmt: skip
"""Names of scans and of their only masks; the name of the label."""


@pytest.mark.parametrize("form", ALONE)
def test_one_structure_alone_is_called_after_its_files_too(scans: Path, form: str) -> None:
    image, masks, label = ALONE[form]
    fill(scans, image, masks, ["liver"])
    said = initialise(scans, QuietReporter())
    assert [one.name for one in written()[0].labels] == [label]
    assert f"labels: 1 ({label}) in 2 masks" in said
    assert ("By the name of its files" in Path("data_specs/scans.yaml").read_text()) is (
        label != "label_1"
    )


def test_cases_whose_number_looks_like_a_structure_have_one_mask_each(scans: Path) -> None:
    """`case` and `01_liver` is one way to read `case_01_liver`; each scan has one mask."""
    for number in ("01", "02", "10"):
        scan(scans / f"case_{number}.nii.gz")
    for number, planes in (("01", slice(0, 3)), ("02", slice(5, 9))):
        mask(scans / f"case_{number}_liver.nii.gz", planes)
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert [one.name for one in spec.labels] == ["liver"]
    assert [labelled(case) for case in cases] == [True, True, False]


def test_several_values_are_not_called_after_the_file(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/liver.nii.gz", [])
    for case in ("s01", "s02"):
        array = np.zeros(GRID.shape, np.uint8)
        array[:2], array[4:5] = 1, 2
        write_mask(array, GRID, scans / case / "segmentations" / "liver.nii.gz")
    initialise(scans, QuietReporter())
    assert [one.name for one in written()[0].labels] == ["label_1", "label_2"]


def test_they_may_lie_apart(scans: Path) -> None:
    fill(scans, "{case}.nii.gz", "../drawn/{case}/{name}.nii.gz")
    initialise(scans, QuietReporter(), labels=scans.parent / "drawn")
    spec, cases = written()
    assert len(spec.labels) == 3
    assert [labelled(case) for case in cases] == [True, True, False]


def test_pictures_may_have_a_mask_of_each_structure_too(scans: Path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        picture(scans / "images" / f"x{number}.png", pixels)
    for side, column in (("left", 1), ("right", 5)):
        lung = np.zeros((8, 8), np.uint8)
        lung[:, column : column + 2] = 255
        for number in range(2):
            picture(scans / "masks" / f"{side} lung" / f"x{number}.png", lung)
    initialise(scans, QuietReporter())
    spec, cases = written()
    assert [one.name for one in spec.labels] == ["left lung", "right lung"]
    assert np.unique(read_mask(cases[0].label).array).tolist() == [0, 1, 2]
    assert Path("contact_sheet_scans.png").is_file()


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_the_names_may_differ_in_one_word_alone(scans: Path) -> None:
    for case in ("a", "b"):
        scan(scans / case / "ct.nii.gz")
        for number, side in enumerate(("left", "right")):
            mask(
                scans / case / "segmentations" / f"kidney_{side}.nii.gz", slice(number, number + 1)
            )
    initialise(scans, QuietReporter())
    assert [one.name for one in written()[0].labels] == ["kidney_left", "kidney_right"]


def test_numbers_in_the_names_of_structures_are_no_cases(scans: Path) -> None:
    for case in ("1", "2"):
        scan(scans / case / "ct.nii.gz")
        for number in (1, 2, 3):
            plane = slice(number, number + 1)
            mask(scans / case / "segmentations" / f"vertebrae_L{number}.nii.gz", plane)
    initialise(scans, QuietReporter())
    assert len(written()[0].labels) == 3


def test_what_overlaps_is_told_and_the_smaller_lies_on_top(scans: Path) -> None:
    for case in ("a", "b"):
        scan(scans / case / "ct.nii.gz")
        mask(scans / case / "seg" / "tumour.nii.gz", slice(3, 4))
        mask(scans / case / "seg" / "liver.nii.gz", slice(2, 8))
    said = initialise(scans, QuietReporter())
    spec, cases = written()
    assert [one.name for one in spec.labels] == ["liver", "tumour"]
    assert "structures overlap in 2 masks, e.g. in that of a: tumour lies over liver in 64" in said
    assert read_mask(cases[0].label).array[0, :, 0, 0].tolist() == [0, 0, 1, 2, 1, 1, 1, 1, 0, 0]
    (one, _) = [verdict for verdict in check(spec) if "lies over" in verdict.what]
    assert (one.level, "change their order" in one.do) == ("warning", True)


def test_what_is_marked_nowhere_is_no_label(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    for case in ("s01", "s02"):
        mask(scans / case / "segmentations" / "prostate.nii.gz")
    said = initialise(scans, QuietReporter())
    assert "1 structures are marked in no mask and are no labels: prostate" in said
    assert [one.name for one in written()[0].labels] == ["liver", "spleen", "left_kidney"]


def test_a_structure_that_has_no_file_in_a_case_is_not_outlined_there(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    (scans / "s02/segmentations/spleen.nii.gz").unlink()
    said = initialise(scans, QuietReporter())
    assert "1 scans have masks of some structures alone (s02)" in said
    spec, _ = written()
    assert spec.structures_in("s01") == ("liver", "spleen", "left_kidney")
    assert spec.structures_in("s02") == ("liver", "left_kidney")


def test_a_file_that_goes_or_comes_later_is_told(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    initialise(scans, QuietReporter())
    (scans / "s02/segmentations/spleen.nii.gz").unlink()
    spec = load_spec("scans")
    with pytest.raises(DataError, match=r"case s02 has .* and none of spleen; add it, .*outlined"):
        find_cases(spec)
    partial = spec.model_copy(update={"outlined": {"s02": ("liver",)}})
    with pytest.raises(DataError, match="mask of left_kidney, which `outlined` does not"):
        find_cases(partial)


def test_structures_that_are_taken_out_of_the_data_spec_are_no_scans(scans: Path) -> None:
    fill(scans, "{case}.nii.gz", "{case}_{name}.nii.gz")
    initialise(scans, QuietReporter())
    path = Path("data_specs/scans.yaml")
    path.write_text(path.read_text().replace(", {value: 3, name: left_kidney}", ""))
    spec, cases = written()
    assert [one.name for one in spec.labels] == ["liver", "spleen"]
    assert [case.id for case in cases] == ["s01", "s02", "s10"]


def test_a_bare_folder_of_structures_is_checked(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    assert check(guess_spec(scans), guessed=True) == []


def test_a_mask_of_all_labels_goes_before_those_of_structures(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    initialise(scans, QuietReporter())
    mask(scans / "s01/segmentations/mask.nii.gz", slice(0, 2), value=2)
    mask(scans / "s10/segmentations/mask.nii.gz", slice(0, 2), value=3)
    _, cases = written()
    assert [int(read_mask(case.label).array.max()) for case in cases] == [2, 3, 3]


def test_the_order_of_labels_decides_which_mask_it_is(scans: Path) -> None:
    """What is cached of a case is known by the name of the file, and by the masks."""
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    initialise(scans, QuietReporter())
    spec = load_spec("scans")
    turned = spec.model_copy(update={"labels": spec.labels[::-1]})
    one, other = (find_cases(given)[0].label for given in (spec, turned))
    assert one.name != other.name
    assert [part.name for part in parts_of(other)] == ["left_kidney", "spleen", "liver"]


REFUSED: dict[str, tuple[dict[str, slice], str]] = {
    "two people by number": (
        {"a_seg_1": slice(1, 4), "a_seg_2": slice(1, 5)},
        "a.nii.gz has two masks, a_seg_1.nii.gz and a_seg_2.nii.gz.*if two people drew them",
    ),
    "two people by a word": (
        {"a_seg_reader1": slice(1, 4), "a_seg_reader2": slice(1, 5)}, "a.nii.gz has two masks",
    ),
    "two people by name": (
        {"a_seg_anna": slice(1, 4), "a_seg_bert": slice(2, 5)},
        "a_seg_anna.nii.gz and a_seg_bert.nii.gz mark much the same; Dice 0.67, .* keep one",
    ),
    "an older version": (
        {"a_seg": slice(1, 4), "a_seg_old": slice(1, 5)}, "a.nii.gz has two masks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_two_masks_of_one_thing_are_no_structures(scans: Path, name: str) -> None:
    masks, sentence = REFUSED[name]
    for one in ("a", "b"):
        scan(scans / f"{one}.nii.gz")
    for file, plane in masks.items():
        mask(scans / f"{file}.nii.gz", plane)
    with pytest.raises(DataError, match=sentence):
        initialise(scans, QuietReporter())
    assert not Path("data_specs").exists()


def test_two_peoples_masks_of_several_structures_are_told(scans: Path) -> None:
    scan(scans / "a.nii.gz")
    for person in ("anna", "bert"):
        array = np.zeros(GRID.shape, np.uint8)
        array[1], array[2] = 1, 2
        write_mask(array, GRID, scans / f"a_{person}.nii.gz")
    with pytest.raises(DataError, match=r"anna.nii.gz, beside a_bert.nii.gz, .*if two people"):
        initialise(scans, QuietReporter())


def test_names_that_differ_in_case_alone_are_told(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    liver = scans / "s02" / "segmentations" / "liver.nii.gz"
    liver.rename(liver.with_name("Liver.nii.gz"))
    with pytest.raises(DataError, match="called Liver and liver; these differ in upper and lower"):
        initialise(scans, QuietReporter())


def test_a_file_of_several_values_is_no_structure(scans: Path) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    array = np.zeros(GRID.shape, np.uint8)
    array[1], array[2] = 1, 2
    write_mask(array, GRID, scans / "s01/segmentations/liver.nii.gz")
    with pytest.raises(DataError, match=r"liver.nii.gz, beside .* holds the values 1, 2; .*split"):
        initialise(scans, QuietReporter())


TINY = (
    "network={name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}",
    "train={steps: 2, patch: [8, 8, 8], device: cpu}",
    "method=supervised",
    "split.folds=0",
)

Command = Callable[..., str]


@pytest.fixture
def command(medssl: Medssl) -> Command:
    """Run `medssl ...`; what it prints."""

    def call(*arguments: str) -> str:
        code, out, error = medssl(*arguments)
        assert code == 0, error
        return out

    return call


def test_such_a_folder_is_run_to_scores_and_masks(scans: Path, command: Command) -> None:
    fill(scans, "{case}/ct.nii.gz", "{case}/segmentations/{name}.nii.gz")
    said = command("run", "scans", *TINY, "--quiet")
    assert "1 cases without a label have a mask now" in said
    place = "scans/s10/segmentations/mask.nii.gz"
    assert f"{place}; then run again" in said
    (made,) = Path("runs/scans").glob("unlabelled-*/s10.nii.gz")
    Path(place).parent.mkdir()
    Path(place).write_bytes(made.read_bytes())
    assert [labelled(case) for case in find_cases(load_spec("scans"))] == [True, True, True]
    command("data", "check", "scans", "--quiet")
