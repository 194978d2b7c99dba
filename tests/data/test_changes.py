"""Random changes of items: what views share, how masks follow, who makes them, what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from medssl.data.changes import Box, Changes
from medssl.data.patches import OverlappingPatches, SinglePatch, overlap_boxes
from medssl.data.stream import PatchStream
from medssl.errors import UsageError
from medssl.registry import Registry
from medssl.transforms.chain import Augment
from medssl.transforms.moves import KNOWN
from medssl.transforms.reach import REACHES

PATCH = (10, 9, 8)
SURE = {
    "standard": {
        f"{name}_chance": 1
        for name in (
            *("rotation", "scaling", "noise", "blur", "brightness", "contrast"),
            *("low_resolution", "inverted_gamma", "gamma", "mirror"),
        )
    }
}
MOVES = {
    "RandFlipd": {"prob": 0.5, "spatial_axis": 0},
    "RandAxisFlipd": {"prob": 0.5},
    "RandRotate90d": {"prob": 0.5},
    "RandRotated": {"prob": 0.5, "range_x": 0.4, "range_y": 0.4, "range_z": 3},
    "RandZoomd": {"prob": 0.5, "min_zoom": 0.6, "max_zoom": 1.5},
    "RandAffined": {"prob": 0.5, "rotate_range": [0.5, 0.3, 1.0], "scale_range": [0.3, 0.3, 0.3]},
    "Rand3DElasticd": {"prob": 0.5, "sigma_range": [3, 4], "magnitude_range": [20, 40]},
    "RandGridDistortiond": {"prob": 0.5},
    "medssl:RandPosed": {},
    "medssl:RandRotateScaled": {"prob_rotation": 0.7, "prob_scaling": 0.7},
    "medssl:RandMirrord": {},
}


@dataclass
class Case:
    image: np.ndarray
    mask: np.ndarray | None
    id: str = "seven"
    floor: float = -9.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None


def noise(shape=(30, 26, 22)) -> Case:
    """A slope with a little noise, and a mask of its bright part."""
    x, y, z = np.indices(shape)
    slope = 0.5 + (x + 2 * y - z - 25) / 40
    image = (slope + np.random.default_rng(0).normal(0, 0.01, shape)).astype(np.float32)
    return Case(image[None], (image > 0.5).astype(np.uint8))


def stream(chain, kind="labelled", sampler=None, case=None, size=3, **more) -> PatchStream:
    sampler = sampler or OverlappingPatches(PATCH)
    return PatchStream(kind, [case or noise()], sampler, Augment.of(chain), size, 0, **more)


@dataclass(frozen=True)
class Middle:
    """One patch in the middle of a volume."""

    patch: tuple[int, int, int] = PATCH

    def draw(self, shape, rng, centre=None):
        return (tuple((have - want) // 2 for have, want in zip(shape, self.patch, strict=True)),)


def test_every_move_of_monai_that_keeps_the_size_is_tried_here() -> None:
    assert set(REACHES) == set(KNOWN)
    assert set(KNOWN) - {"Rand2DElasticd"} <= set(MOVES)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("place", [0, 1])
def test_views_show_the_same_where_they_overlap(name: str, place: int) -> None:
    """Also where a pose that is no longer free of cost comes second, and intensities between."""
    chain = [{"RandScaleIntensityd": {"factors": 0.3, "prob": 1}}] * place + [{name: MOVES[name]}]
    shared = 0
    for number in range(6):
        batch = stream(chain).batch(number)
        for (first, second), start in zip(batch.image, batch.start.tolist(), strict=True):
            boxes = overlap_boxes(*start, PATCH)
            if boxes is not None:
                here, there = (
                    view[(slice(None), *box)]
                    for view, box in zip((first, second), boxes, strict=True)
                )
                assert torch.equal(here, there)
                shared += here.numel()
    assert shared > 500


@pytest.mark.parametrize("name", MOVES)
def test_masks_move_with_images(name: str) -> None:
    batches = [stream([{name: MOVES[name]}]).batch(number) for number in range(4)]
    agreed = torch.cat([(batch.image[:, 0, 0] > 0.5) == (batch.truth == 1) for batch in batches])
    assert float(agreed.float().mean()) > 0.97
    still = [stream([]).batch(number) for number in range(4)]
    pairs = zip(batches, still, strict=True)
    assert not all(torch.equal(moved.image, one.image) for moved, one in pairs)


@pytest.mark.parametrize("name", sorted({*MOVES} - {"RandGridDistortiond"}))
@pytest.mark.parametrize("mirrored_after", [False, True])
def test_nothing_comes_from_outside_the_volume_where_it_is_far(name, mirrored_after) -> None:
    """The margin that a step asks for is enough, also for two in a row: all voxels stay 1."""
    args = dict(MOVES[name])
    if name in ("RandRotated", "RandAffined", "Rand3DElasticd"):
        args["padding_mode"] = "zeros"
    if name == "RandZoomd":
        args["padding_mode"] = "constant"
    chain = [{name: args}, *([{"medssl:RandRotateScaled": {"prob_rotation": 1}}] * mirrored_after)]
    ones = Case(np.ones((1, 70, 70, 70), np.float32), None)
    source = stream(chain, "unlabelled", Middle(), ones)
    for number in range(5):
        torch.testing.assert_close(
            source.batch(number).image, torch.ones(3, 1, 1, *PATCH), atol=1e-4, rtol=0
        )


def test_what_lies_outside_the_volume_is_its_floor() -> None:
    small = Case(np.ones((1, 8, 8, 8), np.float32), np.ones((8, 8, 8), np.uint8))
    batch = stream(
        [{"medssl:RandRotateScaled": {"prob_scaling": 1, "scaling": [1.4, 1.4]}}], case=small
    ).batch(0)
    assert float(batch.image.min()) == -9
    assert torch.equal(batch.truth == 1, batch.image[:, 0, 0] > -4)


def test_a_move_that_is_not_drawn_needs_no_margin() -> None:
    for name, chance in (("RandAffined", "prob"), ("medssl:RandRotateScaled", "prob_rotation")):
        chain = {
            name: {
                chance: 0.3,
                **({"rotate_range": 0.5} if chance == "prob" else {"prob_scaling": 0}),
            }
        }
        changes = Changes(Augment.of(chain), PATCH)
        sizes = [changes.sizes(changes.seeds(seed), PATCH, False)[0] for seed in range(100)]
        assert 50 < sum(size == PATCH for size in sizes) < 90


def test_all_views_of_an_item_share_their_amounts() -> None:
    batch = stream([{"RandScaleIntensityd": {"factors": 0.5, "prob": 1}}]).batch(0)
    plain = stream([]).batch(0)
    factors = (batch.image / plain.image).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert len(factors[:, 0].unique()) == 3


def test_a_view_that_is_written_to_leaves_the_others_alone(monkeypatch) -> None:
    offered(monkeypatch, "Writingd")

    class Twice(Middle):
        def draw(self, shape, rng, centre=None):
            return super().draw(shape, rng) * 2

    first, second = stream(["Writingd"], sampler=Twice()).batch(0).image.unbind(1)
    assert torch.equal(first, second)


def test_a_mask_is_read_only_where_labels_are() -> None:
    assert stream(SURE, "unlabelled", case=Case(noise().image, None)).batch(0).label is None


@pytest.mark.parametrize("chain", [SURE, [{name: args} for name, args in MOVES.items()]])
def test_what_is_made_on_the_device_is_what_the_cpu_makes(chain) -> None:
    """The same code on the same device gives the same bits, whoever makes it and when."""
    early = stream(chain)
    late = replace(early, on_device=True)
    for number in range(3):
        mine, boxes = early.batch(number), late.batch(number)
        assert boxes.ids == mine.ids
        assert boxes.damaged() == ()
        theirs = boxes.to(torch.device("cpu"))
        assert torch.equal(mine.image, theirs.image)
        assert torch.equal(mine.truth, theirs.truth)
        assert torch.equal(mine.start, theirs.start)


def test_images_are_kept_as_they_are_stored_until_they_are_on_the_device() -> None:
    case = Case(noise().image.astype(np.float16), noise().mask)
    boxes = stream(SURE, case=case, on_device=True).batch(0)
    assert {box.image.dtype for box in boxes.boxes} == {torch.float16}
    assert boxes.to(torch.device("cpu")).image.dtype == torch.float32


PLANAR = [
    {"Rand2DElasticd": {"prob": 1, "spacing": [6, 6], "magnitude_range": [1, 2]}},
    {"RandRotated": {"prob": 1, "range_x": 0.5}},
    {"RandZoomd": {"prob": 1, "min_zoom": 0.7}},
    {"RandAffined": {"prob": 1, "rotate_range": 0.5, "shear_range": [0.1, 0.1]}},
    {"RandGaussianSmoothd": {"prob": 1}},
    SURE,
]


@pytest.mark.parametrize("step", PLANAR, ids=lambda step: next(iter(step)))
def test_images_of_one_slice_are_planar_to_a_chain(step) -> None:
    changes = Changes(Augment.of([step]), (12, 10, 1))
    seeds = changes.seeds(0)
    sizes = changes.sizes(seeds, (12, 10, 1), True)
    assert {size[2] for size in sizes} == {1}
    plane = torch.rand(1, *sizes[0])
    mask = (plane > 0.5).to(torch.uint8)
    box = Box(plane, mask, sizes, ((0, 0, 0),), seeds, ((0, 0, 0),), "seven")
    image, label = changes.make(box)
    assert image.shape == (1, 1, 12, 10, 1)
    assert label.shape == (12, 10, 1)
    assert label.dtype == torch.uint8


@pytest.mark.parametrize(
    "step",
    [
        {"RandRotate90d": {"prob": 1, "spatial_axes": [0, 2]}},
        {"RandZoomd": {"prob": 1, "min_zoom": [0.7, 0.7, 0.7], "max_zoom": 1}},
        {"RandAffined": {"prob": 1, "rotate_range": "much"}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_arguments_for_other_axes_are_told_of_an_image_of_one_slice(step) -> None:
    def sizes():
        changes = Changes(Augment.of([step]), (12, 10, 1))
        return changes.sizes(changes.seeds(0), (12, 10, 1), True)

    with pytest.raises(UsageError, match=f"the transform {next(iter(step))} "):
        sizes()


def offered(monkeypatch, name: str) -> None:
    """A transform of tests/transforms/faulty.py as another package offers it."""
    found = Registry("", "transform", {name: f"tests.transforms.faulty:{name}"})
    for module in ("chain", "compose", "step"):
        monkeypatch.setattr(f"medssl.transforms.{module}.TRANSFORMS", found)


def test_a_transform_that_changes_the_number_of_channels_is_named() -> None:
    chain = [{"RepeatChanneld": {"repeats": 2}}]
    with pytest.raises(UsageError, match="changes the number of channels; 1 become 2"):
        stream(chain, sampler=SinglePatch(PATCH)).batch(0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dividedd", "makes values that are not finite"),
        ("Forgetfuld", "drops the image"),
        ("Failingd", "failed; KeyError: 'no such thing'"),
        ("Halvedd", "changes the size of patches; 10x9x8 becomes 5x9x8"),
    ],
)
@pytest.mark.parametrize("also_masks", [False, True])
def test_a_faulty_transform_and_the_case_are_named(monkeypatch, name, words, also_masks) -> None:
    offered(monkeypatch, name)
    step = {name: {"keys": ["image", "label"]}} if also_masks else name
    with pytest.raises(UsageError, match=f"case seven: the transform {name} {words}"):
        stream([step], sampler=SinglePatch(PATCH)).batch(0)


def test_a_case_that_is_not_finite_itself_is_no_transforms_fault() -> None:
    case = Case(np.full((1, 12, 12, 12), np.nan, np.float32), None)
    batch = stream(SURE, "unlabelled", case=case).batch(0)
    assert batch.damaged() == ("seven", "seven", "seven")


def test_arguments_that_a_transform_refuses_are_told_before_a_case_is_read() -> None:
    with pytest.raises(UsageError, match=r"RandBlurd cannot be made of .*sigma=\[2, 1\]"):
        Changes(Augment.of({"medssl:RandBlurd": {"sigma": [2, 1]}}), PATCH)
