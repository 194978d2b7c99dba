"""Several processes carry out one run: one folder, one log, one message, one saved state."""

import json
import os
import signal
import time

import pytest
import torch.distributed as dist
from safetensors.torch import load_file

from medssl.train import update
from medssl.train.loop import TrainState
from tests.contract.commands_together import Started
from tests.drivers.toys import balls

KEYS = ("method=tracoco", "train.steps=4", "train.checkpoint_every=2", "train.log_every=1")


@pytest.fixture
def place(tmp_path, monkeypatch):
    balls(tmp_path)
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the training that one process carries out by itself."""
    place = tmp_path_factory.mktemp("alone")
    balls(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_DATA", str(place / "data"))
        codes, folder, told = run(place, "one", processes=1, verb="run")
    assert codes == [0], told
    return folder


def run(place, runs, *more, processes=2, before=lambda _: None, verb="train", act=lambda _: None):
    """Exit codes, the folder of the training, and what the first process wrote."""
    os.environ["MEDSSL_RUNS"] = str(place / runs)
    started = Started(place, verb, "balls", *KEYS, *more, processes=processes, before=before)
    act(started)
    codes = started.wait()
    folders = list((place / runs / "balls").glob("train-*"))
    return codes, folders[0] if folders else None, [started.told(n) for n in range(processes)]


def weights(folder):
    return load_file(folder / "checkpoint" / "last" / "weights.safetensors")


def steps(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def near(one, other):
    return all((value - other[key]).abs().max() < 1e-5 for key, value in one.items())


def after(step, act):
    """In a process: do something once so many steps are done."""

    def prepare(rank):
        taken = update.Update.__call__

        def call(self, given, progress):
            found = taken(self, given, progress)
            if progress.step == step:
                act(rank)
            return found

        update.Update.__call__ = call

    return prepare


sharded_or_not = pytest.mark.parametrize("more", [(), ("train.sharded=true",)], ids=["", "sharded"])


@sharded_or_not
def test_two_processes_leave_what_one_does(more, place, alone):
    codes, two, told = run(place, "two", *more, verb="run")
    assert codes == [0, 0], told
    assert told[1] == ("", ""), "the first process alone talks"
    assert "Dice" in told[0][0]
    assert near(weights(alone), weights(two))
    kept = ("step", "loss", "dice")
    both = [
        [{key: line.get(key) for key in kept} for line in steps(folder)] for folder in (alone, two)
    ]
    for first, second in zip(*both, strict=True):
        assert first == pytest.approx(second, abs=1e-5)
    names = [
        {path.relative_to(folder.parent) for path in folder.parent.rglob("*")}
        for folder in (alone, two)
    ]
    assert names[0] == names[1]


@sharded_or_not
def test_a_signal_to_one_ends_all_with_one_message_and_one_state(more, place, alone):
    stop = after(3, lambda rank: rank == 1 and os.kill(os.getpid(), signal.SIGTERM))
    codes, folder, told = run(place, "two", *more, before=stop)
    assert codes == [75, 75]
    assert told[0][1].count("training stopped after step 3 of 4") == 1
    assert told[1] == ("", "")
    assert TrainState.load(folder / "state.pt", "cpu").step == 3
    # Another number of processes goes on with the same batches.
    assert run(place, "two", processes=1)[0] == [0]
    assert near(weights(folder), weights(alone))
    assert [line["step"] for line in steps(folder)] == [1, 2, 3, 4]


def test_one_that_fails_says_why_and_the_others_end_in_silence(place):
    def fail(rank):
        if rank == 1:
            raise MemoryError("no more")

    codes, folder, told = run(place, "two", before=after(3, fail))
    assert codes == [1, 1]
    assert "MemoryError: no more" in told[1][1]
    assert "medssl:" not in told[0][1], told
    assert TrainState.load(folder / "state.pt", "cpu").step == 2
    assert run(place, "two")[0] == [0, 0]


@sharded_or_not
def test_one_that_is_killed_ends_the_others_with_a_sentence(more, place):
    kill = after(3, lambda rank: rank == 1 and os.kill(os.getpid(), signal.SIGKILL))
    codes, _, told = run(place, "two", *more, before=kill)
    assert codes == [1, -signal.SIGKILL]
    assert told[0][1].count("another process of this training has ended") == 1


def test_where_one_is_killed_before_it_connects_the_others_hear_signals(place):
    def kill(rank):
        if rank == 1:
            dist.init_process_group = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)

    def ask(started):  # as torchrun does
        started.processes[1].join()
        time.sleep(1)
        started.processes[0].terminate()

    codes, _, told = run(place, "two", before=kill, act=ask)
    assert codes == [75, -signal.SIGKILL]
    assert "asked to by a signal" in told[0][1]
    assert "timed out" not in told[0][1], "it is heard at once, not when connecting is given up"


def test_a_wrong_key_is_told_once(place):
    codes, folder, told = run(place, "two", "train.stepz=3")
    assert codes == [2, 0]
    assert folder is None
    assert told[0][1].count("train.stepz") == 1
    assert told[1] == ("", "")


def test_what_processes_cannot_share_is_refused(place):
    started = Started(place, "data", "check", "balls")
    assert started.wait() == [2, 2]
    assert "start it as one process" in started.told(0)[1] + started.told(1)[1]
