"""Transforms of MONAI that clean masks stand in chains, and change masks alone."""

from pathlib import Path

import numpy as np
import pytest

from medssl.data.volume import read_mask
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.transforms.chain import Preprocess

CLEANERS = [
    "FillHolesd",
    "KeepLargestConnectedComponentd",
    "{RemoveSmallObjectsd: {min_size: 4}}",
    "{LabelFilterd: {applied_labels: [1]}}",
]


@pytest.mark.parametrize("step", CLEANERS)
def test_a_run_with_cleaned_masks_ends_with_masks(step: str, balls: Path) -> None:
    given = [f"preprocess=[mr, {step}]", "train.steps=2"]
    outcome = run(load_config("balls", given), QuietReporter())
    masks = sorted(outcome["masks"].glob("*[0-9].nii.gz"))
    assert masks
    assert set(np.unique(read_mask(masks[0]).array)) <= {0, 3}


def test_masks_alone_are_cleaned() -> None:
    (step,) = Preprocess.of(["FillHolesd"]).steps
    assert step.keys == ["label"]
