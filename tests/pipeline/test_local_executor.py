"""Several runs of a study at once on one machine."""

import csv
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from medssl.errors import Stopped, UsageError
from medssl.pipeline.executors import local
from medssl.pipeline.executors.local import carry_out
from medssl.pipeline.executors.order import Order
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import Cell, Study, load_study
from medssl.pipeline.study_failures import Failure, Record
from medssl.pipeline.study_run import run_study
from medssl.pipeline.study_tasks import Task, Work, study_folder
from medssl.stop import listening
from tests.told import Told

STUDY = (
    "{pipeline: balls, labels: [2], seeds: [0], reference: plain, arms: "
    "{plain: [evaluate.overlays=0], broken: [split.validation=0, predict.checkpoint=best]}}"
)


def task(name: str, after: str = "", kind: Any = "run") -> Task:
    return Task(kind, int(name[-1]), Cell(name, 0), name, after)


@pytest.fixture
def study(balls: Path) -> Study:
    (balls / "pipelines" / "balls_study.yaml").write_text(STUDY)
    return load_study("balls_study")


@pytest.fixture
def pretend(study: Study, balls: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Carry out pieces whose commands are Python text, by the name of the piece."""

    def start(codes: dict[str, str], after: dict[str, str], **given: Any) -> tuple[Any, Told]:
        def command_of(_: Order, one: Task) -> list[str]:
            return [sys.executable, "-S", "-c", f"import os, sys, time\n{codes[one.name]}"]

        monkeypatch.setattr(Order, "command_of", command_of)
        tasks = tuple(task(name, after.get(name, "")) for name in codes)
        told = Told(listens=True)
        order = Order(study, Work(tasks), ("balls_study",), told, **given)
        return carry_out(order), told

    return start


def test_so_many_at_once_and_a_pre_training_before_its_runs(pretend: Any, balls: Path) -> None:
    mark = (
        "open(f'{time.time()} begin ' + NAME, 'w')\ntime.sleep(0.6)\n"
        "open(f'{time.time()} end ' + NAME, 'w')"
    )
    codes = {name: f"NAME = '{name}'\n{mark}" for name in ("e0", "r1", "r2", "r3")}
    handed, _ = pretend(codes, {"r1": "e0"}, jobs=2)
    assert handed.failures == ()
    events = [
        path.name.split()[1:] for path in sorted(balls.glob("*.* *"), key=lambda path: path.name)
    ]
    at_once = [
        sum(1 if what == "begin" else -1 for what, _ in events[: end + 1])
        for end in range(len(events))
    ]
    assert max(at_once) == 2
    assert events.index(["end", "e0"]) < events.index(["begin", "r1"])
    assert {name for what, name in events if what == "begin"} == set(codes)
    assert {name for what, name in events[:4] if what == "begin"} >= {"e0", "r2"}


def test_gpus_and_threads_are_shared_out(
    pretend: Any, balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ["0", "GPU-x", "2", "3"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    code = "open('gpus ' + os.environ['CUDA_VISIBLE_DEVICES'], 'w').write("
    code += "os.environ['OMP_NUM_THREADS'])\ntime.sleep(0.5)"
    pretend({"r1": code, "r2": code}, {}, jobs=2, gpus=2)
    found = {path.name: path.read_text() for path in balls.glob("gpus *")}
    assert found == {"gpus 0,GPU-x": "4", "gpus 2,3": "4"}
    with pytest.raises(UsageError, match="--gpus 5 is more than there are; this machine shows 4"):
        pretend({"r1": code}, {}, gpus=5)


def test_what_becomes_of_each_piece(pretend: Any, study: Study, balls: Path) -> None:
    folder = study_folder(study)
    Record(folder, "r2").write(Failure("arm r2, seed 0", "no memory", 1))
    again = (
        "import json, pathlib\n"
        f"kept = pathlib.Path({str(folder)!r}) / 'failures' / 'r4.json'\n"
        "if pathlib.Path('seen').exists(): kept.unlink(); sys.exit(0)\n"
        "pathlib.Path('seen').touch()\n"
        "kept.write_text(json.dumps({'task': 'r4', 'reason': 'stopped', 'exit_code': 75}))\n"
        "sys.exit(1)"  # as torchrun ends
    )
    codes = {
        "r1": "print('half way', file=sys.stderr)",
        "r2": "sys.exit(1)",
        "r3": "os.kill(os.getpid(), 9)",
        "r4": again,
    }
    handed, told = pretend(codes, {}, jobs=2)
    reasons = {one.task: (one.reason, one.exit_code) for one in handed.failures}
    killed = "the system ended it by SIGKILL, as it does where memory runs out"
    assert reasons == {"arm r2, seed 0": ("no memory", 1), "arm r3, seed 0": (killed, 1)}
    assert "[run:1] half way" in told.lines
    assert "arm r4, seed 0: was stopped, goes on" in told.lines
    assert "arm r4, seed 0: done" in told.lines


def test_a_signal_asks_all_runs_to_stop_and_waits_for_them(pretend: Any, balls: Path) -> None:
    code = (
        "import signal\n"
        "def stop(*_):\n    time.sleep(0.5)\n    open('kept ' + NAME, 'w')\n    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, stop)\nopen('ready ' + NAME, 'w')\ntime.sleep(60)"
    )
    codes = {name: f"NAME = '{name}'\n{code}" for name in ("r1", "r2", "r3")}

    def ask() -> None:
        while len(list(balls.glob("ready *"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    with listening(), pytest.raises(Stopped):
        pretend(codes, {}, jobs=2)
    assert sorted(path.name for path in balls.glob("kept *")) == ["kept r1", "kept r2"]


def test_two_processes_make_the_table_of_one(
    study: Study, balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of real runs; an arm that has nothing to choose by fails alone."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    folder, told = study_folder(study), Told(listens=True)
    one = run_study(study, QuietReporter(), command="c")
    tables = [(folder / name).read_bytes() for name in ("study.csv", "summary.md")]
    (balls / "runs" / "balls").rename(balls / "runs" / "before")
    two = run_study(study, told, command="c", jobs=2, words=["balls_study"])
    assert len(two.failures) == 1
    assert "\n".join(told.lines).count("[run:1] medssl: ") == 1
    assert [(folder / name).read_bytes() for name in ("study.csv", "summary.md")] == tables
    assert one == two
    with (folder / "study.csv").open() as stream:
        assert [row["arm"] for row in csv.DictReader(stream)] == ["plain"]
