"""Whole runs on toy radiographs: from files to grades, scores and a report."""

import csv
import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from medssl.cli import app
from medssl.data.dicom.study import image_name
from medssl.errors import DataError, Stopped, UsageError
from medssl.families.grade.evaluate import evaluate_grades
from medssl.families.grade.predict import predict_radiographs
from medssl.families.grade.train import build_method, grade_streams
from medssl.pipeline.compare import compare
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import Outcome, run
from medssl.pipeline.run import train as train_alone
from medssl.train.encoder_checkpoint import read_encoder
from medssl.train.grade_checkpoint import load_grade_checkpoint
from tests.data.conftest import write_dicom
from tests.families.grade.conftest import FEW, draw_joint
from tests.outside.test_outside import install
from tests.told import Told

QUIET = QuietReporter()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_radiographs_become_grades_scores_and_a_report(ran: Path) -> None:
    done = run(load_config("joints"), QUIET)
    graded = rows(done["grades"])
    assert [row["image"] for row in graded] == [f"test{number}" for number in range(12)]
    assert "truth" not in graded[0]
    for row in graded:
        shares = [float(row[f"probability {name}"]) for name in ("none", "mild", "severe")]
        assert math.fsum(shares) == pytest.approx(1, abs=1e-12)
        assert row["grade"] == ("none", "mild", "severe")[int(np.argmax(shares))]
    scored = rows(done["scores"])
    right = sum(row["truth"] == row["grade"] for row in scored)
    assert right >= 9  # the toy is easy
    page = done["report"].read_text()
    assert "Simulated data" in page
    assert page.count("Saliency of") >= 3  # one right of each grade, and the wrong ones
    assert "ROC curve" in page
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    assert summary["balanced_accuracy"] == pytest.approx(right / 12)
    score = f"balanced accuracy {right / 12:.3f} ["
    assert str(done).startswith(score)
    assert "] on 12 test images\n" in str(done)
    assert {"kappa", "mse", "auc", "average_precision", "ece", "ece_uncalibrated"} <= set(summary)


def test_a_run_ends_with_the_command_that_grades_images_without_a_grade(ran: Path) -> None:
    done = run(load_config("joints"), QUIET)
    (line,) = [line for line in done.found if "no grade yet" in line]
    command = f"medssl predict {done['model']} {ran / 'data' / 'joints'} --out grades/joints"
    assert line == f"10 images have no grade yet: `{command}` grades what is there"
    keys = ["--device", "cpu", "--set", "side=L"]
    told = CliRunner().invoke(app, [*shlex.split(command)[1:], *keys])
    assert told.exit_code == 0, told.output
    graded = {row["image"] for row in rows(Path("grades/joints/grades.csv"))}
    assert {f"bare{number}" for number in range(10)} <= graded


def test_a_metric_of_torchmetrics_stands_in_summary_report_and_log(ran: Path) -> None:
    plain = load_config("joints")
    done = run(load_config("joints", ["evaluate.metrics=[torchmetrics:MatthewsCorrCoef]"]), QUIET)
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    key = "torchmetrics:MatthewsCorrCoef"
    assert summary[f"{key}_low"] <= summary[key] <= summary[f"{key}_high"]
    assert "MatthewsCorrCoef ↑" in done["report"].read_text()
    (last,) = [line for line in logged(done["report"].parent) if key in line]
    assert last[key] == summary[key]
    assert make_plan(plain).folder("predict") == done["grades"].parent
    chosen = [f"metrics=[{key}]", "bootstrap=100"]
    said = evaluate_grades(done["grades"], plain.spec, ran / "scored", QUIET, chosen)
    assert f", {key} {summary[key]:.3f}\n" in said


def test_a_metric_of_another_package_stands_there_too(
    joints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(joints / "site"))
    done = run(load_config("joints", ["evaluate.metrics=[within_one]"]), QUIET)
    summary = json.loads((done["report"].parent / "done.json").read_text())["summary"]
    opposite = {"none", "severe"}
    near = [{row["grade"], row["truth"]} != opposite for row in rows(done["scores"])]
    assert summary["within_one"] == np.mean(near)
    assert summary["within_one_low"] <= summary["within_one"] <= summary["within_one_high"]
    assert "Within one grade ↑" in done["report"].read_text()
    with pytest.raises(
        UsageError, match=r"'volume_error' of evaluate\.metrics scores masks; grades"
    ):
        load_config("joints", ["evaluate.metrics=[volume_error]"])


def test_validation_chooses_the_weights_and_the_temperature(ran: Path) -> None:
    config = load_config("joints")
    checkpoints = train_alone(config, QUIET)["model"].parent
    lines = [line for line in logged(checkpoints.parent) if "score" in line]
    assert [line["step"] for line in lines] == [20, 40, 60]
    best = max(lines, key=lambda line: line["score"])
    _, found = load_grade_checkpoint(checkpoints / "best")
    assert found.step == best["step"]
    assert found.metrics["score"] == (best["kappa"] + best["balanced_accuracy"]) / 2
    assert found.metrics.keys() == {"score", "kappa", "balanced_accuracy", "log_loss"}
    assert 0.05 <= found.temperature <= 20
    assert (found.grades, found.views) == (("none", "mild", "severe"), ("lateral", "medial"))


def test_collapse_would_show_on_unlabelled_images(joints: Path) -> None:
    config = load_config("joints", ["train.steps=10"])
    folder = train_alone(config, QUIET)["model"].parents[1]
    (line,) = (line for line in logged(folder) if "pool_entropy" in line)
    assert 0 < line["pool_entropy"] <= math.log(3)
    assert 0 <= line["pool_information"] <= math.log(3)
    bare = train_alone(load_config("joints", ["train.steps=10", "train.watched=0"]), QUIET)
    assert not [line for line in logged(bare["model"].parents[1]) if "pool_entropy" in line]


def test_without_validation_images_the_last_weights_grade_uncalibrated(joints: Path) -> None:
    more = ["split.validation=0", "train.steps=4"]
    with pytest.raises(UsageError, match=r"best needs validation images.*checkpoint=last"):
        run(load_config("joints", more), QUIET)
    done = run(load_config("joints", [*more, "predict.checkpoint=last"]), QUIET)
    assert load_grade_checkpoint(done["model"])[1].temperature == 1
    assert not (done["model"].parent / "best").exists()


@pytest.mark.parametrize(
    ("method", "pool"), [("semixup", 12 + 22), ("ict", 22), ("supervised_mixup", None)]
)
def test_a_method_draws_from_the_pool_it_asks_for(
    joints: Path, method: str, pool: int | None
) -> None:
    config = load_config("joints", [f"method={method}"])
    plan = make_plan(config)
    crops = np.zeros((len(plan.cohort.cases), 2, 20, 20), np.uint8)
    streams = grade_streams(plan, plan.cohort.split, build_method(config), crops)
    names = set(streams["labelled"].batch(0).ids + streams["labelled"].batch(1).ids)
    assert names == set(plan.cohort.split.labelled)
    if pool is None:
        assert set(streams) == {"labelled"}
        return
    assert len(streams["unlabelled"].ids) == pool
    held = {*plan.cohort.split.validation, *plan.cohort.split.test}
    assert not held & set(streams["unlabelled"].ids.values())


def test_without_unlabelled_images_the_labelled_ones_take_their_place(joints: Path) -> None:
    for method in ("semixup", "ict"):
        config = load_config("joints", [f"method={method}", "split.unlabelled=0"])
        plan = make_plan(config)
        crops = np.zeros((len(plan.cohort.cases), 2, 20, 20), np.uint8)
        found = grade_streams(plan, plan.cohort.split, build_method(config), crops)["unlabelled"]
        assert set(found.ids.values()) == set(plan.cohort.split.labelled)


def test_test_grades_are_not_read_before_evaluation(ran: Path) -> None:
    config = load_config("joints", FEW)
    first = make_plan(config)
    run(config, QUIET)
    table = ran / "data" / "joints" / "labels.csv"
    table.write_text(table.read_text().replace("test0.png,0", "test0.png,2"))
    second = make_plan(config)
    assert (second.stages["train"].key, second.stages["predict"].key) == (
        first.stages["train"].key,
        first.stages["predict"].key,
    )
    assert second.stages["evaluate"].key != first.stages["evaluate"].key
    table.write_text(table.read_text().replace("val0.png,0", "val0.png,2"))
    assert make_plan(config).stages["train"].key != first.stages["train"].key


def test_what_is_done_is_not_done_again_and_a_change_is(ran: Path) -> None:
    config = load_config("joints", FEW)
    done = run(config, QUIET)
    when = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.json")}
    assert run(config, QUIET) == done
    assert when == {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.json")}
    other = run(load_config("joints", [*FEW, "seed=1"]), QUIET)
    assert other["model"] != done["model"]
    rescored = run(load_config("joints", [*FEW, "evaluate.disease_from=1"]), QUIET)
    assert rescored["model"] == done["model"]
    assert rescored["report"] != done["report"]


def test_how_fast_it_is_done_does_not_change_what_is_done(joints: Path) -> None:
    keys = {
        make_plan(load_config("joints", [one])).last.key
        for one in ("train.threads=2", "train.device=auto", "predict.batch=5", "train.log_every=3")
    }
    assert len(keys) == 1


class StopAfter(QuietReporter):
    """Asks for a stop, as a signal would, after a step."""

    def __init__(self, step: int) -> None:
        self._last = step

    def step(self, step: int, values: dict[str, float]) -> None:
        import os
        import signal

        if step == self._last and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_training_goes_on_to_the_same_bits(joints: Path) -> None:
    config = load_config("joints", ["method=semixup", "train.steps=12"])
    with pytest.raises(Stopped):
        run(config, StopAfter(5))
    continued = run(config, QUIET)
    weights = load_file(continued["model"] / "weights.safetensors")
    unbroken = run(config, QUIET, resume=False)
    again = load_file(unbroken["model"] / "weights.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_new_file_is_graded_where_neither_pipeline_nor_data_exist(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(load_config("joints"), QUIET)
    checkpoint, expected = done["model"].absolute(), rows(done["grades"])
    left = (ran / "data/joints/test2.png").rename(ran / "new.png")  # severe, side L
    pixels = np.asarray(Image.open(left)).astype(np.uint16) * 16
    write_dicom(ran / "IM7", pixels.max() - pixels, PhotometricInterpretation="MONOCHROME1",
                Laterality="L")  # fmt: skip
    monkeypatch.chdir(ran.parent)
    monkeypatch.delenv("MEDSSL_DATA")
    files = [left, ran / "IM7"]
    out = predict_radiographs(checkpoint, files, ran / "out", ["side=L"], QUIET)
    png, dicom = rows(out)
    assert (png["image"], dicom["image"]) == ("new", image_name(ran / "IM7"))
    for name in ("none", "mild", "severe"):
        share = f"probability {name}"
        assert float(png[share]) == pytest.approx(float(expected[2][share]), abs=1e-5)
        assert float(dicom[share]) == pytest.approx(float(png[share]), abs=1e-3)
    assert "Doe" not in out.read_text()
    kept = out.read_bytes()
    predict_radiographs(checkpoint, files, out.parent, ["side=L"], QUIET)
    assert out.read_bytes() == kept
    for other, words in ((files[:1], "made of other files"), (files, "made with other settings")):
        with pytest.raises(UsageError, match=f"already holds other predictions; {words}"):
            predict_radiographs(
                checkpoint, other, out.parent, ["side=L", "spacing=1"][: len(other)], QUIET
            )
    out.write_text("image,grade\n")
    with pytest.raises(UsageError, match=r"grades\.csv is in the way; .*changed after medssl"):
        predict_radiographs(checkpoint, files, out.parent, ["side=L"], QUIET)
    predict_radiographs(checkpoint, files, out.parent, ["side=L"], QUIET, overwrite=True)
    assert out.read_bytes() == kept
    with pytest.raises(UsageError, match="holds the input"):
        predict_radiographs(checkpoint, files, ran, ["side=L"], QUIET)


def test_files_that_cannot_be_graded_are_named_and_nothing_is_written(ran: Path) -> None:
    checkpoint = train_alone(load_config("joints", FEW), QUIET)["model"]
    image, out = ran / "data/joints/test0.png", ran / "out"
    with pytest.raises(DataError, match=r"left or the right side.*--set side"):
        predict_radiographs(checkpoint, [image], out, [], QUIET)
    with pytest.raises(DataError, match="is no radiograph"):
        predict_radiographs(checkpoint, [ran / "pipelines/joints.yaml"], out, [], QUIET)
    with pytest.raises(DataError, match="does not exist"):
        predict_radiographs(checkpoint, [Path("nowhere.png")], out, [], QUIET)
    with pytest.raises(UsageError, match="did you mean 'side'"):
        predict_radiographs(checkpoint, [image], out, ["sides=L"], QUIET)
    write_dicom(ran / "r.dcm", np.eye(9, dtype=np.uint8), Laterality="R")
    with pytest.raises(UsageError, match="is of the side R by its header"):
        predict_radiographs(checkpoint, [ran / "r.dcm"], out, ["side=L"], QUIET)
    assert not out.exists()


def test_a_damaged_checkpoint_is_refused(ran: Path) -> None:
    checkpoint = train_alone(load_config("joints", FEW), QUIET)["model"]
    (checkpoint / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"weights\.safetensors is damaged"):
        load_grade_checkpoint(checkpoint)
    (checkpoint / "SHA256SUMS").unlink()
    description = checkpoint / "checkpoint.json"
    description.write_text(description.read_text().replace('"grades"', '"grade"'))
    with pytest.raises(DataError, match="cannot be understood"):
        load_grade_checkpoint(checkpoint)


def test_whole_images_and_a_resnet_train_too(joints: Path) -> None:
    spec = joints / "data_specs" / "joints.yaml"
    spec.write_text(
        spec.read_text().replace("kind: radiographs", "kind: radiographs\n  spacing: 1")
    )
    pipeline = joints / "pipelines" / "joints.yaml"
    plain = pipeline.read_text().splitlines()
    plain = [line for line in plain if not line.startswith(("preprocess:", "network:"))]
    pipeline.write_text(
        "\n".join([*plain, "preprocess: {radiograph: {field: 40, side: 64}}", "network: resnet"])
    )
    done = run(load_config("joints", ["train.steps=2"]), QUIET)
    assert load_grade_checkpoint(done["model"])[1].views == ("whole",)
    assert len(rows(done["grades"])) == 12


def test_a_chain_of_ones_own_trains_predicts_and_is_remembered(joints: Path) -> None:
    chain = "preprocess=[{GaussianSmoothd: {sigma: 0.5}}, {radiograph: {field: null, side: 20}}]"
    views = "augment=[semixup, {RandGaussianNoised: {prob: 0.5, std: 0.05}}]"
    done = run(load_config("joints", [chain, views, "train.steps=4"]), QUIET)
    _, found = load_grade_checkpoint(done["model"])
    assert found.preprocess.steps[0].name == "GaussianSmoothd"
    assert found.views == ("whole",)
    file, out = joints / "data/joints/test2.png", joints / "out"
    (new,) = rows(predict_radiographs(done["model"], [file], out, [], QUIET))
    share = "probability severe"
    assert float(new[share]) == pytest.approx(float(rows(done["grades"])[2][share]), abs=1e-5)


def test_a_checkpoint_of_before_there_were_chains_loads(ran: Path) -> None:
    checkpoint = train_alone(load_config("joints", FEW), QUIET)["model"]
    network, found = load_grade_checkpoint(checkpoint)
    description = checkpoint / "checkpoint.json"
    plain = json.loads(description.read_text())
    del plain["preprocess"], plain["views"]
    crop = {"mode": "joint", "field": None, "grid": 40, "rows": [10, 30], "columns": 20}
    crop |= {"side": 20, "percentiles": [5.0, 99.0], "mirror": None}
    (checkpoint / "SHA256SUMS").unlink()
    description.write_text(json.dumps(plain | {"crop": crop}))
    again, old = load_grade_checkpoint(checkpoint)
    assert (old.preprocess, old.views) == (found.preprocess, found.views)
    assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))


def test_an_encoder_from_a_file_is_told_of_and_known_by_its_content(joints: Path) -> None:
    from safetensors.torch import save_file

    network = build_method(load_config("joints", ["seed=7"])).predictor()
    weights = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    save_file(weights, "encoder.safetensors")
    config = load_config("joints", ["train.steps=2", "network.weights=encoder.safetensors"])
    told, key = Told(), make_plan(config).stages["train"].key
    train_alone(config, told)
    assert any("100.0% of the parameters matched" in text for text in told.notes)
    save_file({name: value + 1 for name, value in weights.items()}, "encoder.safetensors")
    assert make_plan(config).stages["train"].key != key


def test_unknown_patients_are_noted(joints: Path) -> None:
    spec = joints / "data_specs" / "joints.yaml"
    spec.write_text(spec.read_text().replace("{side: side}", "{side: side, patient: null}"))
    told = Told()
    done = run(load_config("joints", ["train.steps=2"]), told)
    assert any("each counts as its own" in text for text in told.notes)
    assert "Nothing says which images are of one patient" in done["report"].read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split.label=4"], "did you mean 'split.labels'"),
        (["preprocess.joint.field=110"], r"asks for mm.*declares no spacing"),
        (["preprocess.joint.side=12"], "too small for the network siamese"),
        (["crop.side=20"], r"the keys of `crop` belong to words.*`preprocess: {joint: {...}}`"),
        (["augment.noise=0"], "noise is a key of semixup|several transforms are a list"),
        (["augment={noise: 0}"], "noise is a key of semixup|several transforms are a list"),
        (["augment=[semixup, {RandZoomd: {keep_size: false, prob: 1}}]"], "the size of crops"),
        (
            ["preprocess=[{Spacingd: {pixdim: [1, 1]}}, {radiograph: {field: null}}]"],
            "Spacingd asks for mm; .* joints declares no spacing; leave it out",
        ),
        (["preprocess=['medssl:StretchPercentilesd']"], "makes no square picture"),
        (["preprocess=[Resizd, radiograph]"], "no transform is called 'Resizd'; .* 'Resized'"),
        (["augment=[RandGausianNoised]"], "is called 'RandGausianNoised'; .* 'RandGaussianNoised'"),
        (["preprocess={joint: {sides: 3}}"], r"unknown key 'joint\.sides'.*'joint\.side'"),
        (["evaluate.disease_from=3"], "is no grade of joints; its grades are none, mild, severe"),
        (["method=semixp"], "did you mean 'semixup'"),
        (["method=tracoco"], "tracoco learns from volumes; .* joints holds radiographs"),
        (["data=hippocampus"], "learns from radiographs; .* hippocampus holds volumes"),
        (["split.labels=20"], "more than the 8 training images of none"),
        (["method.name=semixup", "method.alpha=-1"], "method.alpha=-1 is wrong"),
    ],
)
def test_mistakes_get_a_sentence(joints: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(load_config("joints", overrides))


def test_segmentation_refuses_radiographs_and_names_methods_that_fit(joints: Path) -> None:
    assert load_config("joints").family.name == "grade"
    with pytest.raises(UsageError, match=r"holds radiographs; .*a method for this one: .*semixup"):
        load_config("joints", ["method=supervised"])


def test_a_data_set_without_test_images_can_be_trained_on_alone(joints: Path) -> None:
    table = joints / "data" / "joints" / "labels.csv"
    kept = [line for line in table.read_text().splitlines() if not line.startswith("test")]
    table.write_text("\n".join(kept) + "\n")
    config = load_config("joints", ["split.test=0", "train.steps=2"])
    with pytest.raises(UsageError, match="there are no test images"):
        run(config, QUIET)
    assert train_alone(config, QUIET)["model"].with_name("last").is_dir()


def test_runs_are_compared_image_by_image(joints: Path) -> None:
    with pytest.raises(UsageError, match="no finished runs"):
        compare("joints", "supervised_mixup")
    for method in ("supervised_mixup", "supervised_grading"):
        run(load_config("joints", ["train.steps=4", f"method={method}"]), QUIET)
    head, first, second = str(compare("joints", "supervised_mixup")).splitlines()
    assert "- supervised_mixup" in head
    assert first.split()[:3] == ["supervised_grading", "4", "0"]
    assert second.split()[:3] == ["supervised_mixup", "4", "0"]
    assert first.count("[") == 3  # its own, and those of both differences
    assert second.count("[") == 1
    with pytest.raises(UsageError, match="did you mean --reference 'supervised_grading'"):
        compare("joints", "supervised_gradin")


def test_the_toy_is_what_it_says() -> None:
    rng = np.random.default_rng(0)
    dark = [(draw_joint(grade, rng) < 100).sum() for grade in range(3)]
    assert dark == sorted(dark, reverse=True)


ENCODER = """
title: Encoder of toy joints
data: [joints]
network:
  name: slice_unet
  decoder_width: 2
  slice_encoder: {name: conv, width: 4, levels: 2, norm: group}
  slice_transformer: {width: 8, layers: 1, heads: 2, points: 2, hidden: 8}
method: {name: joint2d3d, preset: small, weights: {mask: 0, inter: 0}}
train:
  steps: 2
  joint: {images: 4, volumes: 0, side: 20}
  validate_every: 2
  device: cpu
probe: {patients: 0}
"""

SLICES = """
title: Toy joints from a pre-trained encoder
data: joints
split: {labels: 2, validation: null}
preprocess: {joint: {field: null, grid: 40, rows: [10, 30], columns: 20, side: 20}}
network:
  name: slices
  dropout: 0
  slice_encoder: {name: conv, width: 4, levels: 2, norm: group}
method: supervised_grading
train: {steps: 3, validate_every: 3, device: cpu, threads: 1}
evaluate: {bootstrap: 100, overlays: 0}
"""


@pytest.fixture
def from_encoder(joints: Path) -> Path:
    """The toy joints, a pipeline that pre-trains on them and one that may start from it."""
    (joints / "pipelines" / "encoder.yaml").write_text(ENCODER)
    (joints / "pipelines" / "slices.yaml").write_text(SLICES)
    return joints


def weights_of(done: Outcome) -> dict[str, torch.Tensor]:
    return load_file(done["model"].with_name("last") / "weights.safetensors")


def test_a_grader_starts_from_an_encoder_that_its_pipeline_pre_trains(from_encoder: Path) -> None:
    told = Told()
    done = run(load_config("slices", ["pretrain=encoder"]), told)
    assert any(note.startswith("encoder: 100.0%") for note in told.notes), told.notes
    found = sorted((from_encoder / "runs" / "encoder").glob("pretrain-*/checkpoint/last"))
    assert len(found) == 1
    seen = read_encoder(found[0]).seen
    assert seen
    assert not any("test" in patient for patient in seen)
    again = run(load_config("slices", [f"pretrain={found[0]}"]), QUIET)
    assert again["scores"] == done["scores"], "the same encoder by its folder is the same run"


def test_a_linear_probe_leaves_the_encoder_as_it_was(from_encoder: Path) -> None:
    probe = ["network.frozen=true", "pretrain=encoder"]
    frozen = weights_of(train_alone(load_config("slices", probe), QUIET))
    whole = weights_of(train_alone(load_config("slices", ["pretrain=encoder"]), QUIET))
    started = next((from_encoder / "runs" / "encoder").glob("pretrain-*/checkpoint/last"))
    encoder = load_file(started / "weights.safetensors")
    names = [name for name in frozen if name.startswith("encoder.")]
    assert names
    for name in names:
        given = encoder[name.removeprefix("encoder.")]
        assert torch.equal(frozen[name], given)
    assert any(not torch.equal(whole[name], frozen[name]) for name in names)
    assert not torch.equal(whole["head.weight"], frozen["head.weight"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.slice_encoder.width=8"], r"does not fit.*network\.name=slices.*width=4"),
        (["network={name: siamese}"], r"does not fit.*network\.name=slices"),
    ],
)
def test_an_encoder_that_does_not_fit_is_told_before_it_is_trained(
    from_encoder: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(load_config("slices", ["pretrain=encoder", *overrides]), QUIET)
    assert not (from_encoder / "runs").exists()
