"""The page of predicted masks says what its pictures are."""

from pathlib import Path

import pytest

from medssl.evaluate.masks_page import MaskCard, Ranges, write_masks_page


@pytest.mark.parametrize(
    ("pictures", "ranges", "said", "unsaid"),
    [
        (False, "networks", ["axial slice", "the greatest volume", "voxels"], ["picture and its"]),
        (False, "left out", ["95 % interval of the volume"], ["the greatest"]),
        (False, "", ["axial slice"], ["In brackets"]),
        (True, "networks", ["picture and its mask", "the greatest area", "pixels"], ["axial"]),
        (True, "left out", ["95 % interval of the area"], ["volume"]),
    ],
)
def test_the_page_speaks_of_slices_or_pictures(
    tmp_path: Path, pictures: bool, ranges: Ranges, said: list[str], unsaid: list[str]
) -> None:
    card = MaskCard("a", 0.5, False, ["polyp 4"], b"png")
    path = tmp_path / "masks.html"
    write_masks_page(path, "Polyps", "Correct.", [card], ["none", "polyp"], 1, pictures, ranges)
    text = path.read_text().partition("<body>")[2]
    assert [words for words in said if words not in text] == []
    assert [words for words in unsaid if words in text] == []
