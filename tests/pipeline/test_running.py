"""Runs that are stopped, started twice, or started where they cannot work."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medssl.errors import MedsslError, Stopped, UsageError
from medssl.families.segment.predict import predict_files
from medssl.pipeline.config import load_config
from medssl.pipeline.lock import LOCK
from medssl.pipeline.plan import Plan, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_summary
from medssl.pipeline.run import run
from medssl.pipeline.run import train as train_alone
from medssl.pipeline.stage import Stage, Subject, carry_out
from medssl.stop import listening
from medssl.train.track import Tracker

WORDS = ("train.steps=6", "train.checkpoint_every=1", "train.log_every=1")


class StopAt(QuietReporter):
    """Asks for a stop at the so-many-th thing that a run tells."""

    def __init__(self, last: int = -1) -> None:
        self.told, self._last = 0, last

    def _tell(self, *_: Any) -> None:
        self.told += 1
        if self.told == self._last:
            os.kill(os.getpid(), signal.SIGTERM)

    begin = step = note = end = _tell


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".cache"]


def weights(plan: Plan[Any, Any]) -> bytes:
    return (plan.folder("train") / "checkpoint" / "last" / "weights.safetensors").read_bytes()


def journal(plan: Plan[Any, Any]) -> list[tuple[int, float]]:
    lines = (plan.folder("train") / "metrics.jsonl").read_text().splitlines()
    return [(one["step"], one["loss"]) for one in map(json.loads, lines)]


def test_wherever_a_run_is_stopped_it_goes_on_to_the_same_bits(
    balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, config = StopAt(), load_config("balls", WORDS)
    done = run(config, unbroken)
    expected = weights(make_plan(config)), journal(make_plan(config)), done["scores"].read_bytes()
    assert unbroken.told > 20
    for last in range(1, unbroken.told, 7):
        monkeypatch.setenv("MEDSSL_RUNS", str(balls / f"runs{last}"))
        monkeypatch.setenv("MEDSSL_CACHE", str(balls / f"cache{last}"))
        with pytest.raises(Stopped), listening():
            run(config, StopAt(last))
        assert not make_plan(config).stages["run"].done
        done = run(config, QuietReporter())
        plan = make_plan(config)
        assert (weights(plan), journal(plan), done["scores"].read_bytes()) == expected
        assert leftovers(balls) == []


def test_four_commands_at_once_do_the_work_once(balls: Path) -> None:
    words = [*WORDS, "train.threads=1"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "medssl", "run", "balls", *words]
    four = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=300) for process in four]
    assert [process.returncode for process in four] == [0] * 4
    assert len({out for out, _ in said}) == 1
    assert sum("6/6" in err for _, err in said) == 1
    plan = make_plan(load_config("balls", words))
    assert leftovers(balls) == []
    together = weights(plan), journal(plan)
    plan.stages["train"].clear()
    train_alone(load_config("balls", words), QuietReporter())
    assert (weights(plan), journal(plan)) == together


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps"])
def test_a_device_that_is_not_here_is_refused_before_any_work(
    balls: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    config = load_config("balls", [f"train.device={device}"])
    for work in (run, train_alone):
        with pytest.raises(UsageError, match=f"the device {device} is not here; torch finds cpu"):
            work(config, QuietReporter())
    with pytest.raises(UsageError, match="is not here"):
        predict_files(balls / "no", [], balls / "out", [], QuietReporter(), device)
    assert not (balls / "runs").exists()
    assert not (balls / ".cache").exists()


def test_what_was_done_on_a_gpu_is_told_where_there_is_none(
    balls: Path, untrained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the laptop or the login node from which a study is asked for."""
    done = run(load_config("balls"), QuietReporter())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(load_config("balls", ["train.device=cuda"]), QuietReporter()) == done


def test_a_word_that_is_no_device_is_a_wrong_key(balls: Path) -> None:
    with pytest.raises(UsageError, match=r"train.device='gpu' is wrong; there is no such device"):
        load_config("balls", ["train.device=gpu"])


def test_a_runs_folder_that_is_a_file_is_named(balls: Path, untrained: list[str]) -> None:
    (balls / "runs").touch()
    with pytest.raises(MedsslError, match=r"runs/balls/run-.* cannot be written"):
        run(load_config("balls"), QuietReporter())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage("evaluate", "0", tmp_path / "evaluate-0")


SUBJECT = Subject("balls", "a run", {"seed": 0}, None, {"method": "none"})


def test_a_stage_that_is_begun_anew_is_not_done_until_it_is(stage: Stage) -> None:
    """A kill in a fresh training must not leave its half under the mark of the old one."""
    seen = []

    def work(_: Tracker) -> dict[str, Any]:
        seen.append((stage.done, sorted(path.name for path in stage.folder.glob("*.txt"))))
        (stage.folder / "result.txt").touch()
        return {"summary": {"dice": 0.5}}

    carry_out(stage, SUBJECT, work, QuietReporter())
    carry_out(stage, SUBJECT, work, QuietReporter())
    carry_out(stage, SUBJECT, work, QuietReporter(), resume=False)
    assert seen == [(False, []), (False, [])]
    assert read_summary(stage.folder) == {"dice": 0.5}


def test_what_a_kill_left_in_a_stage_goes_with_the_next_run(stage: Stage) -> None:
    left = stage.folder / "checkpoint" / ".part-00000000-1-00000000-00000000.last"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    carry_out(stage, SUBJECT, lambda _: {}, QuietReporter())
    assert not left.exists()


def test_the_lock_of_one_who_died_when_all_was_done_goes_with_the_next_run(stage: Stage) -> None:
    carry_out(stage, SUBJECT, lambda _: {}, QuietReporter())
    (stage.folder / LOCK).touch()
    carry_out(stage, SUBJECT, lambda _: {}, QuietReporter())
    assert not (stage.folder / LOCK).exists()
