from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.data.layouts import find_cases
from medssl.data.show import COLOURS, contact_sheet, middle
from medssl.data.volume import write_mask, write_volume
from medssl.errors import DataError, UsageError
from tests.data.conftest import GRID, declare, mask


def has_colour(path: Path, colour: str) -> bool:
    """Whether the hue occurs inside the slices, above the legend."""
    pixels = matplotlib.image.imread(path)[:-80, :, :3] * 255
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(pixels - wanted).max(-1) < 12).any())


def test_every_label_is_outlined(toy: Path) -> None:
    spec = declare(toy)
    sheet = contact_sheet(spec, find_cases(spec)[:1], toy / "out" / "sheet.png")
    assert has_colour(sheet, COLOURS[0])
    assert has_colour(sheet, COLOURS[1])
    assert not has_colour(sheet, COLOURS[2])
    assert [path.name for path in sheet.parent.iterdir()] == ["sheet.png"]


def test_an_unlabelled_case_is_shown_without_outline(toy: Path) -> None:
    (toy / "labelsTr" / "a.nii.gz").unlink()
    spec = declare(toy)
    sheet = contact_sheet(spec, find_cases(spec)[:1], toy / "sheet.png")
    assert not has_colour(sheet, COLOURS[0])


def test_a_row_per_case(toy: Path) -> None:
    spec = declare(toy)
    heights = [
        matplotlib.image.imread(contact_sheet(spec, find_cases(spec)[:n], toy / f"{n}.png")).shape[
            0
        ]
        for n in (1, 2)
    ]
    assert heights[1] - heights[0] == 240


def test_slices_go_through_the_mask() -> None:
    one = np.zeros((9, 9, 9), np.uint8)
    one[1:4, 5, 7] = 2
    assert middle(one, one.shape) == (2, 5, 7)
    assert middle(one * 0, one.shape) == (4, 4, 4)
    assert middle(None, (2, 4, 6)) == (1, 2, 3)


def test_a_label_off_the_grid_is_refused_and_nothing_is_written(toy: Path) -> None:
    write_mask(mask(1), GRID.cropped((1, 0, 0), (7, 7, 8)), toy / "labelsTr" / "a.nii.gz")
    spec = declare(toy)
    with pytest.raises(DataError, match="does not lie on the grid"):
        contact_sheet(spec, find_cases(spec), toy / "out" / "sheet.png")
    assert not (toy / "out").exists()


def test_only_png(toy: Path) -> None:
    spec = declare(toy)
    with pytest.raises(UsageError, match="must end in"):
        contact_sheet(spec, find_cases(spec), toy / "sheet.jpg")


def test_names_are_no_formulas(toy: Path) -> None:
    """Two dollars would make one, and a wrong one could not be drawn."""
    spec = declare(toy, title=r"$\frac{$", labels=[{"value": 1, "name": "$x^{$"}])
    for old in [*(toy / "imagesTr").iterdir(), *(toy / "labelsTr").iterdir()]:
        old.rename(old.with_name("$_{$" + old.name))
    assert contact_sheet(spec, find_cases(spec)[:1], toy / "sheet.png").is_file()


def test_a_volume_of_one_voxel_is_drawn(tmp_path: Path) -> None:
    grid = Geometry((1, 1, 1), np.eye(4))
    write_volume(np.ones((1, 1, 1), np.float32), grid, tmp_path / "imagesTr/a.nii.gz")
    write_mask(np.ones((1, 1, 1), np.uint8), grid, tmp_path / "labelsTr/a.nii.gz")
    spec = declare(tmp_path)
    assert contact_sheet(spec, find_cases(spec), tmp_path / "sheet.png").is_file()


def test_a_sheet_that_no_picture_can_hold_is_refused(toy: Path) -> None:
    spec = declare(toy)
    with pytest.raises(UsageError, match="at most 270 cases with --cases"):
        contact_sheet(spec, find_cases(spec) * 100, toy / "sheet.png")
