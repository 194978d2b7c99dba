"""The training stage: what it leaves behind, what it reads and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medssl.environment import cache_root
from medssl.errors import DataError, UsageError
from medssl.families.segment.train import cache_cases, train, used_cases
from medssl.families.segment.validation import Answers, Validation, outputs_of
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import Stage
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import WEIGHTS
from medssl.train.track import Tracker
from tests.told import Told

TRACOCO = ("method=tracoco", "train.steps=3")


class Killed(Exception):
    pass


class KilledAfter(QuietReporter):
    def __init__(self, step):
        self._last = step

    def step(self, step, values):
        if step == self._last:
            raise Killed


def trained(folder, *overrides, reporter=None):
    plan = make_plan(load_config("balls", overrides))
    job = Job(
        replace(plan, stages={"train": Stage("train", "0", folder)}), reporter or QuietReporter()
    )
    with Tracker(folder, "balls", "train", None, {}, {}) as tracker:
        train(job, tracker)
    return folder / "checkpoint"


def cohort(*overrides):
    config = load_config("balls", overrides)
    return cohort_of(config)


def weights(checkpoints, kind="last"):
    return (checkpoints / kind / WEIGHTS).read_bytes()


def test_a_finished_training_is_enough_to_predict_and_to_audit(balls):
    folder = balls / "run"
    checkpoints = trained(folder, *TRACOCO)
    predictor, found = load_checkpoint(checkpoints / "last")
    assert predictor(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 2, 8, 8, 8)
    assert (found.members, found.step) == (2, 3)
    assert found.channels == ("T1",)
    assert found.label_values == (0, 3)
    assert found.method["name"] == "tracoco"
    assert found.data.simulated
    split = cohort(*TRACOCO).split
    assert found.split_hash == split.hash
    assert len(split.labelled) == len(split.validation) == 1
    assert 0 <= found.metrics["dice"] <= 1
    assert load_checkpoint(checkpoints / "best")[1].metrics["dice"] == found.metrics["dice"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 3
    assert "loss/translation_2" in lines[-1]
    assert (folder / "state.pt").is_file()


DRAWS = "preprocess=[mr, {RandGaussianNoised: {prob: 1, std: 0.2}}, NormalizeIntensityd]"


@pytest.mark.parametrize("more", [(), (DRAWS,)], ids=["", "preprocess draws"])
def test_a_killed_training_ends_in_the_same_weights(balls, more):
    given = (*TRACOCO, *more, "train.checkpoint_every=1")
    unbroken = trained(balls / "unbroken", *TRACOCO, *more)
    with pytest.raises(Killed):
        trained(balls / "broken", *given, reporter=KilledAfter(2))
    continued = trained(balls / "broken", *given)
    assert weights(continued) == weights(unbroken)


@pytest.mark.parametrize("workers", [0, 2])
def test_it_does_not_matter_where_and_by_whom_random_changes_are_made(balls, workers):
    """Whole trainings: in the loop's thread, in others, or of a batch on the device that trains."""
    given = (*TRACOCO, DRAWS, "augment=standard")
    alone = trained(balls / "alone", *given, "train.workers=1")
    how = ("train.augment_on=gpu", f"train.workers={workers}")
    assert weights(trained(balls / "late", *given, *how)) == weights(alone)


def test_random_changes_asked_of_a_gpu_that_is_not_used_are_made_on_the_cpu_which_is_said(balls):
    told, said = (
        Told(),
        "train.augment_on=gpu finds no GPU in use: random changes are made on the CPU",
    )
    trained(balls / "cpu", "train.steps=1", "train.device=cpu", reporter=told)
    assert said not in told.notes
    given = ("train.steps=1", "train.device=cpu", "train.augment_on=gpu")
    trained(balls / "gpu", *given, reporter=told)
    assert told.notes.count(said) == 1


def test_training_starts_before_what_is_drawn_and_validation_sees_what_follows(balls):
    """Noise before a z-score: both the image of the file and the z-scored one are cached."""
    drawn = "preprocess=[{RandGaussianNoised: {prob: 1, std: 0.2}}, NormalizeIntensityd]"
    trained(balls / "run", drawn, "train.steps=1")
    images = [np.load(one / "image.npy") for one in (cache_root() / "balls").iterdir()]
    scored = [one for one in images if one.mean() == pytest.approx(0, abs=1e-2)]
    assert len(images) == 2 * len(scored) == 2 * len(cohort().cases) - 2 * len(cohort().split.test)
    assert all(one.std() == pytest.approx(1, abs=1e-2) for one in scored)


def test_labels_of_unlabelled_cases_are_not_even_read(balls):
    """Damage them: training must neither fail nor differ by a bit."""
    whole = trained(balls / "whole", *TRACOCO)
    split = cohort(*TRACOCO).split
    for name in split.unlabelled:
        (balls / "data" / "balls" / f"{name}_seg.nii.gz").write_bytes(b"damaged")
    damaged = trained(balls / "damaged", *TRACOCO)
    assert weights(damaged) == weights(whole)


def test_a_damaged_label_of_a_labelled_case_is_named(balls):
    split = cohort().split
    (name,) = split.labelled
    (balls / "data" / "balls" / f"{name}_seg.nii.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"{name}_seg"):
        trained(balls / "run")


def test_test_cases_are_not_touched(balls):
    found = cohort()
    cases, split = found.cases, found.split
    used = used_cases(cases, split)
    assert not {case.id for case in used} & set(split.test)
    assert len(used) == len(cases) - len(split.test)


def test_a_patch_that_the_network_cannot_halve_is_refused(balls):
    with pytest.raises(UsageError, match=r"train.patch=\[8, 8, 8\]") as caught:
        trained(balls / "run", "train.patch=[8,8,7]", "network.levels=2")
    assert "multiples of 2" in caught.value.why


def test_a_method_without_its_unlabelled_cases_is_refused(balls):
    with pytest.raises(UsageError, match="tracoco needs unlabelled cases"):
        trained(balls / "run", "method=tracoco", "split.labels=5")


class Threshold(nn.Module):
    """Calls bright voxels foreground: right on noisy balls."""

    def forward(self, image):
        return torch.cat([torch.full_like(image, 0.5), image], dim=1)


class Trained:
    def predictor(self):
        return Threshold()


def test_validation_is_the_dice_of_whole_volumes(balls):
    config = load_config("balls", ["preprocess.mr.intensity=none"])
    found = cohort_of(config)
    cases, split = found.cases, found.split
    cached = cache_cases(config, used_cases(cases, split), QuietReporter())
    (case,) = (cached[name] for name in split.validation)
    found = Validation(Answers(config, Trained()), [case], outputs_of(config.spec))()["dice"]
    prediction, truth = case.image[0] > 0.5, case.mask == 1
    expected = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
    assert found == pytest.approx(expected)
    assert found > 0.95


def test_prepared_cases_are_shared_between_runs(balls):
    trained(balls / "first")
    entries = sorted((cache_root() / "balls").iterdir())
    trained(balls / "second", "seed=0", "train.steps=1")
    assert sorted((cache_root() / "balls").iterdir()) == entries
    assert np.load(entries[0] / "image.npy").dtype == np.float16
