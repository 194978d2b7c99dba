"""The kill driver: that it compares what counts, and a short form of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.drivers.killing.compare import differences, leftovers, same
from tests.drivers.killing.moments import draw, saved

KILL = Path(__file__).with_name("kill.py")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same content but for times."""
    for name, moment in (("one", 1.0), ("other", 2.0)):
        folder = tmp_path / name / "runs" / "train-1"
        folder.mkdir(parents=True)
        lines = [{"step": step, "time": moment, "loss": 1 / step} for step in (1, 2)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "done.json").write_text(json.dumps({"stage": "train", "run_id": name}))
        torch.save({"w": torch.ones(2)}, folder / f"state.{name}")
        (folder / f"state.{name}").rename(folder / "state.pt")
    return tmp_path / "one", tmp_path / "other"


def test_times_and_run_ids_are_no_differences(two):
    assert differences(*two) == []
    assert leftovers(*two) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("done.json", b'{"stage": "predict"}'),
        ("metrics.jsonl", b'{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 0.25}\n'),
        ("metrics.jsonl", b'{"step": 1, "loss": 1.0}\n'),
        ("metrics.jsonl", b'{"step": 1, "lo'),
        ("state.pt", b"damaged"),
    ],
)
def test_other_content_is_a_difference(name, content, two):
    (two[0] / "runs" / "train-1" / name).write_bytes(content)
    assert differences(*two) == [f"runs/train-1/{name}"]


def test_weights_that_differ_in_a_bit_are_a_difference(tmp_path):
    for name, value in (("a.pt", 1.0), ("b.pt", 1.0000001)):
        torch.save({"w": torch.tensor([value])}, tmp_path / name)
    assert not same(tmp_path / "a.pt", tmp_path / "b.pt")


def test_a_missing_file_is_a_difference_and_a_further_one_a_leftover(two):
    (two[0] / "runs" / "train-1" / "done.json").unlink()
    (two[0] / "runs" / "train-1" / "more.txt").touch()
    assert differences(*two) == ["runs/train-1/done.json"]
    assert leftovers(*two) == ["runs/train-1/more.txt"]


@pytest.mark.parametrize("name", [".scan.nii.gz", "last.12.old/w", "done.json.99.part"])
def test_passing_names_are_leftovers_even_if_both_have_them(name, two):
    for folder in two:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert leftovers(*two) == [name]


def test_the_signal_comes_before_the_operation_is_done(tmp_path):
    (tmp_path / "kept").mkdir()
    child = os.fork()
    if not child:
        from tests.drivers.killing.hook import Counter

        Counter(tmp_path, 3, signal.SIGKILL).install()
        for number in range(4):
            (tmp_path / f"{number}").touch()
            Path(os.devnull).write_text("not counted, it lies elsewhere")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "kept"]


def test_a_killed_training_that_is_run_again_ends_as_if_unbroken():
    ended = subprocess.run(
        [sys.executable, str(KILL), "--family", "train", "--most", "3", "--signal", "KILL,TERM"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_threads_of_a_forked_process_find_a_pool_of_torch():
    code = """
import os, threading, torch
from tests.drivers.command import renew_threads_when_forked
renew_threads_when_forked()
image = torch.ones(512, 512)
image.add(1)
for _ in range(60):
    child = os.fork()
    if not child:
        failed, ready = [], threading.Barrier(4)
        def work():
            ready.wait()
            try:
                image.add(1)
            except RuntimeError as error:
                failed.append(error)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        os._exit(len(failed) > 0)
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=KILL.parents[2])


def test_moments_are_those_of_the_seed_and_of_every_kind():
    moments = draw(100, 1)
    assert moments == draw(100, 1) != draw(100, 2)
    assert {one.processes for one in moments} == {1, 2}
    assert {one.rank for one in moments} == {0, 1}
    assert {one.away for one in moments} == {False, True}
    assert all(0 <= one.share < 1 for one in moments)


def test_what_is_lost_or_written_again_is_noticed(tmp_path):
    stage = tmp_path / "runs" / "balls" / "train-1"
    stage.mkdir(parents=True)
    torch.save({"step": 2}, stage / "state.pt")
    lines = [{"step": step, "time": float(step)} for step in (1, 2, 3)]
    log = stage / "metrics.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = dict(saved(tmp_path))
    assert len(before) == 2, "step 3 was not saved yet"
    log.write_text("".join(json.dumps(line | {"time": 9.0}) + "\n" for line in lines[1:]))
    assert {name for name, value in before.items() if dict(saved(tmp_path)).get(name) != value} == {
        "runs/balls/train-1/metrics.jsonl 1", "runs/balls/train-1/metrics.jsonl 2"
    }  # fmt: skip


def test_a_run_killed_at_any_moment_ends_as_if_unbroken():
    ended = subprocess.run(
        [sys.executable, str(KILL), "--family", "train", "--moments", "3", "--seed", "4",
         "--together", "0.5"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "lost 0" in ended.stdout
