"""Scores of a folder of masks against a data set's labels."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medssl.data.spec import load_spec
from medssl.data.volume import read_mask, write_mask
from medssl.errors import DataError, UsageError
from medssl.families.grade.evaluate import evaluate_grades
from medssl.families.segment.comparison import read_scores
from medssl.families.segment.evaluate import evaluate_folder
from medssl.families.slide.evaluate import evaluate_calls
from medssl.pipeline.progress import QuietReporter


@pytest.fixture
def masks(balls: Path) -> Path:
    """The labels of four cases, as if they had been predicted."""
    folder = balls / "masks"
    folder.mkdir()
    for number in range(4):
        label = balls / "data" / "balls" / f"c{number}_seg.nii.gz"
        shutil.copy(label, folder / f"c{number}.nii.gz")
    return folder


def evaluate(masks: Path, *overrides: str) -> str:
    given = masks, load_spec("balls"), masks / "scores", QuietReporter(), overrides
    return evaluate_folder(*given)


def test_perfect_masks_score_one_and_absent_ones_are_counted(masks: Path) -> None:
    said = evaluate(masks)
    assert said.startswith("4 of 8 labelled cases: Dice 1.000 [1.000, 1.000]")
    found = read_scores(masks / "scores" / "scores.csv")
    assert {case: one["hd95"] for case, one in found.items()} == dict.fromkeys(found, 0.0)
    assert len(list((masks / "scores" / "overlays").glob("*.png"))) == 3
    assert "simulated" in (masks / "scores" / "report.html").read_text()


def test_keys_of_evaluation_are_taken_as_from_a_pipeline(masks: Path) -> None:
    evaluate(masks, "overlays=1", "pooled=true")
    assert len(list((masks / "scores" / "overlays").glob("*.png"))) == 1
    assert "hd95_voxels" in (masks / "scores" / "scores.csv").read_text().splitlines()[0]


def test_a_metric_of_torchmetrics_stands_beside_the_others(masks: Path) -> None:
    said = evaluate(masks, "metrics=[torchmetrics:MeanIoU]")
    assert "torchmetrics:MeanIoU 1.000 [1.000, 1.000]" in said
    assert "torchmetrics:MeanIoU" in (masks / "scores" / "scores.csv").read_text().splitlines()[0]
    page = (masks / "scores" / "report.html").read_text()
    assert "MeanIoU of torchmetrics; 1 where both masks are empty, 0 where one is." in page


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("metrics=[torchmetrics:MeanIU]", "did you mean 'torchmetrics:MeanIoU'?"),
        ("metrics=[3]", "give a list of names of metrics"),
        ("metrics=[{a: 3}]", "give a list of names of metrics"),
        ("metrics=[dise]", "no metric is called 'dise' in evaluate.metrics"),
        ("metrics=[dice]", "'dice' in evaluate.metrics cannot name a metric of another package"),
        ("metricks=[x]", "unknown key 'evaluate.metricks'; did you mean 'evaluate.metrics'?"),
    ],
)
def test_a_key_that_is_wrong_is_told_before_a_mask_is_read(
    masks: Path, override: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate(masks, override)
    assert message in str(caught.value)
    assert not (masks / "scores").exists()


@pytest.mark.parametrize("score", [evaluate_grades, evaluate_calls])
def test_keys_of_grades_and_calls_are_told_too(score: Callable[..., str], masks: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'evaluate.bootstrap'"):
        score(masks, load_spec("balls"), masks, QuietReporter(), ["bootstraps=100"])


def test_masks_of_other_formats_are_scored_alike(masks: Path) -> None:
    suffixes = (".nrrd", ".mha", ".png.zip")
    for path, suffix in zip(sorted(masks.glob("*.nii.gz"))[:3], suffixes, strict=True):
        mask = read_mask(path)
        write_mask(mask.array[0], mask.geometry, path.with_name(path.name[:2] + suffix))
        path.unlink()
    assert evaluate(masks).startswith("4 of 8 labelled cases: Dice 1.000 [1.000, 1.000]")


def test_an_empty_mask_counts_as_a_miss(masks: Path) -> None:
    mask = read_mask(masks / "c0.nii.gz")
    write_mask(np.zeros(mask.geometry.shape, np.uint8), mask.geometry, masks / "c0.nii.gz")
    evaluate(masks)
    found = read_scores(masks / "scores" / "scores.csv")
    assert found["c0"]["dice"] == 0
    assert found["c0"]["hd95"] == pytest.approx((24**2 + 12**2 + 12**2) ** 0.5)


def test_a_mask_on_another_grid_is_refused(masks: Path) -> None:
    mask = read_mask(masks / "c0.nii.gz")
    grid = mask.geometry.cropped((0, 0, 0), (11, 12, 12))
    write_mask(mask.array[0][:11].astype(np.uint8), grid, masks / "c0.nii.gz")
    with pytest.raises(DataError, match="mask of case c0 does not lie on the grid of its label"):
        evaluate(masks)
    assert not (masks / "scores").exists()


def test_undeclared_values_are_refused(masks: Path) -> None:
    mask = read_mask(masks / "c1.nii.gz")
    write_mask((mask.array[0] > 0).astype(np.uint8), mask.geometry, masks / "c1.nii.gz")
    with pytest.raises(DataError, match=r"holds the values \[1\].*declares \[0, 3\]"):
        evaluate(masks)


def test_a_folder_without_masks_says_how_they_are_named(balls: Path) -> None:
    (balls / "empty").mkdir()
    with pytest.raises(DataError, match=r"c0\.nii\.gz"):
        evaluate(balls / "empty")
