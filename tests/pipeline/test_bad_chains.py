"""Chains and images that cannot be, as on the command line: one sentence, nothing half-written."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.registry import Registry
from tests.conftest import Medssl

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(medssl: Medssl) -> Command:
    """Run `medssl ...`: its exit code, and all that it says."""

    def call(*arguments: str) -> tuple[int, str]:
        code, out, error = medssl(*arguments)
        return code, out + error

    return call


def refused(command: Command, *arguments: str) -> str:
    """The one sentence of a command that fails: no model is left, and nothing half-written."""
    code, text = command(*arguments, "--quiet")
    assert code in (2, 3), text
    assert len(text.strip().splitlines()) == 1, text
    left = [path for path in Path().rglob("*") if path.is_file()]
    assert not [path for path in left if ".part" in str(path) or "checkpoint" in path.parts]
    return text


ZERO = "{ScaleIntensityRanged: {a_min: 0, a_max: 1.0e-45, b_min: 0, b_max: 1}}"

AT_ONCE = {
    "preprocess=[Spacngd]": r"no transform is called 'Spacngd'; did you mean 'Spacingd'\?",
    "augment=[RandAffine]": r"no transform is called 'RandAffine'; did you mean 'RandAffined'\?",
    "preprocess=[{Spacingd: {pixdm: 1}}]": r"no argument 'pixdm'; did you mean 'pixdim'\?",
    "augment=[{RandAffined: {rotate: 1}}]": r"no argument 'rotate'; did you mean 'rotate_range'\?",
    "preprocess=[Spacingd]": r"Spacingd needs pixdim; write {Spacingd: {pixdim: \.\.\.}}",
    "preprocess=[mr, Transposed]": "the transform Transposed cannot stand in a chain",
    "augment=[{RandSpatialCropd: {roi_size: 4}}]": "changes the grid of patches",
    "augment=[{RandSmoothDeformd: {spatial_size: [8, 8, 8], rand_size: 4}}]": (
        "RandSmoothDeformd changes the grid of patches in a way that is not known"
    ),
    "augment=[{RandCropByPosNegLabeld: {label_key: label, spatial_size: 4}}]": (
        "it cuts patches, which train.patch and train.foreground say"
    ),
    "augment=[{RandGaussianNoised: {keys: img}}]": "has the key 'img', which nothing makes",
}
IN_A_RUN = {
    "preprocess=[{SelectItemsd: {keys: [label]}}]": "the transform SelectItemsd drops the image",
    "preprocess=[SqueezeDimd]": "the transform SqueezeDimd makes something else of the image",
    "preprocess=[{RepeatChanneld: {repeats: 2}}]": "changes the channels of the image; 1x12x12x12",
    f"preprocess=[{ZERO}]": r"ScaleIntensityRanged makes values of .*c\d\.nii\.gz that are not fin",
    "preprocess=[{MapLabelValued: {keys: label, orig_labels: [1], target_labels: [9]}}]": (
        "preprocess makes a mask with the class 9; the data set balls has the classes 0 to 1"
    ),
    "augment=[{NormalizeIntensityd: {keys: [image, label]}}]": (
        r"case c\d: augment makes other values of a mask than its class indices; such as"
    ),
    "augment=[{RandRotated: {prob: 1, range_x: 0.5, mode: [bilinear, bilinear]}}]": (
        r"case c\d: augment makes other values of a mask than its class indices; such as 0"
    ),
    "augment=[{MapLabelValued: {keys: label, orig_labels: [1], target_labels: [9]}}]": (
        r"case c\d: augment makes other values of a mask than its class indices; such as 9"
    ),
    f"augment=[{ZERO}]": r"case c7: the transform ScaleIntensityRanged makes values that are not",
}


@pytest.mark.parametrize("override", [*AT_ONCE, *IN_A_RUN])
def test_a_chain_that_cannot_be(balls: Path, command: Command, override: str) -> None:
    found = refused(command, "run", "balls", override)
    assert re.search((AT_ONCE | IN_A_RUN)[override], found), found
    assert Path("runs").exists() == (override in IN_A_RUN)


def test_a_grid_that_changes_without_a_record(
    balls: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Registry("", "transform", {"Halvedd": "tests.transforms.faulty:Halvedd"})
    for module in ("chain", "compose", "step"):
        monkeypatch.setattr(f"medssl.transforms.{module}.TRANSFORMS", offered)
    found = refused(command, "run", "balls", "preprocess=[Halvedd]")
    assert "the transform Halvedd changes the grid without a record; 1x12x12x12 becomes" in found


@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_image_of_other_dimensions_than_the_rest(
    balls: Path, command: Command, verb: str
) -> None:
    spec = balls / "data_specs" / "balls.yaml"
    spec.write_text(spec.read_text().replace('"{case}.nii.gz"', '"{case}.*"'))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(balls / "data" / "balls" / "odd.png")
    words = "odd.png is a picture where 8 of the 9 images are volumes; a data set is of one kind"
    if verb == "run":
        assert words in refused(command, "run", "balls")
    else:
        code, text = command("data", "check", "balls", "--quiet")
        assert code == 3
        assert words in text


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_colour_that_no_label_has(discs: Path, command: Command, verb: str) -> None:
    spec = discs / "data_specs" / "discs.yaml"
    spec.write_text(spec.read_text().replace("name: disc}", "name: disc, colour: '#00ff00'}"))
    for path in (discs / "data" / "discs" / "masks").iterdir():
        green = np.zeros((24, 32, 3), np.uint8)
        green[8:12, 8:12] = (0, 255, 0)
        if path.stem == "d3":
            green[0, 0] = (9, 9, 9)
        Image.fromarray(green).save(path)
    (discs / "pipelines" / "discs.yaml").write_text(
        "data: discs\nsplit: {labels: 6, validation: 0, test: 2}\n"
        "train: {steps: 2, patch: [16, 16], device: cpu}\n"
    )
    words = "d3.png holds the colour #090909 (1 pixels), which no label declares"
    given = ("data", "check", "discs") if verb == "check" else ("run", "discs")
    code, text = command(*given, "--quiet")
    assert code == 3, text
    assert words in text
    assert "the nearest is #00ff00 of 'disc'" in text
