"""A folder of few masks, or of odd ones, as on the command line: a sentence, and what works."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask, write_volume
from tests.conftest import Medssl

TINY = (
    "network={name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}",
    "train={steps: 2, patch: [8, 8, 8], device: cpu}",
    "method=supervised",
)

GRID = Geometry((8, 8, 8), np.diag([1.0, 1.0, 1.0, 1.0]))

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(directory: Path, medssl: Medssl) -> Command:
    """Run `medssl ...` beside the empty folder `clinic`: its exit code, and all that it says."""
    (directory / "clinic").mkdir()

    def call(*arguments: str) -> tuple[int, str]:
        code, out, error = medssl(*arguments)
        return code, out + error

    return call


def scans(*names: str) -> None:
    for number, name in enumerate(names):
        array = np.random.default_rng(number).normal(size=GRID.shape).astype(np.float32)
        write_volume(array, GRID, Path("clinic") / f"{name}.nii.gz")


def mask(name: str, *values: int) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    for index, value in enumerate(values, start=1):
        array[2 * index : 2 * index + 2, 2:6, 2:6] = value
    write_mask(array, GRID, Path("clinic") / f"{name}.nii.gz")


def refused(said: tuple[int, str], *parts: str) -> None:
    """One sentence, with what is wrong and what to do."""
    code, text = said
    assert code != 0
    assert len(text.strip().splitlines()) == 1
    for part in parts:
        assert part in text


def test_two_masks_for_one_scan(command: Command) -> None:
    scans("a", "b")
    for name in ("a_seg", "b_seg", "a_mask"):
        mask(name, 1)
    refused(
        command("run", "clinic", "--quiet"),
        "a.nii.gz has two masks, a_seg.nii.gz and a_mask.nii.gz",
        "keep one and move the other to another folder",
    )
    assert not Path("data_specs").exists()
    Path("clinic/a_mask.nii.gz").rename("a_mask.nii.gz")
    assert command("run", "clinic", *TINY, "--quiet")[0] == 0


def test_a_mask_whose_name_fits_two_scans(command: Command) -> None:
    scans("images/01_pre", "images/01_late", "images/02_pre", "images/02_late")
    mask("masks/01", 1)
    mask("masks/02", 1)
    refused(
        command("run", "clinic", "--quiet"),
        "the mask masks/01.nii.gz fits two scans",
        "name the mask after one of them",
    )
    for number in ("01", "02"):
        Path(f"clinic/masks/{number}.nii.gz").rename(f"clinic/masks/{number}_pre.nii.gz")
    assert command("run", "clinic", *TINY, "--quiet")[0] == 0


def test_one_mask_in_all(command: Command) -> None:
    scans("a", "b", "c")
    mask("a_seg", 1)
    code, said = command("run", "clinic", *TINY, "--quiet")
    assert code == 0
    assert "one scan alone has a mask, so nothing can be scored" in said
    assert "2 cases without a label have a mask now" in said
    refused(
        command("run", "clinic", *TINY, "split.folds=5", "--quiet"),
        "split.folds=5 needs labelled cases of two patients or more; 1 of one patient is left",
        "label another patient, or set split.folds=0",
    )
    assert command("run", "clinic", *TINY, "split.folds=0", "--quiet")[0] == 0


def test_a_class_in_one_case_only(command: Command) -> None:
    scans("a", "b", "c")
    mask("a_seg", 1, 2)
    mask("b_seg", 1)
    mask("c_seg", 1)
    code, said = command("run", "clinic", *TINY)
    assert code == 0
    assert "(label_2) is in the mask of a alone" in said
    told = "no other labelled patient than that of case a has the class 'label_2', so the fold"
    assert said.count(told) == 1
    assert "label the class in another patient" in said
    assert "Dice " in said


def test_more_folds_than_patients(command: Command) -> None:
    scans("a", "b", "c")
    for name in ("a_seg", "b_seg", "c_seg"):
        mask(name, 1)
    assert command("init", "clinic")[0] == 0
    code, said = command("run", "clinic", *TINY, "split.folds=7")
    assert code == 0
    assert "split.folds=7 is more than the 3 labelled patients, so each of them is left" in said
    (folder,) = Path("runs/clinic").glob("train-*")
    assert len(list(folder.glob("fold*"))) == 3
    refused(
        command("run", "clinic", *TINY, "split.folds=1", "--quiet"),
        "one fold leaves nothing to learn from; set 2 or more, or 0 for none",
    )


def test_a_train_alone_says_it_too(command: Command) -> None:
    scans("a", "b")
    mask("a_seg", 1)
    mask("b_seg", 1)
    assert command("init", "clinic")[0] == 0
    code, said = command("train", "clinic", *TINY, "split.folds=5")
    assert code == 0
    assert "split.folds=5 is more than the 2 labelled patients" in said
