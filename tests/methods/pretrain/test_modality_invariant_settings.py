"""Defaults and presets of modality-invariant learning, and what its settings refuse."""

import pytest
from pydantic import ValidationError

from medssl.methods.settings.modality_invariant import Settings

STILL = {"rotation": 0, "scale": 0, "shear": 0}


def test_defaults_are_the_sheets():
    """Sections 6 and 13."""
    found = Settings()
    assert found.arm == "mcl_mim"
    assert (found.temperature, found.projector.hidden, found.projector.outputs) == (0.2, 512, 128)
    assert (found.negatives.source, found.negatives.few, found.negatives.queue) == (
        "auto", 200, 16384,
    )  # fmt: skip
    assert not found.negatives.phantoms
    assert (found.masking.cell, found.masking.ratio, found.decoder_width) == (16, (0.5, 0.75), 32)
    assert (found.sampler, found.contrasts_differ) == ("session", True)
    assert found.alpha.model_dump() == {"start": 0.1, "end": 1.0, "begin": 0.05, "stop": 0.1}
    assert found.momentum.model_dump() == {
        "start": 0.996, "end": 0.999, "begin": 0.05, "stop": 0.2,
    }  # fmt: skip
    assert found.collapse.rank == 5
    assert not found.split.enabled


def test_the_paper_differs_where_the_sheet_says_so():
    paper = Settings.preset("paper")
    assert paper.masking.cell == 32
    assert (paper.sampler, paper.contrasts_differ) == ("file_pair", False)
    assert paper.negatives.source == "queue"
    same = {"masking", "sampler", "contrasts_differ", "negatives"}
    assert paper.model_dump(exclude=same) == Settings().model_dump(exclude=same)


def test_the_split_is_a_preset():
    assert Settings.preset("split").split.enabled


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"arm": "cl", "split": {"enabled": True}}, "arm=cl does not compare"),
        ({"arm": "mim", "split": {"enabled": True}}, "arm=mim does not compare"),
        ({"arm": "mcl", "split": {"enabled": True, "cross": 0.5}}, "choose arm=mcl_mim"),
        ({"split": {"enabled": True, "dense": 1}}, r"split\.dense goes from .* voxel by voxel"),
        ({"split": {"enabled": True, "cross": 0.5}}, r"split\.cross goes from .* voxel by voxel"),
        ({"alpha": {"start": 1, "end": 1, "begin": 0.5, "stop": 0.2}}, "stop comes before begin"),
        ({"alpha": {"start": -1, "end": 1, "begin": 0, "stop": 1}}, "alpha is a weight"),
        ({"momentum": {"start": 0.9, "end": 1.1, "begin": 0, "stop": 1}}, "momentum goes from"),
        ({"projector": {"outputs": 4}}, r"rank=5 cannot be passed: .* at most 4"),
        ({"collapse": {"keys": 8, "rank": 7}}, r"rank=7 cannot be passed: .* at most 7"),
        ({"masking": {"ratio": (0.9, 0.5)}}, "ratio goes from"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused(wrong, why):
    with pytest.raises(ValidationError, match=why):
        Settings.model_validate(wrong)


@pytest.mark.parametrize("part", [{"dense": 1}, {"cross": 0.5}])
def test_voxel_by_voxel_is_allowed_where_scans_lie_over_each_other(part):
    Settings(split={"enabled": True, **part}, affine=STILL)
