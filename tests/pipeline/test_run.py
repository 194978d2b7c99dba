"""A whole run on a toy data set, with a training stage that costs nothing."""

from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from medssl.errors import Stopped, UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_result
from medssl.pipeline.run import run


def test_a_run_leaves_masks_on_the_images_grids_scores_and_a_report(
    balls: Path, untrained: list[str], figures: None
) -> None:
    config = load_config("balls")
    done = run(config, QuietReporter())
    test = make_plan(config).cohort.split.test
    assert len(test) == 3
    for case in test:
        mask = sitk.ReadImage(str(done["masks"] / f"{case}.nii.gz"))
        image = sitk.ReadImage(str(balls / "data" / "balls" / f"{case}.nii.gz"))
        assert mask.GetSize() == image.GetSize()
        assert mask.GetSpacing() == image.GetSpacing()
        assert set(sitk.GetArrayViewFromImage(mask).ravel()) <= {0, 3}
        assert (done["masks"] / f"{case}_entropy.nii.gz").is_file()
    assert {line.split(",")[0] for line in done["scores"].read_text().splitlines()[1:]} == set(test)
    assert "<html" in done["report"].read_text()


def test_what_is_done_is_not_done_again(balls: Path, untrained: list[str]) -> None:
    run(load_config("balls"), QuietReporter())
    run(load_config("balls"), QuietReporter())
    run(load_config("balls", ["evaluate.tolerance=3"]), QuietReporter())
    assert len(untrained) == 1
    run(load_config("balls", ["seed=1"]), QuietReporter())
    assert len(untrained) == 2


def test_a_stopped_run_continues_where_it_was(
    balls: Path, untrained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> dict[str, Any]:
        raise Stopped("training stopped after step 1")

    with monkeypatch.context() as stopping:
        stopping.setattr("medssl.families.segment.train.train", stop)
        with pytest.raises(Stopped):
            run(load_config("balls"), QuietReporter())
    plan = make_plan(load_config("balls"))
    assert not plan.stages["train"].done
    assert not plan.stages["run"].done
    done = run(load_config("balls"), QuietReporter())
    assert done["report"].is_file()


def test_without_test_cases_nothing_is_scored_and_this_is_said(
    balls: Path, untrained: list[str]
) -> None:
    done = run(load_config("balls", ["split.test=0"]), QuietReporter())
    assert "nothing was scored" in str(done)
    assert list(done.paths) == ["model"]
    assert len(untrained) == 1


def test_best_weights_need_validation_cases(balls: Path, untrained: list[str]) -> None:
    overrides = ["split.validation=0", "predict.checkpoint=best"]
    with pytest.raises(UsageError, match="needs validation cases"):
        run(load_config("balls", overrides), QuietReporter())


def test_each_stage_is_an_mlflow_run_under_the_runs_own(
    balls: Path, untrained: list[str], mlflow_store: str
) -> None:
    from mlflow import MlflowClient

    done = run(load_config("balls"), QuietReporter())
    client = MlflowClient(mlflow_store)
    (experiment,) = (one for one in client.search_experiments() if one.name == "balls")
    runs = {one.data.tags["stage"]: one for one in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"run", "train", "predict", "evaluate"}
    parent = runs["run"].info.run_id
    for stage in ("train", "predict", "evaluate"):
        assert runs[stage].data.tags["mlflow.parentRunId"] == parent
    whole = read_result(done["scores"].parent)
    assert runs["evaluate"].info.run_id == whole.run_id
    assert runs["run"].data.metrics["dice"] == pytest.approx(whole.numbers["dice"])
    assert runs["run"].data.params["train.steps"] == "2"
    kept = {one.path for one in client.list_artifacts(whole.run_id)}
    assert {"scores.csv", "report.html", "overlays"} <= kept
