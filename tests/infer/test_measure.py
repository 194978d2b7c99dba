"""Volumes and doubt of masks, by numbers counted by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medssl.data.csv_table import read_table
from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.infer.cleaning import Cleaning
from medssl.infer.measure import Measured, measure, ranked, write_volumes
from medssl.infer.predict import predict_case
from medssl.networks.ensemble import Ensemble
from medssl.networks.outputs import plain
from medssl.settings import PredictSettings
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation


def test_volumes_are_voxels_times_their_size() -> None:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 3:6] = 2
    found = measure(labels, np.zeros(labels.shape), (1, 2, 5), classes=4)
    assert found.voxels == (0, 3, 0)
    assert (found.size(1), found.unit) == (pytest.approx(3 * 10 / 1000), "ml")
    assert found.said(1) == "0.03 ml"
    assert found.interval(1) is None
    assert Measured.from_plain(found.to_plain()) == found


def test_doubt_is_the_mean_entropy_of_the_mask_and_two_voxels_around() -> None:
    labels, entropy = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.float32)
    labels[4, 4, 4] = 1
    entropy[2:7, 2:7, 2] = 1  # one of five planes of the neighbourhood
    entropy[0] = 1  # further away
    assert measure(labels, entropy, (1, 1, 1), 2).doubt == pytest.approx(0.2)


def test_doubt_of_an_empty_mask_is_that_of_its_most_doubtful_place() -> None:
    entropy = np.full((9, 9, 9), 0.1, np.float32)
    entropy[4, 4, 4] = 0.9
    found = measure(np.zeros((9, 9, 9), np.uint8), entropy, (1, 1, 1), 2)
    assert found.empty
    assert found.doubt == pytest.approx(0.1 + 0.8 / 125, abs=1e-6)


def test_the_interval_spans_what_the_networks_say_by_themselves() -> None:
    one, two = np.zeros((2, 5, 5, 5), np.uint8)
    one[0, 0, :2], two[0, 0, :5] = 1, 1
    found = measure(one, np.zeros(one.shape), (10, 10, 10), 2, [one, two])
    assert found.interval(0) == (2.0, 5.0)


def test_pictures_have_areas_where_the_size_of_a_pixel_is_known(tmp_path: Path) -> None:
    labels = np.zeros((30, 30, 1), np.uint8)
    labels[:20, :20] = 1
    entropy = np.zeros(labels.shape)
    fine, coarse, unknown = (
        measure(labels, entropy, (side, side, 1), 2, picture=True) for side in (0.1, 0.9, 1)
    )
    assert (fine.said(0), coarse.said(0), unknown.said(0)) == ("4 mm²", "3.24 cm²", "400 pixels")
    write_volumes(tmp_path / "v.csv", {"a": coarse, "b": unknown}, [(1, "polyp")], True)
    rows = {row["case"]: row for row in read_table(tmp_path / "v.csv")}
    assert (rows["a"]["pixels"], float(rows["a"]["mm2"])) == ("400", 324)
    assert (rows["b"]["pixels"], rows["b"]["mm2"]) == ("400", "")
    assert not {"ml", "voxels"} & set(rows["a"])
    assert Measured.from_plain(coarse.to_plain()) == coarse


def test_sizes_are_said_without_exponents_and_pixels_are_counted() -> None:
    liver = Measured(0.1, (1_523_400,), 0.001, ((1_600_000,), (987_000,)))
    assert liver.said(0) == "1520 ml (987 to 1600)"
    polyp = Measured(0.1, (1049,), 1, ((1049,), (12,)), unit="pixels")
    assert polyp.said(0) == "1049 pixels (12 to 1049)"


def test_pixels_of_unknown_size_have_an_interval_in_the_table_too(tmp_path: Path) -> None:
    polyp = Measured(0.1, (1049,), 1, ((1049,), (12,)), unit="pixels")
    write_volumes(tmp_path / "v.csv", {"a": polyp}, [(1, "polyp")], True)
    (row,) = read_table(tmp_path / "v.csv")
    assert [row[name] for name in ("pixels", "pixels_low", "pixels_high")] == ["1049", "12", "1049"]
    assert row["mm2"] == row["mm2_low"] == ""


def case(doubt: float, *voxels: int) -> Measured:
    return Measured(doubt, voxels, 0.001)


def test_the_most_doubtful_come_first_and_before_them_masks_that_should_not_be_empty(
    tmp_path: Path,
) -> None:
    cases = {"a": case(0.1, 5), "b": case(0.3, 5), "c": case(0.2, 0)}
    assert ranked(cases, empty_masks=False) == ["c", "b", "a"]
    assert ranked(cases, empty_masks=True) == ["b", "c", "a"]
    write_volumes(tmp_path / "v.csv", cases, [(7, "liver")], empty_masks=True)
    first, *_ = read_table(tmp_path / "v.csv")
    assert (first["rank"], first["case"], first["value"], first["ml"]) == ("1", "b", "7", "0.005")


class Threshold(nn.Module):
    """Foreground where the image is above a level."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        above = (image[:, :1] - self.level) * 4
        return torch.cat([-above, above], 1)


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_members_are_told_apart_and_the_ensemble_is_as_without_them(
    flips: bool, average: str
) -> None:
    array = np.random.default_rng(0).normal(size=(1, 10, 9, 8)).astype(np.float32)
    volume = Volume(array, Geometry((10, 9, 8), np.eye(4)), "x")
    ensemble = Ensemble([Threshold(0.0), Threshold(0.5)]).eval()
    settings = PredictSettings.model_validate({"flips": flips, "average": average})
    prepare = Preparation(Preprocess.of("mr"))
    given = volume, prepare, (8, 8, 8), settings, plain("ab"), torch.device("cpu"), Cleaning(), (0,)
    whole, apart = (predict_case(ensemble, *given, apart=wish) for wish in (False, True))
    assert (len(whole.members), len(apart.members)) == (0, 2)
    np.testing.assert_array_equal(whole.labels, apart.labels)
    np.testing.assert_array_equal(whole.entropy, apart.entropy)
    for member, labels in zip(ensemble.members, apart.members, strict=True):
        alone = predict_case(Ensemble([member]), *given)
        np.testing.assert_array_equal(labels, alone.labels)
    low, high = sorted(np.count_nonzero(one) for one in apart.members)
    assert low < np.count_nonzero(apart.labels) < high
