"""What `augment` takes: words, the chains they stand for, what patches allow, what it mirrors."""

import math
import subprocess
import sys

import pytest

from medssl.registry import Registry
from medssl.transforms.chain import Augment
from medssl.transforms.reach import needed
from medssl.transforms.step import Step


def test_basic_does_what_is_asked_for_and_nothing_else() -> None:
    assert Augment.of("basic").plain == []
    keys = {
        "rot90": True,
        "flip": "half",
        "gamma": 0.3,
        "brightness": 0.1,
        "noise": 0.05,
        "clip": [0, 1],
    }
    assert Augment.of({"basic": keys}).plain == [
        {"medssl:RandPosed": {"turns": True, "flip": "half", "axes": [0, 1]}},
        {"medssl:RandGammaRangePreservingd": {"prob": 1, "log_gamma": 0.3}},
        {"RandScaleIntensityd": {"prob": 1, "factors": 0.1}},
        {"RandGaussianNoised": {"prob": 1, "std": 0.05, "sample_std": False}},
        {"ThresholdIntensityd": {"threshold": 0.0, "above": True, "cval": 0.0}},
        {"ThresholdIntensityd": {"threshold": 1.0, "above": False, "cval": 1.0}},
    ]


def test_standard_is_the_list_of_nnu_net_in_its_order_with_its_chances() -> None:
    spread = {"prob": 0.15, "factor": [0.75, 1.25]}
    gamma = {"gamma": [0.7, 1.5], "retain_stats": True, "channel_wise": True}
    turned = {"prob_rotation": 0.2, "rotation": 30, "prob_scaling": 0.2, "scaling": [0.7, 1.4]}
    assert Augment.of("standard").plain == [
        {"medssl:RandRotateScaled": turned},
        {"RandGaussianNoised": {"prob": 0.1, "std": 0.1}},  # MONAI draws the deviation from 0 on
        {"medssl:RandBlurd": {"prob": 0.2, "channel_prob": 0.5, "sigma": [0.5, 1.0]}},
        {"medssl:RandBrightnessd": spread},
        {"medssl:RandContrastd": spread},
        {"medssl:RandLowResolutiond": {"prob": 0.25, "channel_prob": 0.5, "zoom": [0.5, 1.0]}},
        {"medssl:RandGammaRangePreservingd": {"prob": 0.1, "invert": True, **gamma}},
        {"medssl:RandGammaRangePreservingd": {"prob": 0.3, **gamma}},
        {"medssl:RandMirrord": {"prob": 0.5, "axes": [0, 1, 2]}},
    ]


def test_a_chance_of_0_leaves_a_step_out() -> None:
    names = [
        step.name for step in Augment.of({"standard": {"mirror_axes": [], "noise_chance": 0}}).steps
    ]
    assert "medssl:RandMirrord" not in names
    assert "RandGaussianNoised" not in names
    assert len(names) == 7


@pytest.mark.parametrize(
    ("chain", "axes"),
    [
        ([], ()),
        ("standard", (0, 1, 2)),
        ({"standard": {"mirror_axes": [1, 2]}}, (1, 2)),
        ({"standard": {"mirror_chance": 0}}, ()),
        ([{"RandFlipd": {"spatial_axis": 2}}], (2,)),
        ([{"RandFlipd": {"spatial_axis": -1}}], (2,)),
        ([{"RandFlipd": {"spatial_axis": 2, "prob": 0}}], ()),
        ([{"RandFlipd": {"spatial_axis": [0, 1]}}], ()),  # a half turn
        ([{"RandFlipd": {"spatial_axis": [0, 1]}}, {"RandFlipd": {"spatial_axis": 0}}], (0, 1)),
        (["RandFlipd"], ()),  # all three axes at once
        (["RandAxisFlipd"], (0, 1, 2)),
        (["RandRotate90d", {"RandFlipd": {"spatial_axis": 0}}], (0, 1)),
        ([{"RandRotate90d": {"max_k": 1}}, {"RandFlipd": {"spatial_axis": 0}}], (0,)),
        (["medssl:RandPosed"], (0, 1)),
        ([{"medssl:RandPosed": {"flip": "none"}}], ()),
        ([{"RandAffined": {"rotate_range": 3.2}}], ()),
    ],
)
def test_mirror_images_come_of_flips_and_half_turns(chain, axes) -> None:
    assert Augment.of(chain).mirrored == axes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("standrad", "no transform is called 'standrad'; did you mean 'standard'"),
        ("RandFlip", "did you mean 'RandFlipd'"),
        ({"RandAffined": {"rotate": 1}}, "no argument 'rotate'; did you mean 'rotate_range'"),
        ({"flip": "half"}, "flip is a key of basic; write {basic: {flip: ...}}"),
        ({"mirror_axes": [0]}, "mirror_axes is a key of standard; write {standard: {mirror_axes"),
        ({"RandAffined": {"keys": "image"}}, "moves voxels and leaves the label behind"),
        ({"RandAffined": {"keys": ["label"]}}, "moves voxels and leaves the image behind"),
        (
            {"RandAffined": {"spatial_size": 64}},
            "change the size of patches; leave spatial_size out",
        ),
        ({"RandRotated": {"keep_size": False}}, "change the size of patches; leave keep_size out"),
        ({"RandSpatialCropd": {"roi_size": 9}}, "in a way that is not known; train.patch sets"),
        ({"Spacingd": {"pixdim": 1}}, "changes each image in the same way; write it under preproc"),
        ({"Flipd": {"spatial_axis": 0}}, "changes each image in the same way; write it under"),
    ],
)
def test_what_patches_do_not_allow_is_refused_with_the_nearest_right_thing(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        Augment.of(given)


def test_what_changes_intensities_alone_may_stand_there_also_where_it_does_not_draw() -> None:
    given = ["RandSimulateLowResolutiond", {"GaussianSmoothd": {"sigma": 1}}]
    assert [step.moves for step in Augment.of(given).steps] == [False, False]


def test_a_transform_of_another_package_moves_where_it_takes_masks_along(monkeypatch) -> None:
    offered = Registry("", "transform", {"Writingd": "tests.transforms.faulty:Writingd"})
    for module in ("chain", "compose", "step"):
        monkeypatch.setattr(f"medssl.transforms.{module}.TRANSFORMS", offered)
    both = Augment.of([{"Writingd": {"keys": ["image", "label"]}}, "Writingd"])
    assert [step.moves for step in both.steps] == [True, False]


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("RandFlipd", {}, (9, 7, 5)),
        ("RandRotate90d", {"spatial_axes": [0, 2]}, (9, 7, 9)),
        ("RandRotated", {"range_x": math.pi}, (9, 11, 11)),  # halves 4 3 2: 3 + 2 in y and z
        ("RandRotated", {}, (9, 7, 5)),
        ("RandAffined", {"translate_range": [2, [-1, 3]]}, (13, 13, 5)),
        ("RandAffined", {"scale_range": [[-0.5, -0.1], 0.5, 0]}, (9, 11, 5)),
        ("RandAffined", {"shear_range": [0.5]}, (13, 7, 5)),
        ("Rand3DElasticd", {"sigma_range": [5, 7], "magnitude_range": [50, 100]}, (17, 15, 13)),
        ("Outsided", {}, (9, 7, 5)),
    ],
)
def test_what_a_transform_of_monai_needs_around_a_patch_by_hand(name, args, wanted) -> None:
    assert needed(Step(name, args), (9, 7, 5)) == wanted


def test_it_is_checked_without_importing_monai_or_torch() -> None:
    code = (
        "import sys; from medssl.transforms.chain import Augment; "
        "Augment.of(['standard', {'RandAffined': {'prob': 1}}]).mirrored; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'monai')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
