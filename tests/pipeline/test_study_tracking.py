"""A study in MLflow: its run above those of its arms, and what is compared in columns."""

from pathlib import Path
from typing import Any

import pytest

from medssl.pipeline.comparison import Headline
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import Within
from medssl.pipeline.study import load_study
from medssl.pipeline.study_run import run_study
from medssl.pipeline.study_tracking import _described
from medssl.train.mlflow_run import NOTE
from medssl.train.track import Tracker
from tests.pipeline.conftest import write_untrained

STUDY = (
    "{title: Two budgets, pipeline: balls, labels: [2, 3], seeds: [0], reference: plain, "
    "arms: {plain: [], noisy: [method.noise=0.1]}}"
)


def test_a_study_is_one_run_with_its_report_above_those_of_its_arms(
    balls: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        if job.plan.config.method.noise and job.plan.config.pipeline.split.labels == 3:
            raise RuntimeError("out of memory")
        write_untrained(job.plan.config, job.plan.folder("train"))
        return {}

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY)
    end = run_study(load_study("balls_study"), QuietReporter(), command="c")
    assert len(end.failures) == 1

    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("balls")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    (study,) = (run for run in runs if run.data.tags["stage"] == "study")
    assert (study.info.run_name, study.info.status) == ("Two budgets", "FINISHED")
    kept = {one.path for one in client.list_artifacts(study.info.run_id)}
    assert kept == {"study.csv", "summary.md", "learning_curve.csv", "learning_curve.png"}
    assert study.data.params["arms.noisy"] == "method.noise=0.1"
    words = "1: arm noisy, labels 3, seed 0: unexpected RuntimeError: out of memory"
    assert study.data.tags["runs_failed"] == words
    description = study.data.tags["mlflow.note.content"]
    assert "| plain | 1 | " in description, "the table is at the head of the study's page"
    assert not description.startswith("#"), "under the study's name, without it"
    curve = client.get_metric_history(study.info.run_id, "score/plain")
    assert [point.step for point in curve] == [2, 3]

    wholes = [run for run in runs if run.data.tags["stage"] == "run"]
    assert len(wholes) == 4
    for run in wholes:
        tags, numbers = run.data.tags, run.data.metrics
        assert tags["mlflow.parentRunId"] == study.info.run_id
        assert (tags["study"], tags["method"], tags["seed"]) == ("balls_study", "supervised", "0")
        assert run.info.run_name == f"{tags['arm']}: supervised, {tags['labels']} labels, seed 0"
        assert (tags["arm"], tags["labels"], tags["data"]) in [
            (arm, labels, "balls") for arm in ("plain", "noisy") for labels in ("2", "3")
        ]
        if run.info.status == "FAILED":
            assert tags["failure"] == "unexpected RuntimeError: out of memory"
            assert tags["mlflow.note.content"] == tags["failure"]
            continue
        assert "mlflow.note.content" not in tags
        assert tags["score"] == "Dice"
        assert numbers["test/score"] == numbers["dice"]
        assert numbers["test/score_low"] <= numbers["test/score"] <= numbers["test/score_high"]
        (data,) = run.inputs.dataset_inputs
        assert data.dataset.name == "balls"
        assert '"test": 3' in data.dataset.profile
    assert [run.info.status for run in wholes].count("FAILED") == 1
    trained = [run for run in runs if run.data.tags["stage"] == "train" and run.outputs]
    made = {one.model_id for run in trained for one in run.outputs.model_outputs}
    used = [
        one.model_id
        for run in runs
        if run.data.tags["stage"] == "evaluate"
        for one in client.get_run(run.info.run_id).inputs.model_inputs
    ]
    assert len(made) == 3
    assert set(used) == made
    finished = [run.info.run_id for run in wholes if run.info.status == "FINISHED"]
    shown = [one.model_id for id_ in finished for one in client.get_run(id_).inputs.model_inputs]
    assert sorted(shown) == sorted(made), "the rows of whole runs show their models"
    (data,) = study.inputs.dataset_inputs
    assert data.dataset.name == "balls"
    used = [one.model_id for one in client.get_run(study.info.run_id).inputs.model_inputs]
    assert sorted(used) == sorted(made)
    for _ in range(2):  # nothing doubles where the report is made again
        arms = [client.get_logged_model(one.model_id) for one in _outputs(client, study)]
        assert sorted(one.name for one in arms) == ["noisy", "plain"]
        assert {one.source_run_id for one in arms} == {study.info.run_id}, "MLflow's column Models"
        assert {id_ for one in arms for id_ in one.tags["models"].split()} == made
        (noisy,) = (one for one in arms if one.name == "noisy")
        assert noisy.tags["settings"] == "method.noise=0.1"
        assert f"Dice of 2 labels: {noisy.tags['Dice of 2 labels']}" in noisy.tags[NOTE]
        assert {one.status for one in arms} == {"READY"}
        run_study(load_study("balls_study"), QuietReporter(), command="c")


def _outputs(client: Any, run: Any) -> Any:
    return client.get_run(run.info.run_id).outputs.model_outputs


def test_a_long_report_is_cut_between_two_lines(tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("# Title\n\n" + "| cell |\n" * 1000)
    *lines, _, last = _described(tmp_path / "summary.md").splitlines()
    assert set(lines) == {"| cell |"}
    assert last == "The rest is in summary.md, among the artifacts."


@pytest.mark.parametrize(
    ("arm", "name"),
    [("supervised", "supervised, 4 labels, seed 0"), ("a", "a: supervised, 4 labels, seed 0")],
)
def test_a_name_says_nothing_twice(balls: Path, arm: str, name: str) -> None:
    config = load_config("balls", ["split.labels=4"])
    within = Within(balls / "runs" / "balls" / "study", arm, {})
    plan = make_plan(config, cohort_of(config))
    assert Job(plan, QuietReporter(), within).subject.label == name


def test_a_run_that_was_killed_is_ended_by_its_study_though_its_arm_is_taken_out(
    balls: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    class Kill(BaseException):
        """Ends what it is raised in, and tells nobody."""

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        if job.plan.config.method.noise:
            raise Kill
        write_untrained(job.plan.config, job.plan.folder("train"))
        return {}

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    text = STUDY.replace("[2, 3]", "[2]")
    (balls / "pipelines" / "balls_study.yaml").write_text(text)
    with monkeypatch.context() as killed:
        killed.setattr(Tracker, "__exit__", lambda *_: None)
        with pytest.raises(Kill):
            run_study(load_study("balls_study"), QuietReporter())

    client = MlflowClient(mlflow_store)

    def ended(arm: str) -> dict[str, str]:
        found = client.search_runs([client.get_experiment_by_name("balls").experiment_id])
        return {
            run.data.tags["stage"]: run.info.status
            for run in found
            if run.data.tags.get("arm") == arm
        }

    assert ended("noisy") == {"run": "RUNNING", "train": "RUNNING"}
    (balls / "pipelines" / "balls_study.yaml").write_text(
        text.replace(", noisy: [method.noise=0.1]", "")
    )
    run_study(load_study("balls_study"), QuietReporter())
    assert ended("noisy") == {"run": "KILLED", "train": "KILLED"}
    assert set(ended("plain").values()) == {"FINISHED"}


@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ({}, None),
        ({"dice": 0.5}, Headline("Dice", 0.5, 0.4, 0.6)),
        ({"dice": 0.5, "dice_low": 0.1, "dice_high": 0.9}, Headline("Dice", 0.5, 0.1, 0.9)),
    ],
)
def test_the_number_that_runs_are_ranked_by(
    numbers: dict[str, float], found: Headline | None
) -> None:
    from medssl.families.segment.comparison import CaseTable, SegmentComparison
    from medssl.pipeline.comparison import Result

    cases = {f"c{n}": {"dice": 0.4 + 0.2 * (n % 2), "hd95": 1.0, "asd": 1.0} for n in range(2)}
    run = Result(Path("x"), {}, numbers, CaseTable(cases), "")
    told = SegmentComparison().headline(run)
    assert (told is None) == (found is None)
    if told is not None and found is not None:
        assert told.name == found.name
        ends = (found.value, found.low, found.high)
        assert (told.value, told.low, told.high) == pytest.approx(ends)
