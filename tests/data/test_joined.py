"""Masks of one structure each are read as one mask."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medssl.data.geometry import Geometry
from medssl.data.joined import Part, first_file, named_by, write_joined
from medssl.data.pixels import files_of
from medssl.data.volume import read_mask, write_mask
from medssl.errors import DataError
from tests.data.conftest import GRID, SHAPE


def part(folder: Path, name: str, value: int, *planes: int, grid: Geometry = GRID) -> Part:
    """The mask of a structure that fills planes of the first axis, with 255."""
    array = np.zeros(grid.shape, np.uint8)
    array[list(planes)] = 255
    path = folder / f"{name}.nii.gz"
    write_mask(array, grid, path)
    return Part(name, value, path)


def test_later_structures_lie_over_earlier_ones(tmp_path: Path) -> None:
    parts = [part(tmp_path, "liver", 1, 0, 1, 2), part(tmp_path, "tumour", 7, 2, 3)]
    mask = read_mask(write_joined(tmp_path / "lists", "a", parts))
    assert mask.array.shape == (1, *SHAPE)
    assert mask.array[0, :, 0, 0].tolist() == [1, 1, 7, 7, 0, 0]
    assert mask.geometry.matches(GRID)
    assert mask.remarks == ("tumour lies over liver in 56 voxels",)


def test_it_consists_of_the_masks_and_is_called_after_the_first(tmp_path: Path) -> None:
    parts = [part(tmp_path, name, value, value) for value, name in enumerate("xyz", start=1)]
    path = write_joined(tmp_path / "lists", "a", parts)
    assert files_of(path)[1:] == [one.file for one in parts]
    assert first_file(path) == parts[0].file
    assert named_by(path) == f"{parts[0].file} (joined with 2 more)"
    assert named_by(parts[0].file) == str(parts[0].file)


def test_other_values_are_another_mask_and_other_places_are_not(tmp_path: Path) -> None:
    one, other = (part(tmp_path / place, "liver", 1, 1) for place in ("here", "there"))
    names = [write_joined(tmp_path / "lists", "a", [given]).name for given in (one, other)]
    assert names[0] == names[1]
    assert write_joined(tmp_path / "lists", "a", [Part("liver", 2, one.file)]).name != names[0]


def test_pictures_lie_on_the_grid_of_their_image(tmp_path: Path) -> None:
    parts = []
    for value, name in enumerate(("left", "right"), start=1):
        Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / f"{name}.png")
        parts.append(Part(name, value, tmp_path / f"{name}.png"))
    grid = Geometry((4, 4, 1), np.diag([0.3, 0.3, 1.0, 1.0]))
    mask = read_mask(write_joined(tmp_path / "lists", "a", parts), on=grid)
    assert mask.geometry.matches(grid)
    assert np.unique(mask.array).tolist() == [0, 2]


def test_a_structure_on_another_grid_or_of_several_values_is_named(tmp_path: Path) -> None:
    moved = Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))
    parts = [part(tmp_path, "liver", 1, 1), part(tmp_path, "spleen", 2, 3, grid=moved)]
    with pytest.raises(DataError, match=r"spleen.nii.gz does not lie on the grid of .*liver"):
        read_mask(write_joined(tmp_path, "a", parts))
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3
    write_mask(array.astype(np.uint8), GRID, parts[1].file)
    with pytest.raises(DataError, match=r"spleen.nii.gz holds 2 values beside 0; .*here spleen"):
        read_mask(write_joined(tmp_path, "a", parts))


def test_a_damaged_list_says_what_helps(tmp_path: Path) -> None:
    path = write_joined(tmp_path, "a", [part(tmp_path, "liver", 1, 1)])
    path.write_text("{")
    with pytest.raises(DataError, match="delete it; it is made anew"):
        read_mask(path)
