"""Regions and masks that say a part: trained, predicted and scored by a pipeline."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medssl.data.csv_table import read_table
from medssl.data.spec import load_spec
from medssl.data.volume import read_mask, read_volume, write_mask
from medssl.errors import DataError
from medssl.families.segment.evaluate import evaluate_folder
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.train.checkpoint import load_checkpoint

LABELS = "labels: [{value: 3, name: shell}, {value: 5, name: kernel}]"


@pytest.fixture
def declared(balls: Path) -> Callable[..., Path]:
    """Balls with a kernel, and further lines in their data spec."""

    def declare(*lines: str) -> Path:
        path = balls / "data_specs" / "balls.yaml"
        text = path.read_text().replace("labels: [{value: 3, name: ball}]", LABELS)
        path.write_text("\n".join([text, *lines, ""]))
        for file in (balls / "data" / "balls").glob("*_seg.nii.gz"):
            mask = read_mask(file, load_spec("balls").labels)
            values = mask.array[0].copy()
            places = np.argwhere(values == 3)
            near = np.abs(places - places.mean(0)).sum(1) < 2.5
            values[tuple(places[near].T)] = 5
            write_mask(values, mask.geometry, file)
        return balls

    return declare


def classes_of(scores: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in read_table(scores):
        found.setdefault(row["case"], []).append(row["class"])
    return found


def test_a_pipeline_of_regions_writes_labels_and_scores_regions(
    declared: Callable[..., Path],
) -> None:
    declared("regions: {whole ball: [3, 5], kernel: [5]}")
    keys = [
        "split.validation=0.5", "predict.save=[labels,entropy,probabilities]", "train.steps=3",
        "train.validate_every=2", "method.members=2",
    ]  # fmt: skip
    config = load_config("balls", keys)
    run(config, QuietReporter())
    plan = make_plan(config)
    predictor, found = load_checkpoint(plan.folder("train") / "checkpoint" / "last")
    assert found.outputs.names == ("whole ball", "kernel")
    assert predictor.outputs == found.outputs
    scores = classes_of(plan.folder("evaluate") / "scores.csv")
    assert set(map(tuple, scores.values())) == {("whole ball", "kernel")}
    page = (plan.folder("evaluate") / "report.html").read_text()
    assert "whole ball of 3, 5; kernel of 5." in " ".join(page.split())
    case, masks = plan.cohort.test[0].id, plan.folder("predict")
    mask = read_volume(masks / f"{case}.nii.gz").array[0]
    assert set(np.unique(mask)) <= {0, 3, 5}
    whole, kernel = (
        read_volume(masks / f"{case}_probability_{name}.nii.gz").array[0]
        for name in ("whole_ball", "kernel")
    )
    # Where both are on one side of a half, masks are what probabilities say.
    sure = (np.abs(whole - 0.5) > 0.01) & (np.abs(kernel - 0.5) > 0.01)
    expected = np.where(kernel > 0.5, 5, np.where(whole > 0.5, 3, 0))
    assert sure.any()
    np.testing.assert_array_equal(mask[sure], expected[sure])
    unsure = read_volume(masks / f"{case}_entropy.nii.gz").array[0]
    assert unsure.min() >= 0
    assert unsure.max() <= 1


def masks_of(balls: Path) -> Path:
    """Every reference, as if it had been predicted; of the first the kernel is lost."""
    folder = balls / "masks"
    folder.mkdir()
    for number in range(4):
        reference = read_volume(balls / "data" / "balls" / f"c{number}_seg.nii.gz")
        values = reference.array[0].astype(np.uint8)
        if number == 0:
            values = np.where(values == 5, 3, values).astype(np.uint8)
        write_mask(values, reference.geometry, folder / f"c{number}.nii.gz")
    return folder


def test_of_cases_that_outline_a_part_that_part_is_scored(declared: Callable[..., Path]) -> None:
    balls = declared("outlined: {'^c0$': [shell], '^c1$': [kernel]}")
    masks = masks_of(balls)
    evaluate_folder(masks, load_spec("balls"), masks / "scores", QuietReporter())
    scores = classes_of(masks / "scores" / "scores.csv")
    assert scores == {
        "c0": ["shell"], "c1": ["kernel"], "c2": ["shell", "kernel"], "c3": ["shell", "kernel"]
    }  # fmt: skip
    page = " ".join((masks / "scores" / "report.html").read_text().split())
    assert "2 of 4 cases outline some structures alone" in page
    assert "shell in 3, kernel in 3." in page


def outline_anew(balls: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the mask of the first case."""
    file = balls / "data" / "balls" / "c0_seg.nii.gz"
    reference = read_volume(file)
    write_mask(change(reference.array[0].astype(np.uint8)), reference.geometry, file)


def test_ignored_voxels_are_not_scored_and_the_report_says_how_many(
    declared: Callable[..., Path],
) -> None:
    balls = declared("ignore: 9")
    masks = masks_of(balls)
    outline_anew(balls, lambda mask: np.where(mask == 5, 9, mask))  # what the prediction has wrong
    said = evaluate_folder(masks, load_spec("balls"), masks / "scores", QuietReporter())
    assert "Dice 1.000 [1.000, 1.000]" in said
    page = " ".join((masks / "scores" / "report.html").read_text().split())
    assert "in 1 of 4 cases voxels are ignored; 99 % of theirs are known" in page


def test_a_case_that_is_ignored_everywhere_cannot_be_scored(
    declared: Callable[..., Path],
) -> None:
    balls = declared("ignore: 9")
    masks = masks_of(balls)
    outline_anew(balls, lambda mask: np.full_like(mask, 9))
    with pytest.raises(DataError, match="c0 is ignored everywhere"):
        evaluate_folder(masks, load_spec("balls"), masks / "scores", QuietReporter())


def test_a_cross_validation_asks_of_each_case_what_it_outlines(
    declared: Callable[..., Path],
) -> None:
    declared("outlined: {'^c[0-3]$': [shell]}")
    config = load_config("balls", ["split.labels=5", "split.validation=0", "split.folds=2"])
    run(config, QuietReporter())
    assert (make_plan(config).folder("train") / "corrections.json").is_file()
