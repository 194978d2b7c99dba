"""Studies as manifests, held against the schemas that Kubernetes and Kubeflow publish."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from medssl.errors import UsageError
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study, load_study
from medssl.pipeline.study_run import run_study
from medssl.pipeline.study_tasks import study_folder
from tests.pipeline.test_study_tasks import ENCODER

STUDY = (
    "{pipeline: balls, labels: [2], seeds: [0, 1], reference: plain, arms: "
    "{plain: [], first: [pretrain=encoder], second: [pretrain=encoder, method.noise=0.1]}}"
)
VERSIONS = ("1.34", "1.37")


@pytest.fixture
def study(balls: Path) -> Study:
    (balls / "pipelines" / "encoder.yaml").write_text(ENCODER)
    (balls / "pipelines" / "Balls_study.yaml").write_text(STUDY)
    return load_study("Balls_study")


def written(study: Study, **given: Any) -> dict[str, list[dict[str, Any]]]:
    end = run_study(study, QuietReporter(), executor="kubernetes", words=["Balls_study"], **given)
    folder = study_folder(study) / "kubernetes"
    assert f"apply    sh {folder / 'apply.sh'}" in end.said
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in folder.glob("*.yaml")}


def test_jobs_fit_the_published_schemas_and_begin_again_what_was_stopped(study: Study) -> None:
    found = written(
        study, jobs=3, gpus=2, settings={"image": "medssl:1", "mlflow": "http://m:5000"}
    )
    assert sorted(found) == [
        "1-pretrainings.yaml", "2-runs.yaml", "3-runs-from-encoders.yaml", "4-report.yaml",
    ]  # fmt: skip
    jobs = [job for name in sorted(found) for job in found[name]]
    for job in jobs:
        for version in VERSIONS:
            kubernetes_validate.validate(job, version, strict=True)
    specs = [job["spec"] for job in jobs]
    assert [spec["completions"] for spec in specs] == [2, 2, 4, 1]
    assert [spec["parallelism"] for spec in specs] == [2, 2, 3, 1]
    assert jobs[0]["metadata"]["name"] == "medssl-balls-study-pretrainings"
    actions = {
        value: rule["action"]
        for rule in specs[0]["podFailurePolicy"]["rules"]
        for value in rule.get("onExitCodes", {}).get("values", ())
    }
    assert actions == {75: "Ignore", 2: "FailIndex", 3: "FailIndex"}
    (container,) = specs[2]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert {"name": "MLFLOW_TRACKING_URI", "value": "http://m:5000"} in container["env"]


def test_pods_have_their_folders_in_the_claim_whatever_the_image_calls_them(study: Study) -> None:
    """The project's image looks for data in /data, where a study's pods have nothing."""
    image = (Path(__file__).parents[2] / "docker/Dockerfile").read_text()
    named = set(re.findall(r"(MEDSSL_\w+)=/", image))
    assert "MEDSSL_DATA" in named
    (job,) = written(study)["2-runs.yaml"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert {name: variables.get(name) for name in sorted(named)} == {
        "MEDSSL_CACHE": "/work/.cache/medssl",
        "MEDSSL_DATA": "/work/data",
        "MEDSSL_ENCODERS": "/work/encoders",
        "MEDSSL_KEY": "/work/key",
        "MEDSSL_RUNS": "/work/runs",
    }
    assert f"USER {pod['securityContext']['fsGroup']}" in image  # who writes to the claim


def test_the_schemas_refuse_what_is_wrong(study: Study) -> None:
    """The checks above would see a mistake."""
    (job,) = written(study)["2-runs.yaml"]
    job["spec"]["completion"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


def test_each_index_carries_out_its_own_piece(study: Study, balls: Path) -> None:
    (job,) = written(study)["3-runs-from-encoders.yaml"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    python = balls / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    said = [
        subprocess.run(
            container["command"],
            env={"PATH": f"{python.parent}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(n)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-3:]
        for n in range(4)
    ]
    assert said == [["--quiet", "--task", f"run:{number}"] for number in (1, 2, 4, 5)]


def test_runs_of_several_machines_are_train_jobs(study: Study) -> None:
    found = written(study, gpus=4, settings={"nodes": "2"})
    jobs = found["3-runs-from-encoders.yaml"]
    assert [job["kind"] for job in jobs] == ["TrainJob"] * 4
    for job in jobs:
        typed = TrainerV1alpha1TrainJob.from_dict(job)
        assert typed is not None
        assert typed.to_dict() == job  # a key that the types do not know would be lost
    spec = jobs[0]["spec"]
    assert (spec["trainer"]["numNodes"], spec["trainer"]["numProcPerNode"]) == (2, 4)
    line = spec["trainer"]["command"][-1]
    assert line == ("cd /work; exec torchrun -m medssl study Balls_study --quiet --task run:1")
    assert found["4-report.yaml"][0]["kind"] == "Job"


def test_the_script_applies_what_others_need_first(study: Study, balls: Path) -> None:
    written(study)
    script = study_folder(study) / "kubernetes" / "apply.sh"
    kubectl = balls / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(f'#!/bin/sh\necho "$1 $4 $3" >> {balls}/asked\necho Complete\n')
    kubectl.chmod(0o755)
    variables = {"PATH": f"{kubectl.parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", script], env=variables, check=True)
    asked = [line.split() for line in (balls / "asked").read_text().splitlines()]
    name = "job/medssl-balls-study-"
    assert [(words[0], words[-1] if words[0] == "apply" else words[1]) for words in asked] == [
        ("apply", "1-pretrainings.yaml"), ("apply", "2-runs.yaml"),
        ("get", f"{name}pretrainings"), ("apply", "3-runs-from-encoders.yaml"),
        ("get", f"{name}pretrainings"), ("get", f"{name}runs"),
        ("get", f"{name}runs-from-encoders"), ("apply", "4-report.yaml"), ("get", f"{name}report"),
    ]  # fmt: skip


def test_wrong_settings_are_refused(study: Study, balls: Path) -> None:
    with pytest.raises(UsageError, match="--set imgae is unknown; did you mean 'image'"):
        written(study, settings={"imgae": "x"})
    with pytest.raises(UsageError, match="--set nodes=two is no number"):
        written(study, settings={"nodes": "two"})


def test_runs_that_are_planned_must_say_what_for(study: Study, balls: Path) -> None:
    text = "{pipeline: balls, labels: [2], arms: {planned: [plan=auto]}, reference: planned}"
    (balls / "pipelines" / "planned_study.yaml").write_text(text)
    with pytest.raises(
        UsageError, match=r"planned for the machine that it gets; .* \{memory: 24GB"
    ):
        written(load_study("planned_study"))
