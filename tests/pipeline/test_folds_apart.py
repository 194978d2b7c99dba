"""Folds of cross-validated runs as pieces of a study, each trained by a process of its own."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from medssl.errors import DataError, UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study, cells, checked_cells, load_study
from medssl.pipeline.study_run import run_study, run_task
from medssl.pipeline.study_tasks import Work, failures_of, missing_work, study_folder
from medssl.train.track import Tracker
from tests.drivers.killing.compare import differences
from tests.pipeline.fake_slurm import install
from tests.pipeline.test_study_tasks import ENCODER

FOLDED = "'split={folds: 2, labels: 4, test: 0, validation: 0}', evaluate.overlays=0"
STUDY = f"""
pipeline: balls
labels: [4]
seeds: [0]
arms:
  plain: [evaluate.overlays=0]
  folded: [{FOLDED}, train.steps=STEPS, train.checkpoint_every=2, train.log_every=1]
  encoded: [{FOLDED}, pretrain=encoder]
reference: plain
"""


@pytest.fixture
def study(balls: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (balls / "pipelines" / "encoder.yaml").write_text(ENCODER)
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY.replace("STEPS", "4"))
    return load_study("balls_study")


def missing(study: Study, *only: str) -> Work:
    return missing_work(study, checked_cells(study, only), apart=True)


def unlike(place: Path, wanted: Path) -> list[str]:
    """Files with other values; sums are of bytes, and those of safetensors come in any order."""
    return [name for name in differences(place, wanted) if not name.endswith("SHA256SUMS")]


def words(study: Study, *only: str) -> list[str]:
    return [task.word for task in missing(study, *only).tasks]


def test_folds_come_before_their_run_and_after_its_pre_training(study: Study) -> None:
    work = missing(study)
    assert [task.word for task in work.tasks] == [
        "run:0", "fold:1.0", "fold:1.1", "run:1", "encoder:2", "fold:2.0", "fold:2.1", "run:2",
    ]  # fmt: skip
    named = {task.word: task for task in work.tasks}
    assert named["fold:2.1"].after == named["encoder:2"].name
    assert named["run:2"].folds == (named["fold:2.0"].name, named["fold:2.1"].name)
    assert str(named["fold:1.1"]) == "fold 2 of arm folded, labels 4, seed 0"
    whole = missing_work(study, checked_cells(study, []))
    assert "fold" not in {task.kind for task in whole.tasks}


@pytest.mark.parametrize("word", ["fold:1", "run:1.0", "fold:9.0", "fold:1.x"])
def test_a_piece_that_is_none_is_refused(study: Study, word: str) -> None:
    with pytest.raises(UsageError, match="has no task"):
        run_task(study, word, QuietReporter())


def test_folds_that_are_trained_apart_make_the_run_of_one_process(
    study: Study, balls: Path
) -> None:
    """Every file but for times: weights, journals, answers, corrections, scores."""
    one, apart = "arm=folded", balls / "runs" / "balls"
    run_study(study, QuietReporter(), [one])
    shutil.move(apart, balls / "whole")
    for word in ("fold:1.1", "fold:1.0"):
        run_task(study, word, QuietReporter())
    train = next(apart.glob("train-*"))
    assert {path.name for path in train.iterdir()} == {"fold0", "fold1"}
    assert json.loads((train / "fold1" / "metrics.jsonl").read_text().split("\n")[0])["step"] == 1
    assert words(study, one) == ["run:1"]
    run_task(study, "run:1", QuietReporter())
    shutil.rmtree(study_folder(study))
    shutil.rmtree(balls / "whole" / study_folder(study).name)
    assert unlike(apart, balls / "whole") == unlike(balls / "whole", apart) == []


def test_a_fold_that_was_begun_apart_is_finished_by_its_run(
    study: Study, balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had logged by then is kept."""
    plan = make_plan(load_config("balls", cells(study)[1].overrides))
    place = plan.folder("train") / "fold1"
    place.mkdir(parents=True)
    (place / "metrics.jsonl").write_text('{"step": 1, "time": 5.0, "loss": 3.0}\n')
    seen: list[Path] = []

    def begin_at_two(self: Any, split: Any, folder: Path, log: Any) -> None:
        seen.append(folder)
        log.metrics(2, {"loss": 2.0})
        (folder / "held_out.json").write_text("{}")
        raise DataError("enough")

    monkeypatch.setattr("medssl.families.segment.train.Training.fold", begin_at_two)
    (plan.folder("train") / "fold0").mkdir()
    (plan.folder("train") / "fold0" / "held_out.json").write_text("{}")
    with pytest.raises(DataError, match="enough"):
        run_task(study, "run:1", QuietReporter())
    assert seen == [place]
    kept = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in kept] == [(1, 3.0), (2, 2.0)]


def test_a_fold_that_failed_is_not_trained_again_by_its_run_but_by_the_same_command(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int | None] = []

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        tried.append(job.fold)
        raise DataError("the mask of c3 is empty")

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    with pytest.raises(DataError):
        run_task(study, "fold:1.1", QuietReporter())
    with pytest.raises(DataError, match="its fold 2 failed; the mask of c3 is empty"):
        run_task(study, "run:1", QuietReporter())
    assert tried == [1]
    (failure,) = failures_of(study)
    assert (failure.task, failure.exit_code) == ("arm folded, labels 4, seed 0", 3)
    end = run_study(study, QuietReporter(), ["arm=folded"])
    assert tried == [1, None]
    assert end.failures[0].reason == "the mask of c3 is empty"


def test_arrays_of_slurm_wait_for_folds_and_a_fold_that_is_pre_empted_goes_on(
    study: Study, balls: Path, monkeypatch: pytest.MonkeyPatch, figures: None
) -> None:
    """The first fold is told by SIGUSR1 while it learns; tables and files are those without."""
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY.replace("STEPS", "60"))
    study, slurm = load_study("balls_study"), install(balls / "slurm", monkeypatch)
    end = run_study(study, QuietReporter(), executor="slurm", words=["balls_study"])
    for line in (
        "1 pre-trainings as job 101", "2 folds as job 102", "2 folds as job 103, after 101",
        "1 runs as job 104\n", "1 runs as job 105, after 102", "1 runs as job 106, after 103",
    ):  # fmt: skip
        assert line in end.said
    assert slurm.options("105")["dependency"] == "afterany:102"
    assert slurm.options("102")["array"].startswith("0-1")
    only = ["arm=folded"]
    for job in ("101", "103", "104", "106"):
        for state in slurm.folder.glob(f"{job}*.state"):
            state.write_text("ENDED")
    sent: list[str] = []

    def preempt(one: str) -> int | None:
        logs = (balls / "runs" / "balls").glob("train-*/fold0/metrics.jsonl")
        learnt = max((len(path.read_text().splitlines()) for path in logs), default=0)
        if one == "102_0" and not sent and learnt > 5:
            sent.append(one)
            return signal.SIGUSR1
        return None

    slurm.carry_out(preempt)
    assert [name for name, _ in slurm.log] in (
        ["102_0", "102_1", "102_0", "105", "107"], ["102_0", "102_0", "102_1", "105", "107"]
    )  # fmt: skip
    assert slurm.log[-2:] == [("105", 0), ("107", 0)]
    apart, folder = balls / "runs" / "balls", study_folder(study)
    table = (folder / "study.csv").read_bytes()
    shutil.move(apart, balls / "queue")
    run_study(study, QuietReporter(), only)
    assert (folder / "study.csv").read_bytes() == table
    for place in (balls / "queue", apart):
        shutil.rmtree(place / folder.name)
    assert unlike(balls / "queue", apart) == []


def test_manifests_have_a_job_of_folds_which_the_runs_wait_for(study: Study, balls: Path) -> None:
    run_study(study, QuietReporter(), executor="kubernetes", words=["balls_study"])
    folder = study_folder(study) / "kubernetes"
    found = {path.name: list(yaml.safe_load_all(path.read_text())) for path in folder.glob("*.y*")}
    assert sorted(found) == [
        "1-pretrainings.yaml", "2-folds.yaml", "3-runs.yaml", "4-folds-from-encoders.yaml",
        "5-runs-of-folds.yaml", "6-report.yaml",
    ]  # fmt: skip
    for (job,) in found.values():
        for version in ("1.34", "1.37"):
            kubernetes_validate.validate(job, version, strict=True)
    assert found["2-folds.yaml"][0]["spec"]["completions"] == 2
    line = found["2-folds.yaml"][0]["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    assert "fold:1.0 fold:1.1" in line
    kubectl = balls / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/bin/sh\necho "$1 $4 $3" >> {balls}/asked\necho Complete\n')
    kubectl.chmod(0o755)
    variables = {"PATH": f"{kubectl.parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", folder / "apply.sh"], env=variables, check=True)
    asked = (balls / "asked").read_text().replace("job/medssl-balls-study-", "").splitlines()
    before = [line.split()[1] for line in asked[: asked.index("apply  5-runs-of-folds.yaml")]]
    assert {"folds", "folds-from-encoders", "pretrainings"} <= set(before)
    assert before.index("pretrainings") < before.index("4-folds-from-encoders.yaml")


def test_two_processes_at_once_train_folds_and_then_their_run(study: Study, balls: Path) -> None:
    one = "arm=folded"
    run_study(study, QuietReporter(), [one], command="c")
    table = (study_folder(study) / "study.csv").read_bytes()
    shutil.move(balls / "runs" / "balls", balls / "before")
    end = run_study(study, QuietReporter(), [one], command="c", jobs=2, words=["balls_study"])
    assert not end.failures
    assert (study_folder(study) / "study.csv").read_bytes() == table
