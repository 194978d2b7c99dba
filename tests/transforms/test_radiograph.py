"""Chains of radiographs: Semixup's geometry, the crops of before there were chains, faults told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medssl.data.layouts import find_cases
from medssl.data.radiograph.cache import cached_crops, read_case
from medssl.data.radiograph.image import Radiograph
from medssl.data.spec import Case, load_spec
from medssl.errors import DataError, UsageError
from medssl.transforms.crops import picture_after
from medssl.transforms.radiograph import percentiles
from medssl.transforms.radiograph_chain import RadiographPreprocess, from_crop
from tests.data.conftest import crops_of

PAPER = {"joint": {"percentiles": (0, 100)}}
KNEE = {
    "joint": {
        "field": None,
        "grid": 128,
        "rows": (42, 98),
        "columns": 56,
        "side": 56,
        "percentiles": (0, 100),
        "mirror": "none",
    }
}
STRETCH = "medssl:StretchPercentilesd"
CROP = {"medssl:SquareCropd": {"field": None, "side": 16}}
SMALL = {"radiograph": {"field": None, "side": 16}}


def names(given: Any) -> list[str]:
    return [step.name for step in RadiographPreprocess.of(given).steps]


def picture(rows: int = 30, columns: int = 20, **known: Any) -> Radiograph:
    pixels = np.random.default_rng(0).integers(0, 4096, (rows, columns)).astype(np.float32)
    return Radiograph("a.png", pixels, **known)


def test_a_word_stands_for_steps_of_ours() -> None:
    assert RadiographPreprocess.of("joint").plain == [
        {"medssl:StretchPercentilesd": {"percentiles": [5.0, 99.0]}},
        {"medssl:MirrorSided": {"side": "left"}},
        {"medssl:JointCropsd": {
            "field": 110.0, "grid": 300, "rows": [100, 228], "columns": 128, "side": 128}},
    ]  # fmt: skip
    assert names("radiograph") == ["medssl:StretchPercentilesd", "medssl:SquareCropd"]
    assert names({"radiograph": {"mirror": "right"}})[1] == "medssl:MirrorSided"
    assert names({"joint": {"mirror": "none"}}) == [STRETCH, "medssl:JointCropsd"]


def ramp(axis: int, side: int = 700) -> np.ndarray:
    """[side, side] whose value is the row, or the column, of the pixel."""
    return np.indices((side, side))[axis].astype(np.float32)


def mean_of_ramp(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean over [low, high) of the function that is k from k to k + 1."""

    def area(x: np.ndarray) -> np.ndarray:
        k = np.floor(x)
        return k * (k - 1) / 2 + (x - k) * k

    return (area(high) - area(low)) / (high - low)


def test_check_11_the_papers_crops_lie_where_the_sheet_says() -> None:
    # 140 mm at 0.2 mm; the middle 110 mm begin at pixel 75; 300 pixels of 550 / 300 each.
    edges = 75 + np.arange(301) * 550 / 300
    values = mean_of_ramp(edges[:-1], edges[1:]) * 255 / 699
    across = crops_of(Radiograph("", ramp(1), (0.2, 0.2), "R"), PAPER)
    assert across.shape == (2, 128, 128)
    np.testing.assert_allclose(across[0, 0], values[:128], atol=0.51)
    np.testing.assert_allclose(across[1, 0], values[172:][::-1], atol=0.51)
    down = crops_of(Radiograph("", ramp(0), (0.2, 0.2), "R"), PAPER)
    for crop in down:
        np.testing.assert_allclose(crop[:, 0], values[100:228], atol=0.51)


def test_mm_count_whatever_the_pixels_are() -> None:
    fine = crops_of(Radiograph("", ramp(1), (0.2, 0.2), "R"), PAPER).astype(int)
    coarse = crops_of(Radiograph("", ramp(1, 350)[::2], (0.8, 0.4), "R"), PAPER).astype(int)
    assert np.abs(fine - coarse).max() <= 2


def test_check_11_a_left_knee_and_its_mirror_image_called_right_give_the_same() -> None:
    pixels = np.random.default_rng(0).normal(size=(90, 70)).astype(np.float32)
    left = crops_of(Radiograph("", pixels, (2, 2), "L"), PAPER)
    right = crops_of(Radiograph("", pixels[:, ::-1], (2, 2), "R"), PAPER)
    np.testing.assert_array_equal(left, right)
    unturned = {"joint": {"percentiles": (0, 100), "mirror": "none"}}
    assert (crops_of(Radiograph("", pixels, (2, 2), "L"), unturned) != left).any()


def test_a_grid_that_is_the_images_own_cuts_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = 0, 255
    lateral, medial = crops_of(Radiograph("", pixels), KNEE)
    np.testing.assert_array_equal(lateral, pixels[42:98, :56])
    np.testing.assert_array_equal(medial, pixels[42:98, 72:][:, ::-1])


def test_the_whole_image_is_shown_in_a_square_with_black_beside_it() -> None:
    pixels = np.full((4, 8), 200, np.float32)
    pixels[0, 0] = 0
    whole = {"radiograph": {"field": None, "side": 8, "percentiles": (0, 100)}}
    (crop,) = crops_of(Radiograph("", pixels), whole)
    np.testing.assert_array_equal(crop[2:6], np.where(pixels == 200, 255, 0))
    assert not crop[:2].any()
    assert not crop[6:].any()


def stretched(pixels: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    from medssl.transforms import StretchPercentilesd
    from medssl.transforms.radiograph_reader import as_radiograph_tensor

    image = as_radiograph_tensor(Radiograph("a.png", pixels))
    return StretchPercentilesd("image", percentiles)({"image": image})["image"].numpy()[0]


def test_percentiles_become_black_and_white() -> None:
    found = stretched(np.arange(101, dtype=np.float32).reshape(1, 101), (5, 99))
    assert (found[0, :6] == 0).all()
    assert (found[0, 99:] == 255).all()
    np.testing.assert_allclose(found[0, 52], (52 - 5) / 94 * 255, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("wanted", [(5.0, 99.0), (0.0, 100.0), (0.5, 99.5), (60.0, 70.0)])
def test_percentiles_of_a_large_image_are_those_of_numpy(kind, wanted) -> None:
    rng = np.random.default_rng(0)
    noise = rng.gamma(4, 20, (1, 500, 700)).astype(kind)
    sparse = np.zeros_like(noise)
    sparse[0, :3] = 7
    rising = np.sort(noise.ravel()).reshape(noise.shape)
    for pixels in (noise, sparse, rising):
        np.testing.assert_allclose(percentiles(pixels, wanted), np.percentile(pixels, wanted))


def test_percentiles_are_stretched_as_monai_does_it() -> None:
    from monai.transforms import ScaleIntensityRangePercentiles

    pixels = picture().pixels
    theirs = ScaleIntensityRangePercentiles(5, 99, 0, 255, clip=True)(pixels[None])[0]
    np.testing.assert_allclose(stretched(pixels, (5, 99)), theirs, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Radiograph("a.png", np.eye(9, dtype=np.float32), (1, 1)), "left or the right side"),
        (Radiograph("a.png", np.eye(9, dtype=np.float32), None, "L"), "pixel spacing"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(image: Radiograph, message: str) -> None:
    with pytest.raises(DataError, match=f"a.png does not say .*{message}"):
        crops_of(image, PAPER)


def test_an_image_that_shows_nothing_is_refused() -> None:
    pixels = np.zeros((20, 20), np.float32)
    pixels[0, 0] = 1
    with pytest.raises(DataError, match="shows nothing"):
        stretched(pixels, (5, 99))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"joint": {"rows": (10, 400)}}, "outside a grid"),
        ({"joint": {"rows": (20, 10)}}, "outside a grid"),
        ({"joint": {"percentiles": (99, 5)}}, "percentiles rise"),
        ({"radiograph": {"columns": 3}}, "unknown key 'radiograph.columns'"),
        ({"side": 64}, r"side is a key of joint, radiograph; write {joint: {side: ...}}"),
        ("mr", "no transform is called 'mr'"),
        ("RandFlipd", "RandFlipd moves voxels at random, .*; write it under augment"),
    ],
)
def test_chains_that_cannot_be_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RadiographPreprocess.of(given)


def test_the_section_crop_of_old_checkpoints_is_the_same_chain() -> None:
    kept = {"grid": 300, "rows": [100, 228], "columns": 128, "percentiles": [5, 99]}
    joint = {"mode": "joint", "field": None, "side": 48, "mirror": None, **kept}
    assert RadiographPreprocess.of(from_crop(joint)) == RadiographPreprocess.of(
        {"joint": {"field": None, "side": 48}}
    )
    whole = {"mode": "whole", "field": 40.0, "side": 64, "mirror": "right", **kept}
    assert RadiographPreprocess.of(from_crop(whole)) == RadiographPreprocess.of(
        {"radiograph": {"field": 40, "side": 64, "mirror": "right"}}
    )


def test_crops_are_those_of_before_there_were_chains() -> None:
    """Written down from the code that had no chains."""
    image = replace(picture(90, 70), spacing=(1.5, 2.0), side="L")
    lateral, medial = crops_of(image, {"joint": {"side": 8}})
    assert lateral[0].tolist() == [99, 139, 138, 114, 113, 133, 134, 130]
    assert lateral[7].tolist() == [84, 125, 124, 101, 47, 116, 110, 121]
    assert medial[0].tolist() == [117, 151, 112, 115, 155, 121, 111, 137]
    (whole,) = crops_of(image, {"radiograph": {"field": None, "side": 8}})
    assert whole[4].tolist() == [117, 127, 119, 118, 113, 120, 117, 110]


def test_real_knees_are_those_of_before_there_were_chains(shared_data: Path) -> None:
    """Sums and a pixel of each crop, written down from the code that had no chains."""
    cases = find_cases(load_spec("knee"))[:8]
    word = {"field": None, "grid": 128, "rows": (42, 98), "columns": 56, "side": 48}
    crops = np.stack([crops_of(read_case(case), {"joint": word}) for case in cases]).astype(int)
    assert crops.sum((2, 3)).tolist() == [
        *([370730, 316693], [350766, 264683], [348975, 283149], [293931, 286853]),
        *([273190, 256178], [302073, 328419], [337428, 322727], [295151, 277272]),
    ]
    assert crops[:, :, 24, 20].ravel().tolist() == [
        *(188, 188, 219, 153, 221, 178, 160, 211, 124, 165, 128, 196, 192, 186, 93, 79)
    ]
    chain = {"radiograph": {"field": None, "side": 64}}
    sums = [int(crops_of(read_case(case), chain).astype(int).sum()) for case in cases]
    assert sums == [650005, 562150, 597536, 524883, 504813, 558301, 632968, 562451]


def test_our_reader_and_steps_serve_anyones_compose(tmp_path: Path) -> None:
    from monai.transforms import Compose, LoadImaged

    from medssl.transforms import LoadRadiographd, RadiographReader, SquareCropd
    from medssl.transforms import StretchPercentilesd as Stretch

    pixels = np.random.default_rng(0).integers(0, 256, (30, 20)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = crops_of(Radiograph("", pixels.astype(np.float32)), SMALL)
    for load in (LoadImaged("x", reader=RadiographReader()), LoadRadiographd("x")):
        made = Compose([load, Stretch("x"), SquareCropd("x", None, 16)])({"x": tmp_path / "a.png"})
        assert made["x"].dtype == torch.uint8
        np.testing.assert_array_equal(made["x"].numpy(), expected)
    assert RadiographReader().verify_suffix(["a.png", "1.2.3"])
    assert not RadiographReader().verify_suffix("scan.nii.gz")


@pytest.mark.parametrize(
    "given",
    [
        [{"Flipd": {"spatial_axis": 0}}, SMALL],
        [STRETCH, {"Flipd": {"spatial_axis": 0}}, CROP],
        [SMALL, {"Flipd": {"spatial_axis": 0}}],
    ],
)  # fmt: skip
def test_transforms_of_monai_stand_before_between_and_after(given: Any) -> None:
    np.testing.assert_array_equal(
        crops_of(picture(), given)[0], crops_of(picture(), SMALL)[0, ::-1]
    )


def test_mm_are_those_of_the_pixels_that_transforms_of_monai_leave() -> None:
    """Resized to twice as many pixels of half the size, a field of 8 mm shows the same."""
    smooth = np.add.outer(np.arange(60.0), 2 * np.arange(40.0)).astype(np.float32)
    image = Radiograph("", smooth, (0.5, 0.5))
    crop = {"radiograph": {"field": 8, "side": 8, "percentiles": (0, 100)}}
    finer = {"Resized": {"spatial_size": [120, 80], "mode": "bilinear"}}
    plain, resized = crops_of(image, crop), crops_of(image, [finer, crop])
    assert np.abs(plain.astype(int) - resized).max() <= 2
    assert np.ptp(plain) > 50


def test_what_the_network_sees_is_known_from_the_chain() -> None:
    assert RadiographPreprocess.of("joint").picture == (("lateral", "medial"), 128)
    assert RadiographPreprocess.of(SMALL).picture == (("whole",), 16)
    chain = RadiographPreprocess.of([STRETCH, {"Resized": {"spatial_size": [24, 24]}}])
    assert chain.picture is None
    assert picture_after(chain) == (("whole",), 24)
    assert crops_of(picture(), chain).shape == (1, 24, 24)
    repeated = RadiographPreprocess.of([SMALL, {"RepeatChanneld": {"repeats": 3}}])
    assert picture_after(repeated) == (("crop 1", "crop 2", "crop 3"), 16)


FAULTS: list[tuple[Any, str]] = [
    ([STRETCH], "no square picture for the network; an image of 300 x 200 pixels becomes 1x300"),
    ([STRETCH, {"SpatialPadd": {"spatial_size": [300, 300]}}],
     "preprocess makes 1x400x300 of a.png; it makes 1x300x300 of other images"),
    ([{"Resized": {"spatial_size": [24, 24]}}, {"ScaleIntensityd": {"minv": 0, "maxv": 1}}],
     "makes values from 0 to 1 of a trial image; they are kept as whole numbers from 0 to 255"),
    ([{"Resized": {"spatial_size": [24, 24]}}], "of a trial image; they are kept as whole numbers"),
    (["SqueezeDimd"], "the transform SqueezeDimd makes something else of the image"),
    ([{"CopyItemsd": {"names": "raw"}}, {"SelectItemsd": {"keys": "raw"}}],
     "the transform SelectItemsd drops the image"),
    ([{"ScaleIntensityRanged": {"a_min": 0, "a_max": 1e-45, "b_min": 0, "b_max": 1}}, SMALL],
     "the transform ScaleIntensityRanged makes values of a.png that are not finite"),
    ([{"medssl:SquareCropd": {"field": None, "side": 0}}], "cannot be made of"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words"), FAULTS)
def test_a_faulty_chain_is_told_in_a_sentence(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        crops_of(picture(400, 250), given)


def test_a_transform_that_needs_mm_is_refused_where_the_file_has_none() -> None:
    chain = [{"Spacingd": {"pixdim": [1, 1]}}, SMALL]
    with pytest.raises(DataError, match=r"a.png does not say its pixel spacing; .*Spacingd asks"):
        crops_of(picture(), chain)
    assert crops_of(picture(spacing=(0.5, 0.5)), chain).shape == (1, 16, 16)


def test_a_chain_has_one_file_of_crops_however_it_is_given(tmp_path: Path) -> None:
    Image.fromarray(picture().pixels.astype(np.uint8)).save(tmp_path / "a.png")
    known = {"side": "R", "spacing": None}
    case = Case("a", "a", {"radiograph": tmp_path / "a.png"}, extra=known)

    def crops(chain: Any) -> np.ndarray:
        return np.array(cached_crops([case], RadiographPreprocess.of(chain), tmp_path / "kept"))

    first = crops(SMALL)
    np.testing.assert_array_equal(first, crops_of(read_case(case), SMALL)[None])
    np.testing.assert_array_equal(crops(RadiographPreprocess.of(SMALL).plain), first)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    np.testing.assert_array_equal(crops([SMALL, {"Flipd": {"spatial_axis": 0}}]), first[:, :, ::-1])
    assert len(list((tmp_path / "kept").iterdir())) == 2
