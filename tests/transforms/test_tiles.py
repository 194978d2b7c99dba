"""Chains of tiles: nothing by default, stains made alike, transforms of MONAI, faults told."""

from typing import Any

import numpy as np
import pytest
import torch

from medssl.data.slide.settings import TileSettings
from medssl.errors import UsageError
from medssl.transforms.tile_chain import AS_SCANNED, TilePreprocess, check_tiles

TILES = TileSettings(size=32)
STAINED = {"slide": {"stain": "macenko"}}


def tile(seed: int = 0, side: int = 32) -> np.ndarray:
    """[S, S, 3] of two stains in random amounts, RGB."""
    amounts = np.random.default_rng(seed).gamma(2.0, 0.3, (side, side, 2))
    stains = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])
    return np.rint(240 * np.exp(-amounts @ stains)).clip(0, 255).astype(np.uint8)


def made(given: Any, pixels: np.ndarray) -> np.ndarray:
    return TilePreprocess.of(given).preparation(0.5)(pixels, "a slide")


def test_the_word_slide_leaves_tiles_and_their_keys_as_they_are() -> None:
    assert AS_SCANNED.plain == []
    assert made("slide", pixels := tile()) is pixels
    assert AS_SCANNED.key(TILES.key) == TILES.key


def test_what_is_done_to_tiles_is_part_of_their_key() -> None:
    stained = TilePreprocess.of(STAINED)
    assert stained.plain == ["medssl:NormalizeStaind"]
    assert stained.key("a") == TilePreprocess.of(["medssl:NormalizeStaind"]).key("a")
    keys = {one.key("a") for one in (AS_SCANNED, stained, TilePreprocess.of("Flipd"))}
    assert len(keys) == 3
    assert stained.key("a") != stained.key("b")


def test_stains_are_those_of_monais_transform() -> None:
    from monai.apps.pathology.transforms.stain.array import NormalizeHEStains

    np.testing.assert_array_equal(made(STAINED, tile()), NormalizeHEStains()(tile()))


def test_slides_stained_otherwise_look_alike_afterwards() -> None:
    pale = np.rint(240 * (tile() / 240.0) ** 0.5).astype(np.uint8)
    before = np.abs(pale.astype(int) - tile()).mean()
    after = np.abs(made(STAINED, pale).astype(int) - made(STAINED, tile())).mean()
    assert before > 20
    assert after < before / 5


def test_a_tile_that_is_hardly_stained_stays() -> None:
    bare = np.full((32, 32, 3), 245, np.uint8)
    bare[0, :3] = 90
    np.testing.assert_array_equal(made(STAINED, bare), bare)


@pytest.mark.parametrize("pen", [(30, 130, 70), (30, 60, 150), (25, 25, 30), (215, 30, 40)])
def test_a_stroke_of_a_pen_is_taken_off_and_tissue_stays(pen: tuple[int, int, int]) -> None:
    tissue = np.full((64, 64, 3), (214, 150, 200), np.uint8)
    marked = tissue.copy()
    marked[20:30] = pen
    found = made("medssl:RemovePenMarksd", marked)
    assert (found[20:30] == 240).all()
    assert (found[[*range(17), *range(33, 64)]] == tissue[0, 0]).all()
    np.testing.assert_array_equal(made("medssl:RemovePenMarksd", tile()), tile())


@pytest.mark.parametrize("name", ["NormalizeStaind", "RemovePenMarksd"])
def test_a_transform_of_ours_serves_anyones_compose(name: str) -> None:
    from monai.data import MetaTensor
    from monai.transforms import Compose

    import medssl.transforms as ours

    image = MetaTensor(torch.from_numpy(tile().transpose(2, 0, 1).copy()))
    found = Compose([getattr(ours, name)("x")])({"x": image})["x"]
    assert isinstance(found, MetaTensor)
    wanted = made([f"medssl:{name}"], tile())
    np.testing.assert_array_equal(found.numpy().transpose(1, 2, 0), wanted)
    np.testing.assert_array_equal(image.numpy().transpose(1, 2, 0), tile())


def test_transforms_of_monai_see_rows_and_columns_of_a_tile() -> None:
    np.testing.assert_array_equal(made({"Flipd": {"spatial_axis": 0}}, tile()), tile()[::-1])
    darker = made({"ShiftIntensityd": {"offset": -0.0}}, tile())
    np.testing.assert_array_equal(darker, tile())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Resized": {"spatial_size": [16, 16]}},
         "Resized changes the size or the channels of tiles; 3x32x32 becomes 3x16x16"),
        ({"Spacingd": {"pixdim": [1, 1]}}, "Spacingd changes the size"),
        ({"RepeatChanneld": {"repeats": 2}}, "changes the size or the channels"),
        ("NormalizeIntensityd", "of a tile of a trial slide; .* encoders scale tiles themselves"),
        ({"ScaleIntensityd": {"minv": 0, "maxv": 1}}, "makes values from 0 to 1"),
        ({"ScaleIntensityRanged": {"a_min": 0, "a_max": 1e-45, "b_min": 0, "b_max": 1}},
         "makes values of a trial slide that are not finite"),
        ({"medssl:NormalizeStaind": {"stained": 0}}, "cannot be made of"),
    ],
)  # fmt: skip
def test_a_chain_that_makes_no_tile_is_told_before_slides_are_read(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_tiles(TilePreprocess.of(given), TILES)


def test_what_is_encoded_once_does_not_draw() -> None:
    chain = TilePreprocess.of([{"RandGaussianNoised": {"prob": 1}}])
    with pytest.raises(UsageError, match="RandGaussianNoised of preprocess draws at random"):
        chain.must_not_draw("tiles are encoded once")
    TilePreprocess.of("slide").must_not_draw("tiles are encoded once")
