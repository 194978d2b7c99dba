"""Masks of which parts are ignored, from file to batch (sheet of partial labels, 1 and 8)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medssl.data.cache import CaseCache
from medssl.data.check import check
from medssl.data.foreground import find_class_voxels, where_known
from medssl.data.guess import guess_spec
from medssl.data.labels import IGNORED
from medssl.data.layouts import find_cases
from medssl.data.patches import SinglePatch
from medssl.data.stream import PatchStream
from medssl.data.volume import write_mask
from medssl.transforms.chain import Augment, Preprocess
from medssl.transforms.random_spatial import RandRotateScaled
from tests.data.conftest import GRID, declare, mask

PATCH = (6, 6, 6)
SHAPE = (20, 22, 18)
PLAIN = Preprocess.of({"mr": {"spacing": None}})


@dataclass
class Case:
    """Its image is 1 where its mask is known, and at least that much where a class is."""

    id: str
    mask: np.ndarray
    floor: float = -1.0
    partial: bool = True
    outlined: tuple[bool, ...] | None = None

    @property
    def image(self) -> np.ndarray:
        return np.where(self.mask == IGNORED, 0, self.mask + 1)[None].astype(np.float32)

    @property
    def class_voxels(self) -> np.ndarray:
        return find_class_voxels(self.mask)


def one_slice(at: int) -> Case:
    """A single known slice, with a class in it."""
    array = np.full(SHAPE, IGNORED, np.uint8)
    array[:, :, at] = 0
    array[8:12, 9:14, at] = 1
    return Case(f"slice{at}", array)


def stream(cases: list[Case], *chain: object, share: float = 0.0) -> PatchStream:
    changes = Augment.of(list(chain) or {"basic": {}})
    return PatchStream("labelled", cases, SinglePatch(PATCH), changes, 2, 0, foreground=share)


def test_a_data_spec_says_which_value_is_ignored(tmp_path: Path) -> None:
    assert declare(tmp_path).mask_values == (0, 1, 2)
    assert declare(tmp_path, ignore=9).mask_values == (0, 1, 2, 9)
    with pytest.raises(ValidationError, match="ignore=2 is the value of a label"):
        declare(tmp_path, ignore=2)


def test_an_nnunet_listing_names_the_ignored_value(tmp_path: Path) -> None:
    listing = '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "ignore": 2}}'
    (tmp_path / "dataset.json").write_text(listing)
    spec = guess_spec(tmp_path)
    assert (spec.label_values, spec.ignore) == ((0, 1), 2)


def test_a_cached_case_knows_what_is_ignored_and_is_another_without(toy: Path) -> None:
    array = mask(1, 2)
    array[:, :3] = 7
    write_mask(array, GRID, toy / "labelsTr" / "a.nii.gz")
    spec = declare(toy, ignore=7)
    (case,) = [one for one in find_cases(spec) if one.id == "a"]
    cached = CaseCache(toy / "cache", spec, PLAIN).open(case)
    assert cached.partial
    assert cached.marked
    np.testing.assert_array_equal(cached.mask == IGNORED, array == 7)
    other = declare(toy, labels=[{"value": value, "name": str(value)} for value in (1, 2, 7)])
    assert not CaseCache(toy / "cache", other, PLAIN).open(case).partial


def write(root: Path, array: np.ndarray) -> None:
    write_mask(array, GRID, root / "labelsTr" / "a.nii.gz")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda array: np.full_like(array, 7), "the value 7 in every voxel, which is ignored"),
        (lambda array: np.where(array > 0, 7, 0).astype(np.uint8), "marks no voxel"),
        (lambda array: np.where(array > 0, 8, 0).astype(np.uint8), "holds 8 where only 0, 1, 2, 7"),
    ],
    ids=["all ignored", "no class", "undeclared"],
)
def test_the_check_tells_ignored_from_background(
    toy: Path, value: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    write(toy, value(mask(1, 2)))
    (found,) = [one for one in check(declare(toy, ignore=7)) if one.level == "error"]
    assert words in found.what


def test_a_partial_mask_passes_the_check(toy: Path) -> None:
    array = mask(1, 2)
    array[:, :3] = 7
    write(toy, array)
    assert not [one for one in check(declare(toy, ignore=7)) if one.level == "error"]


def test_the_known_voxels_of_a_partial_mask_are_found_with_its_classes() -> None:
    found = find_class_voxels(one_slice(5).mask)
    known = found[found[:, 0] == IGNORED]
    assert len(known) == SHAPE[0] * SHAPE[1]
    assert set(known[:, 3]) == {5}
    assert (found[:, 0] == 1).sum() == 4 * 5
    assert set(np.unique(found[:, 0])) == {1, IGNORED}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_every_patch_of_a_partial_mask_shows_a_known_voxel(share: float) -> None:
    """Drawn anywhere, two of three patches of this size would miss the one slice."""
    source = stream([one_slice(2), one_slice(15)], share=share)
    for number in range(20):
        batch = source.batch(number)
        assert batch.known is not None
        assert batch.known.flatten(1).any(1).all()


def test_truth_is_class_indices_and_known_says_where_they_count() -> None:
    batch = stream([one_slice(2), one_slice(15)]).batch(0)
    assert batch.known is not None
    assert int(batch.truth.max()) <= 1
    assert not batch.truth[~batch.known].any()
    shown = batch.image[:, 0, 0]
    np.testing.assert_array_equal(shown > 0.5, batch.known)
    np.testing.assert_array_equal(shown[batch.known], batch.truth[batch.known] + 1)


def test_beyond_the_volume_nothing_is_known() -> None:
    thin = Case("thin", np.full((4, 8, 8), 1, np.uint8))
    thin.mask[0] = IGNORED
    batch = stream([thin]).batch(0)
    assert batch.known is not None
    inside = batch.image[:, 0, 0] >= 0
    assert not inside.all()
    assert not batch.known[~inside].any()


def test_whole_masks_are_batched_as_ever() -> None:
    whole = Case("whole", (one_slice(5).mask % IGNORED), partial=False)
    batch = stream([whole]).batch(0)
    assert batch.known is None


def turned(mask: torch.Tensor, seed: int) -> torch.Tensor:
    """A mask [1, X, Y, Z] after a drawn rotation and scaling, its middle 8^3 voxels."""
    change = RandRotateScaled(["label"], prob_rotation=1.0, prob_scaling=1.0)
    change.set_random_state(seed=seed)
    change.randomize((8, 8, 8))
    return change.apply({"label": mask}, (8, 8, 8))["label"]


@pytest.mark.parametrize("seed", range(4))
def test_a_rotation_takes_the_nearest_voxel_so_that_single_slices_stay(seed: int) -> None:
    """No class comes of ignored voxels, nor the other way round."""
    places = torch.arange(14**3).reshape(1, 14, 14, 14)
    truth = (places % 3).to(torch.uint8)
    one_slice = torch.full_like(truth, IGNORED)
    one_slice[:, 7] = truth[:, 7]
    found = turned(one_slice, seed)
    known = found != IGNORED
    assert 20 < int(known.sum()) < 200, "about a slice of 8 x 8 voxels"
    # Voxel by voxel what stands at the nearest one, by where each comes from along each axis.
    codes = [
        turned((places // 14**k % 14).to(torch.uint8).masked_fill(places < 1, IGNORED), seed)
        for k in range(3)
    ]
    z, y, x = (one.long() for one in codes)
    inside = known & (codes[0] != IGNORED) & (codes[1] != IGNORED) & (codes[2] != IGNORED)
    expected = truth[0][x.clamp(max=13), y.clamp(max=13), z.clamp(max=13)]
    assert torch.equal(found[inside], expected[inside])
    assert bool((x[inside] == 7).all())


def test_beyond_a_partial_mask_all_is_ignored() -> None:
    mask = torch.zeros(1, 6, 6, 6, dtype=torch.uint8)
    mask[0, 3, 3, 3] = IGNORED
    change = RandRotateScaled(["label"], prob_rotation=0.0, prob_scaling=1.0, scaling=(1.4, 1.4))
    change.set_random_state(seed=0)
    change.randomize((8, 8, 8))
    found = change.apply({"label": mask}, (8, 8, 8))["label"]
    assert bool((found[:, 0] == IGNORED).all())
    assert bool((found == 0).any())


def test_scores_look_at_known_voxels_alone() -> None:
    truth = np.array([[[0, 1, IGNORED, IGNORED, 2]]], np.uint8)
    predicted = np.array([[[0, 1, 1, 0, 1]]], np.uint8)
    found = where_known(predicted, truth)
    np.testing.assert_array_equal(found[0], [[[0, 1, 0, 0, 1]]])
    np.testing.assert_array_equal(found[1], [[[0, 1, 0, 0, 2]]])


def test_a_data_spec_says_which_labels_a_case_outlines(tmp_path: Path) -> None:
    spec = declare(tmp_path, outlined={"^b_": ["two"], "^c_": []})
    found = [spec.outlined_in(name) for name in ("a_1", "b_1", "c_1")]
    assert found == [None, (True, False, True), (True, False, False)]
    with pytest.raises(ValidationError, match="outlined names 'three', which is no label"):
        declare(tmp_path, outlined={"^b_": ["three"]})
    with pytest.raises(ValidationError, match=r"'\(b' under outlined is wrong"):
        declare(tmp_path, outlined={"(b": ["two"]})


def test_batches_say_which_classes_are_outlined() -> None:
    one, other = one_slice(2), one_slice(15)
    one.outlined = (True, False)
    source = stream([one, other])
    batch = source.batch(0)
    expected = [[True, name == "slice15"] for name in batch.ids]
    assert batch.outlined is not None
    assert batch.outlined.tolist() == expected
    assert batch.rows([1]).outlined is not None
    other.outlined = one.outlined = None
    assert source.batch(0).outlined is None
