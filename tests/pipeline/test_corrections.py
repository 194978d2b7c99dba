"""A correction that helps is chosen by the folds, stands in the checkpoint, and corrects masks."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medssl.data.csv_table import read_table
from medssl.data.geometry import Geometry
from medssl.data.volume import read_mask, write_mask, write_volume
from medssl.families.segment.predict import predict_files
from medssl.infer.postprocess import TOUCHING
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import Outcome, run
from medssl.train.checkpoint import read_description

SIDE = 12
GRID = Geometry((SIDE, SIDE, SIDE), np.diag([2.0, 1.0, 1.0, 1.0]))
MORE = (
    "split={folds: 4, labels: 4, test: 0, validation: 0}",
    "train={steps: 40, patch: [8, 8, 8], device: cpu}",
    "train.optimiser={name: adam, learning_rate: 0.02}",
    "augment={basic: {flip: half}}",
    "predict={save: [], unlabelled: true}",
)


def write_scan(path: Path, number: int) -> np.ndarray:
    """A ball, beside it a speck that looks like it and belongs to nothing; returns the ball."""
    axes, generator = np.indices(GRID.shape), np.random.default_rng(number)
    ball = ((axes - generator.uniform(3, 4, (3, 1, 1, 1))) ** 2).sum(0) < 9
    speck = ((axes - generator.uniform(8.5, 9, (3, 1, 1, 1))) ** 2).sum(0) < 6
    image = ball + speck + 0.05 * generator.normal(size=GRID.shape)
    write_volume(image.astype(np.float32), GRID, path)
    return ball


@pytest.fixture
def specks(balls: Path) -> Path:
    """Six scans with a speck each, the first four with masks."""
    for path in (balls / "data" / "balls").iterdir():
        path.unlink()
    for number in range(6):
        name = balls / "data" / "balls" / f"c{number}"
        ball = write_scan(name.with_suffix(".nii.gz"), number)
        if number < 4:
            write_mask(3 * ball.astype(np.uint8), GRID, Path(f"{name}_seg.nii.gz"))
    return balls


def parts(mask: Path) -> int:
    """Connected parts of a mask."""
    return int(ndimage.label(read_mask(mask).array[0], TOUCHING)[1])


def dice(outcome: Outcome) -> list[float]:
    return [float(row["dice"]) for row in read_table(outcome["scores"]) if row["class"] == "ball"]


def test_the_largest_part_is_kept_where_specks_cost_dice(specks: Path) -> None:
    outcome = run(load_config("balls", list(MORE)), QuietReporter())
    assert read_description(outcome["model"]).predict.largest_component == ("ball",)
    off = run(load_config("balls", [*MORE, "predict.largest_component=false"]), QuietReporter())
    assert np.mean(dice(outcome)) > np.mean(dice(off)) + 0.02
    for name in ("c4", "c5"):
        assert parts(outcome["unlabelled"] / f"{name}.nii.gz") == 1
        assert parts(off["unlabelled"] / f"{name}.nii.gz") > 1

    write_scan(specks / "new.nii.gz", 9)
    given = outcome["model"], [specks / "new.nii.gz"]
    (kept,) = predict_files(*given, specks / "kept", [], QuietReporter())
    (whole,) = predict_files(*given, specks / "whole", ["largest_component=false"], QuietReporter())
    assert parts(kept) == 1 < parts(whole)
