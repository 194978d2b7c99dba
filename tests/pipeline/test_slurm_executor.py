"""Studies as jobs of SLURM: a queue that pre-empts, and submitit's own executors."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import submitit
from submitit.local.local import LocalJobEnvironment

from medssl.errors import MedsslError, UsageError
from medssl.pipeline.executors.requeued import Requeued
from medssl.pipeline.executors.slurm import minutes
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Study, load_study
from medssl.pipeline.study_run import StudyEnd, run_study, run_task
from medssl.pipeline.study_tasks import study_folder
from tests.pipeline import fake_slurm
from tests.pipeline.fake_slurm import FakeSlurm, install, read_states
from tests.pipeline.test_study_tasks import ENCODER

STUDY = """
pipeline: balls
labels: [2]
seeds: [0]
arms:
  broken: [split.validation=0, predict.checkpoint=best]
  first: [pretrain=encoder, evaluate.overlays=0, train.steps=150, train.checkpoint_every=5,
          train.log_every=1]
  second: [pretrain=encoder, evaluate.overlays=0, method.noise=0.1]
reference: second
"""


@pytest.fixture
def study(balls: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    (balls / "pipelines" / "encoder.yaml").write_text(ENCODER)
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY)
    return load_study("balls_study")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return install(tmp_path / "slurm", monkeypatch)


def submitted(study: Study, *only: str, **more: object) -> StudyEnd:
    given = {"executor": "slurm", "words": ["balls_study"], "command": "c", **more}
    return run_study(study, QuietReporter(), only, **given)  # type: ignore[arg-type]


def without_code(page: str) -> list[str]:
    """A page but for the version of the code, which somebody may commit meanwhile."""
    return [line for line in page.splitlines() if not line.startswith("- code:")]


def test_a_study_is_submitted_as_arrays_that_wait_for_what_they_start_from(
    study: Study, slurm: FakeSlurm
) -> None:
    settings = {"partition": "gpu", "time": "1-00", "mem": "32G", "setup": "module load cuda"}
    end = submitted(study, jobs=3, threads=4, gpus=2, settings=settings)
    assert slurm.jobs() == ["101", "102", "103", "104"]
    first, free, after, report = (slurm.options(job) for job in slurm.jobs())
    assert ["array" in options for options in (first, free)] == [False, False]
    assert after["array"] == "0-1%2"
    assert [o.get("dependency") for o in (first, free, after)] == [None, None, "afterany:101"]
    assert report["dependency"] == "afterany:101:102:103"
    for options in (first, free, after):
        told = {"partition": "gpu", "time": "1440", "mem": "32G", "gpus-per-node": "2"}
        told |= {"cpus-per-task": "4", "signal": "USR1@120", "requeue": ""}
        assert told.items() <= options.items()
    assert "gpus-per-node" not in report
    script = Path(json.loads((slurm.folder / "102.job").read_text())["script"]).read_text()
    assert script.index("SUBMITIT_PREEMPT_SIGNAL=USR1") < script.index("module load cuda")
    for words in ("2 runs as job 103, after 101", "squeue --jobs 101,102,103,104", "scancel 101 "):
        assert words in end.said

    again = submitted(study)
    assert again.said.startswith("4 pieces are queued or running already\nfollow")
    assert len(slurm.jobs()) == 4
    for job in ("103", "104"):
        (slurm.folder / f"{job}.state").unlink(missing_ok=True)
    for one in ("103_0", "103_1"):
        (slurm.folder / f"{one}.state").write_text("ENDED")
    end = submitted(study, "arm=first,arm=broken")
    assert slurm.options("105")["dependency"] == "afterany:101"
    assert "1 runs as job 105, after 101" in end.said


def test_a_study_that_is_pre_empted_makes_the_table_of_one_process(
    study: Study, slurm: FakeSlurm, balls: Path
) -> None:
    """The pre-training is pre-empted by SIGUSR1 before it learns, and a run twice while it does."""
    folder, runs = study_folder(study), balls / "runs" / "balls"
    submitted(study)
    sent: dict[str, list[int]] = {}

    def preempt(one: str) -> int | None:
        times = sent.setdefault(one, [])
        if one == "101" and not times and list((balls / "runs" / "encoder").glob("*-*")):
            times.append(signal.SIGUSR1)
            return signal.SIGUSR1
        journals = [path for path in runs.glob("train-*/metrics.jsonl") if one == "103_0"]
        lines = max((len(path.read_text().splitlines()) for path in journals), default=0)
        if one == "103_0" and len(times) < 2 and 20 * (1 + 2 * len(times)) < lines < 130:
            times.append((signal.SIGUSR1, signal.SIGTERM)[len(times)])
            return times[-1]
        return None

    slurm.carry_out(preempt)
    names = [one for one, _ in slurm.log]
    assert names.count("101") == 2
    assert names.count("103_0") == 1 + len(sent["103_0"]) >= 2
    assert names.index("103_0") > max(n for n, one in enumerate(names) if one == "101")
    assert dict(slurm.log)["102"] == 2  # the arm that has nothing to choose by
    assert {code for one, code in slurm.log if one in ("103_1", "104")} == {0}
    assert set(read_states(slurm.folder).values()) == {"ENDED"}
    said = next((folder / "slurm").glob("104_*.out")).read_text()
    assert "2 of 3 runs finished" in said
    assert "failed   arm broken, labels 2, seed 0: predict.checkpoint=best needs" in said

    tables = [(folder / name).read_bytes() for name in ("study.csv", "learning_curve.csv")]
    page = without_code((folder / "summary.md").read_text())
    for name in ("balls", "encoder"):
        (balls / "runs" / name).rename(balls / "runs" / f"{name}-of-the-queue")
    one = run_study(study, QuietReporter(), command="medssl study balls_study")
    assert len(one.failures) == 1
    assert [(folder / name).read_bytes() for name in ("study.csv", "learning_curve.csv")] == tables
    assert without_code((folder / "summary.md").read_text()) == page
    assert submitted(study, "arm=second").said.startswith("2 of 3 runs finished")


def test_a_process_that_ends_just_before_its_signal_breaks_no_queue(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(fake_slurm, "below", lambda _: [ended.pid])
    (tmp_path / "job.sh").write_text("#!/bin/bash\nsleep 0.3\n")
    subprocess.run(["sbatch", tmp_path / "job.sh"], check=True)
    slurm.carry_out(lambda _: signal.SIGUSR1)
    assert slurm.log == [("101", 0)]


def test_what_slurm_refuses_is_told_in_one_sentence(
    study: Study, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MedsslError, match=r"SLURM refuses the jobs; .*invalid partition specified"):
        submitted(study, settings={"refused": "1"})
    with pytest.raises(UsageError, match="--set array cannot be given"):
        submitted(study, settings={"array": "0-9"})
    with pytest.raises(UsageError, match="--set time=soon is no time"):
        submitted(study, settings={"time": "soon"})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"pip install 'medssl\[slurm\]'"):
        submitted(study)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="sbatch is not on this machine"):
        submitted(study)


@pytest.mark.parametrize(
    ("text", "found"),
    [("90", 90), ("0:30", 1), ("12:00:00", 720), ("1-06", 1800), ("1-06:30", 1830), ("5:59", 6)],
)
def test_times_are_those_of_slurm(text: str, found: int) -> None:
    assert minutes(text) == found


def test_a_command_goes_on_in_submitits_own_queue_and_ends_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By submitit's local executor, which signals three seconds before the time is over."""
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "USR1")
    monkeypatch.setattr(LocalJobEnvironment, "USR_SIG", "USR1")
    code = (
        "import os, signal, sys, time\n"
        "def stop(*_):\n    os.mkdir('kept')\n    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "time.sleep(0 if os.path.exists('kept') else 60)\nopen('whole', 'w')\n"
    )
    monkeypatch.chdir(tmp_path)
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    executor.update_parameters(timeout_min=0.5, signal_delay_s=22)
    job = executor.submit(Requeued([sys.executable, "-S", "-c", code]))
    until = time.monotonic() + 60
    while not (tmp_path / "whole").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert job.result() is None
    assert (tmp_path / "kept").exists()


def test_a_command_that_fails_fails_its_job(tmp_path: Path) -> None:
    """By submitit's debug executor, which is this process."""
    executor = submitit.DebugExecutor(tmp_path / "jobs")
    handlers = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)]
    assert executor.submit(Requeued([sys.executable, "-S", "-c", ""])).result() is None
    with pytest.raises(SystemExit) as caught:
        executor.submit(Requeued([sys.executable, "-S", "-c", "raise SystemExit(3)"])).result()
    assert caught.value.code == 3
    assert handlers == [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)]


def test_a_report_names_what_was_killed(study: Study, balls: Path) -> None:
    from medssl.pipeline import study_tasks

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt  # as if the process were gone

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study_tasks, "run", die)
        with pytest.raises(KeyboardInterrupt):
            run_task(study, "run:2", QuietReporter())
    said = run_task(study, "report", QuietReporter())
    assert "arm second, labels 2, seed 0: it has begun and not ended" in said
