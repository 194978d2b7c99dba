"""A study of which a run fails, and its pieces one by one."""

from pathlib import Path
from typing import Any

import pytest

from medssl.errors import DataError, MedsslError, UsageError
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study, cells, checked_cells, load_study
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_run import StudyEnd, run_study, run_task
from medssl.pipeline.study_tasks import failures_of, missing_work, study_folder
from medssl.train.track import Tracker
from tests.pipeline.conftest import write_untrained

STUDY = """
pipeline: balls
labels: [2]
seeds: [0, 1]
arms: {plain: [evaluate.overlays=0], noisy: [method.noise=0.1, evaluate.overlays=0]}
reference: plain
"""

ENCODER = """
title: Encoder
data: balls
exclude: balls
preprocess: mr
method: {name: masked_image_modelling, masking: {cell: 4}, decoder_width: 4}
network: {name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}
train: {steps: 2, patch: [8, 8, 8], validate_every: 2, device: cpu}
probe: {patients: 2, windows: 2}
"""

ARMS = "arms: {plain: [], first: [pretrain=encoder], second: [pretrain=encoder, method.noise=0.1]}"


@pytest.fixture
def study(balls: Path) -> Study:
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY)
    return load_study("balls_study")


@pytest.fixture
def pretrained(balls: Path) -> Study:
    """A study of which two arms start from one pre-training."""
    (balls / "pipelines" / "encoder.yaml").write_text(ENCODER)
    text = f"{{pipeline: balls, labels: [2], seeds: [0], {ARMS}, reference: plain}}"
    (balls / "pipelines" / "pretrained_study.yaml").write_text(text)
    return load_study("pretrained_study")


def names(study: Study) -> list[tuple[str, str]]:
    work = missing_work(study, checked_cells(study, []))
    return [(task.kind, task.cell.arm) for task in work.tasks]


def test_a_run_that_fails_stops_no_other_and_is_tried_again(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        tried.append(job.plan.config.label)
        if job.plan.config.method.noise and len(tried) < 5:
            raise RuntimeError("out of memory; see https://pytorch.org/docs for more")
        write_untrained(job.plan.config, job.plan.folder("train"))
        return {}

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    end = run_study(study, QuietReporter(), command="medssl study balls_study")
    assert len(tried) == 4
    assert end.said.startswith("2 of 4 runs finished")
    reason = "unexpected RuntimeError: out of memory; see for more"
    assert [vars(failure) for failure in end.failures] == [
        {"task": f"arm noisy, labels 2, seed {seed}", "reason": reason, "exit_code": 1}
        for seed in (0, 1)
    ]
    assert f"failed   arm noisy, labels 2, seed 1: {reason}" in str(end)
    with pytest.raises(MedsslError, match=r"2 of 4 runs of the study failed; .* the same command"):
        end.check()
    page = (study_folder(study) / "summary.md").read_text()
    assert f"| arm noisy, labels 2, seed 0 | {reason} |" in page

    end = run_study(study, QuietReporter())
    assert len(tried) == 6
    assert end.said.startswith("4 of 4 runs finished")
    end.check()
    assert failures_of(study) == []
    assert "Not finished" not in (study_folder(study) / "summary.md").read_text()


def test_a_study_fails_as_its_runs_do() -> None:
    def end(*codes: int) -> StudyEnd:
        return StudyEnd("", tuple(Failure("x", "y", code) for code in codes), 3)

    for codes, kind in (((2, 2), UsageError), ((3,), DataError), ((2, 3), MedsslError)):
        with pytest.raises(MedsslError) as caught:
            end(*codes).check()
        assert type(caught.value) is kind


def test_what_was_kept_of_a_failure_names_no_file(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        raise FileNotFoundError(2, "No such file or directory", "/data/Qvortrup Ada/scan.nii.gz")

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    end = run_study(study, QuietReporter(), ["arm=plain,seed=0"])
    assert end.failures[0].reason == (
        "a file cannot be used; no such file or directory; check the path and its permissions"
    )
    assert end.failures[0].exit_code == 3


def test_a_pre_training_comes_once_before_the_runs_that_start_from_it(pretrained: Study) -> None:
    work = missing_work(pretrained, checked_cells(pretrained, []))
    assert names(pretrained) == [
        ("run", "plain"), ("encoder", "first"), ("run", "first"), ("run", "second"),
    ]  # fmt: skip
    assert [task.after for task in work.tasks] == ["", "", *2 * [work.tasks[1].name]]


def test_pieces_one_by_one_make_the_study(pretrained: Study, untrained: list[str]) -> None:
    with pytest.raises(UsageError, match="starts from no pre-training"):
        run_task(pretrained, "encoder:0", QuietReporter())
    with pytest.raises(UsageError, match=r"no task 'run:3'.*run:0 to run:2"):
        run_task(pretrained, "run:3", QuietReporter())
    run_task(pretrained, "encoder:1", QuietReporter())
    assert names(pretrained) == [("run", "plain"), ("run", "first"), ("run", "second")]
    for number in (2, 0, 1):
        run_task(pretrained, f"run:{number}", QuietReporter(), threads=1)
    assert names(pretrained) == []
    assert run_task(pretrained, "report", QuietReporter()).startswith("3 of 3 runs finished")
    assert len(cells(pretrained)) == len(untrained) == 3


def test_a_pre_training_that_failed_is_not_repeated_for_each_run(
    pretrained: Study, untrained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        tried.append(job.plan.config.label)
        raise DataError("the scan of c3 is empty")

    monkeypatch.setattr("medssl.families.pretrain.pretrain.pretrain", train)
    end = run_study(pretrained, QuietReporter())
    assert (len(tried), len(untrained)) == (1, 1)
    reason = "the pre-training encoder that it starts from failed; the scan of c3 is empty"
    assert [(one.task, one.reason) for one in end.failures] == [
        ("the pre-training of arm first, labels 2, seed 0", "the scan of c3 is empty"),
        ("arm first, labels 2, seed 0", reason),
        ("arm second, labels 2, seed 0", reason),
    ]
    assert end.said.startswith("1 of 3 runs finished")
