"""A cross-validation of grading: who is left out, what is scored, and which model is left."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from medssl.cli import app
from medssl.errors import Stopped, UsageError
from medssl.families.grade.cross_validation import TEMPERATURES, choose_temperatures
from medssl.families.grade.predict import predict_radiographs
from medssl.pipeline.config import load_config
from medssl.pipeline.folds import chosen_for
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.study import load_study
from medssl.pipeline.study_run import run_study
from medssl.train.grade_checkpoint import load_grade_checkpoint
from tests.families.grade.test_grade_run import StopAfter

QUIET = QuietReporter()
SHORT = ("train.steps=4", "evaluate.overlays=1")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def untested(joints: Path) -> None:
    """No image is declared for test any more."""
    table = joints / "data" / "joints" / "labels.csv"
    kept = [line for line in table.read_text().splitlines() if not line.startswith("test")]
    table.write_text("\n".join(kept) + "\n")


def grades(name: str) -> int:
    return int(name.removeprefix("train")) % 3


def test_every_labelled_image_is_left_out_once_and_grades_are_spread(joints: Path) -> None:
    cohort = make_plan(load_config("joints", ["split.folds=4"])).cohort
    left = [name for fold in cohort.folds for name in fold.test]
    assert sorted(left) == sorted(cohort.split.labelled)
    for fold in cohort.folds:
        assert Counter(map(grades, fold.test)) == {0: 1, 1: 1, 2: 1}
        assert fold.validation == cohort.split.validation
        assert not set(fold.test) & {*fold.labelled, *fold.unlabelled}
    assert {case.id for case in cohort.test} == set(cohort.split.test)


def test_images_of_a_patient_are_left_out_together_unlabelled_ones_too(joints: Path) -> None:
    table = joints / "data" / "joints" / "labels.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    for line in lines[1:]:
        if line[0].startswith("train"):
            line[2] = f"q{int(line[0][5:-4]) // 4}"
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    cohort = make_plan(load_config("joints", ["split.folds=3"])).cohort
    patient = {case.id: case.patient for case in cohort.cases}
    for fold in cohort.folds:
        learnt = {patient[name] for name in (*fold.labelled, *fold.unlabelled)}
        assert not {patient[name] for name in fold.test} & learnt


def test_folds_of_fewer_labels_are_parts_of_those_of_more(joints: Path) -> None:
    def tests(labels: str) -> list[set[str]]:
        config = load_config("joints", ["split.folds=3", f"split.labels={labels}"])
        return [set(fold.test) for fold in make_plan(config).cohort.folds]

    for smaller, larger in (("2", "4"), ("4", "6"), ("6", "null")):
        for few, many in zip(tests(smaller), tests(larger), strict=True):
            assert few <= many


@pytest.mark.parametrize("final", ["refit", "ensemble"])
def test_without_test_images_those_that_are_left_out_are_scored(joints: Path, final: str) -> None:
    untested(joints)
    how = ["split={folds: 2, test: 0}", f"split.final={final}", *SHORT]
    config = load_config("joints", how)
    done, cohort = run(config, QUIET), make_plan(config).cohort
    scored = rows(done["scores"])
    assert sorted(row["image"] for row in scored) == sorted(cohort.split.labelled)
    _, found = load_grade_checkpoint(done["model"])
    assert found.members == (1 if final == "refit" else 2)
    assert found.split_hash == cohort.split.hash
    assert found.metrics.keys() == {"score", "kappa", "balanced_accuracy", "log_loss"}
    page = done["report"].read_text()
    assert "Cross-validated on 12 labelled images, each answered by one of 2 models" in page
    assert "models of folds drawn first" in page
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    assert summary["images"] == 12
    assert run(config, QUIET).paths == done.paths


def test_an_image_is_graded_by_the_fold_that_left_it_out(joints: Path) -> None:
    untested(joints)
    config = load_config("joints", ["split={folds: 2, test: 0}", *SHORT])
    done = run(config, QUIET)
    plan = make_plan(config)
    first = plan.cohort.folds[0].test[0]
    side = {case.id: case.extra["side"] for case in plan.cohort.cases}[first]
    model = plan.folder("train") / "fold0" / "checkpoint" / "best"
    out = predict_radiographs(
        model, [joints / f"data/joints/{first}.png"], joints / "out", [f"side={side}"], QUIET
    )
    (alone,) = rows(out)
    (same,) = [row for row in rows(done["grades"]) if row["image"] == first]
    assert float(alone["probability mild"]) == pytest.approx(
        float(same["probability mild"]), abs=1e-5
    )


def test_an_ensemble_answers_with_the_mean_of_the_folds(joints: Path) -> None:
    config = load_config("joints", ["split={folds: 3, final: ensemble}", *SHORT])
    done, plan = run(config, QUIET), make_plan(config)
    image = torch.linspace(-1, 1, 2 * 20 * 20).view(1, 2, 20, 20)
    joined, _ = load_grade_checkpoint(done["model"])
    folds = [plan.folder("train") / f"fold{n}" / "checkpoint" / "best" for n in range(3)]
    with torch.no_grad():
        each = [load_grade_checkpoint(fold)[0](image).softmax(1) for fold in folds]
        assert torch.allclose(joined(image).softmax(1), torch.stack(each).mean(0), atol=1e-6)
    file = joints / "data/joints/test0.png"
    said = CliRunner().invoke(
        app, ["predict", str(done["model"]), str(file), "--out", "graded", "--set", "side=L"]
    )
    assert said.exit_code == 0, said.output
    assert len(rows(joints / "graded" / "grades.csv")) == 1


def test_a_run_that_is_stopped_within_a_fold_goes_on_to_the_same_bits(joints: Path) -> None:
    config = load_config("joints", ["split={folds: 2, final: ensemble}", *SHORT])
    with pytest.raises(Stopped):
        run(config, StopAfter(2))
    plan = make_plan(config)
    assert not (plan.folder("train") / "fold0" / "held_out.json").exists()
    continued = load_file(run(config, QUIET)["model"] / "weights.safetensors")
    logged = (plan.folder("train") / "metrics.jsonl").read_text()
    assert '"fold0/score"' in logged
    assert '"fold1/score"' in logged
    unbroken = load_file(run(config, QUIET, resume=False)["model"] / "weights.safetensors")
    assert continued.keys() == unbroken.keys()
    assert all(torch.equal(continued[name], unbroken[name]) for name in unbroken)


def test_a_study_compares_arms_by_the_images_that_folds_left_out(joints: Path) -> None:
    untested(joints)
    path = joints / "pipelines" / "joints.yaml"
    path.write_text(path.read_text().replace("labels: 4,", "labels: 4, folds: 2, test: 0,"))
    study = load_study("joints_study")
    assert "4 of 8 runs finished" in run_study(study, QUIET, ["labels=2"]).said
    page = Path("runs/joints/study-joints_study/summary.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| pi_model") and "+" in line)
    assert "[" not in row  # each seed has labelled images of its own


def test_declared_test_images_stay_and_the_folds_stand_beside_them(joints: Path) -> None:
    config = load_config("joints", ["split.folds=2", *SHORT])
    done = run(config, QUIET)
    assert {row["image"] for row in rows(done["scores"])} == {f"test{n}" for n in range(12)}
    beside = rows(done["scores"].with_name("cross_validation.csv"))
    assert {row["image"] for row in beside} == set(make_plan(config).cohort.split.labelled)
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    right = sum(row["truth"] == row["grade"] for row in beside)
    assert summary["cross_validation/balanced_accuracy"] == pytest.approx(right / 12)
    assert "models that had not seen it: balanced accuracy" in done["report"].read_text()


def held_out(folder: Path, number: int, count: int, sure: float) -> None:
    """Logits of `count` images of a fold, of which three in four are right."""
    (folder / f"fold{number}").mkdir(parents=True)
    found = {
        f"i{number}_{n}": {"logits": [sure, 0.0], "grade": int(n % 4 == 0)} for n in range(count)
    }
    (folder / f"fold{number}" / "held_out.json").write_text(json.dumps(found))


def test_the_temperature_is_that_of_the_images_that_were_left_out(tmp_path: Path) -> None:
    """softmax([s, 0] / T) is right in three of four where s / T = log 3."""
    held_out(tmp_path, 0, 40, sure=3.0)
    held_out(tmp_path, 1, 40, sure=6.0)
    both = choose_temperatures(tmp_path, 2)
    assert chosen_for(tmp_path / TEMPERATURES, 0) == pytest.approx(6 / np.log(3), rel=1e-3)
    assert chosen_for(tmp_path / TEMPERATURES, 1) == pytest.approx(3 / np.log(3), rel=1e-3)
    assert 3 / np.log(3) < both < 6 / np.log(3)


def test_of_a_handful_of_images_no_temperature_is_chosen(tmp_path: Path) -> None:
    for number in range(2):
        held_out(tmp_path, number, 4, sure=3.0)
    assert choose_temperatures(tmp_path, 2) == 1
    assert chosen_for(tmp_path / TEMPERATURES, 0) == 1


def test_without_validation_images_the_folds_choose_the_temperature(joints: Path) -> None:
    untested(joints)
    more = ["split={folds: 3, labels: null, validation: 0, test: 0}", "predict.checkpoint=last"]
    done = run(load_config("joints", [*more, *SHORT]), QUIET)
    chosen = json.loads((done["model"].parents[1] / "temperatures.json").read_text())
    _, found = load_grade_checkpoint(done["model"])
    assert found.temperature == chosen["final"] != 1
    assert "that suits the images that folds left out" in done["report"].read_text()


def test_what_folds_cannot_say_is_told_by_the_command(joints: Path) -> None:
    said = CliRunner().invoke(
        app, ["run", "joints", "split.folds=5", "split.labels=1", "train.steps=2"]
    )
    assert said.exit_code == 0, said.output
    assert "split.folds=5 is more than the 3 labelled patients, so each" in said.output
    assert said.output.count("cannot learn it and scores it as missed") == 3


def test_one_labelled_patient_or_one_fold_are_refused(joints: Path) -> None:
    table = joints / "data" / "joints" / "labels.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    for line in lines[1:]:
        line[2] = "p" if line[0].startswith("train") else line[2]
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    with pytest.raises(UsageError, match=r"two patients or more; 12 of one .* split\.folds=0"):
        make_plan(load_config("joints", ["split.folds=5"]))
    with pytest.raises(UsageError, match="one fold leaves nothing to learn from; set 2 or more"):
        load_config("joints", ["split.folds=1"])
