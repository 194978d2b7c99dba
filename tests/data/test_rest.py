"""From its first random transform on a chain works for each item anew, and only in training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medssl.data.cache import CaseCache
from medssl.data.geometry import Geometry
from medssl.data.patches import SinglePatch
from medssl.data.prefetch import Prefetch
from medssl.data.radiograph.stream import RadiographStream
from medssl.data.rest import Rest
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.data.scan.stream import PairStream
from medssl.data.slide.tile_batch import TileStream
from medssl.data.spec import Case
from medssl.data.stream import PatchStream
from medssl.data.volume import Volume, write_mask, write_volume
from medssl.errors import UsageError
from medssl.transforms.chain import Augment, Preprocess
from medssl.transforms.compose import Preparation
from medssl.transforms.radiograph_chain import RadiographPreprocess
from medssl.transforms.tile_chain import TilePreprocess
from tests.data.conftest import declare
from tests.data.scan.test_stream import GROUPS, STILL
from tests.data.slide.test_tile_batch import SLIDES
from tests.data.test_stream import PATCH, cases, ids

BRIGHT = {"RandScaleIntensityd": {"prob": 1, "factors": 0.5}}
NOISE = {"RandGaussianNoised": {"prob": 1, "std": 0.1}}
SCORED = {"NormalizeIntensityd": {"channel_wise": True}}


def batches(rest: Rest, seed: int = 0, of: Any = None) -> PatchStream:
    how = (SinglePatch(PATCH), Augment.of("basic"), 2, seed)
    return PatchStream("labelled", of or cases(4), *how, rest=rest)


def test_a_chain_is_kept_up_to_its_first_random_step() -> None:
    chain = Preprocess.of(["mr", BRIGHT, SCORED])
    assert chain.kept == Preprocess.of("mr")
    assert [step.name for step in chain.rest] == ["RandScaleIntensityd", "NormalizeIntensityd"]
    assert chain.certain == Preprocess.of(["mr", SCORED])
    without = Preprocess.of("mr")
    assert without.kept is without.certain is without
    assert without.rest == ()
    assert not chain.unlike(chain.certain)


@pytest.mark.parametrize("kind", [Preprocess, TilePreprocess])
def test_voxels_do_not_move_once_a_step_has_drawn(kind: type[Preprocess]) -> None:
    with pytest.raises(ValueError, match=r"RandFlipd moves voxels at random, .* under augment"):
        kind.of(["RandFlipd"])
    late = [NOISE, {"Orientationd": {"axcodes": "RAS"}}]
    with pytest.raises(ValueError, match="Orientationd moves voxels after RandGaussianNoised"):
        kind.of(late)
    with pytest.raises(ValueError, match=r"MirrorSided moves voxels after .*; write it before"):
        RadiographPreprocess.of([NOISE, "joint"])


def test_the_rest_acts_on_the_whole_case_before_a_patch_is_cut() -> None:
    """A z-score forgets the factor that was drawn before it: patches are of the z-scored case."""
    scored = cases(4)
    for case in scored:
        case.image = (case.image - case.image.mean()) / case.image.std()
    found = batches(Rest(Preprocess.of([BRIGHT, SCORED]).rest))
    wanted = batches(Rest(), of=scored)
    assert ids(found, 3) == ids(wanted, 3)
    for number in range(3):
        one, other = found.batch(number), wanted.batch(number)
        torch.testing.assert_close(one.image, other.image, atol=1e-5, rtol=0)
        assert torch.equal(one.label, other.label)


def test_an_item_is_drawn_by_its_number_whoever_draws_it() -> None:
    rest = Rest(Preprocess.of([NOISE, BRIGHT]).rest)
    wanted = [batches(rest).batch(number).image for number in range(6)]
    assert not torch.equal(wanted[0], wanted[2])
    assert not torch.equal(wanted[0], batches(rest, seed=1).batch(0).image)
    for first, workers in ((0, 3), (2, 0)):  # in threads, and as a run that goes on from there
        feed = Prefetch({"labelled": batches(Rest(rest.steps))}, first, workers)
        for number in range(first, 6):
            assert torch.equal(feed.take()["labelled"].image, wanted[number])
        feed.close()


def test_items_of_one_case_differ_in_what_is_drawn() -> None:
    rest, image = Rest(Preprocess.of([NOISE]).rest), np.zeros((1, 8, 8, 8), np.float16)
    one, other = rest(image, "a", 0, 1), rest(image, "a", 0, 2)
    assert one.dtype == np.float32
    assert 0 < np.std(one) <= 0.11
    assert not np.array_equal(one, other)
    assert not image.any()


def test_what_draws_is_left_out_of_what_prediction_sees() -> None:
    rng = np.random.default_rng(0)
    volume = Volume(rng.random((1, 6, 6, 6)).astype(np.float32), Geometry((6, 6, 6), np.eye(4)), "")
    seen = Preparation(Preprocess.of([NOISE, SCORED]))(volume).image
    np.testing.assert_array_equal(seen, Preparation(Preprocess.of([SCORED]))(volume).image)
    assert seen.mean() == pytest.approx(0, abs=1e-5)


def test_the_cache_is_shared_with_the_chain_that_does_not_draw(tmp_path: Path) -> None:
    shape = (6, 6, 6)
    rng, grid = np.random.default_rng(0), Geometry(shape, np.eye(4))
    scan, label = tmp_path / "a.nii.gz", tmp_path / "a_seg.nii.gz"
    write_volume(rng.random(shape), grid, scan)
    write_mask(rng.random(shape) > 0.5, grid, label)
    case = Case("a", "a", {"T1": scan}, label)
    spec = declare(Path("toy"), channels=["T1"], labels=[{"value": 1, "name": "part"}])
    drawing = Preprocess.of(["mr", BRIGHT])
    folders = {
        CaseCache(tmp_path / "cache", spec, chain).open(case).folder
        for chain in (drawing.kept, drawing.certain, Preprocess.of("mr"))
    }
    assert len(folders) == 1


def test_crops_of_a_radiograph_stay_bytes_and_are_drawn_by_number() -> None:
    crops = np.full((3, 2, 8, 8), 250, np.uint8)
    noise = {"RandGaussianNoised": {"prob": 1, "std": 20, "sample_std": False}}
    rest = Rest(RadiographPreprocess.of(["joint", noise]).rest)
    stream = RadiographStream("unlabelled", crops, {0: "a", 2: "b"}, None, 2, 0, rest)
    batch = stream.batch(3).image
    assert batch.dtype == torch.uint8
    assert int(batch.max()) == 255  # clipped, not wrapped
    assert int(batch.min()) < 240
    assert torch.equal(batch, stream.batch(3).image)
    assert not torch.equal(batch, stream.batch(4).image)
    assert (crops == 250).all()


def test_tiles_are_drawn_by_number_with_their_colours_first() -> None:
    rest = Rest(TilePreprocess.of([{"RandScaleIntensityd": {"prob": 1, "factors": 0.5}}]).rest)
    still, stream = TileStream(SLIDES, 3, seed=0), TileStream(SLIDES, 3, seed=0, rest=rest)
    one, other = stream.batch(1), still.batch(1)
    assert one.ids == other.ids
    factors = one.image[:, 2, 0, 0].float() / other.image[:, 2, 0, 0].float()
    assert 0.45 < float(factors.min()) < float(factors.max()) < 1.55
    assert torch.equal(one.image, stream.batch(1).image)


def test_windows_of_scans_are_cut_from_what_was_drawn() -> None:
    settings, rest = PairSettings(kind="same_scan"), Rest(Preprocess.of([NOISE]).rest)
    stream = PairStream(GROUPS, settings, STILL, (9, 8, 7), 2, 0, rest)
    windows = stream.batch(0).windows()
    assert torch.equal(windows[:, 0], windows[:, 1])  # one scan twice is drawn once
    still = PairStream(GROUPS, settings, AffineSettings(rotation=0, scale=0, shear=0), PATCH, 2, 0)
    assert stream.batch(0).ids == still.batch(0).ids
    assert torch.equal(windows, stream.batch(0).windows())
    assert not torch.equal(windows, stream.batch(7).windows())


def test_what_a_step_makes_of_a_case_is_told_with_both_names() -> None:
    ruined = {"RandScaleIntensityd": {"prob": 1, "factors": [1e38, 1e38]}}
    rest = Rest(Preprocess.of([ruined]).rest)
    with pytest.raises(
        UsageError, match=r"case a: the transform RandScaleIntensityd .* not finite"
    ):
        rest(np.full((1, 4, 4, 4), 1e3, np.float32), "a", 0)
