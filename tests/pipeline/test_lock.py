"""One process at a time in a folder, whatever became of the others."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medssl.errors import MedsslError, Stopped
from medssl.pipeline import lock
from medssl.pipeline.lock import DATED, alone_if_free, alone_in
from medssl.stop import listening


@pytest.fixture(params=["of the system", "by age"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with the system's locks and on a disk that has none."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(lock, "LOOK_EVERY_S", 0.01)
    if request.param == "by age":
        monkeypatch.setattr(fcntl, "flock", unsupported)
    return str(request.param)


@contextmanager
def another_in(folder: Path) -> Iterator[threading.Event]:
    """Somebody else who works in `folder` until the event is set."""
    began, end = threading.Event(), threading.Event()

    def work() -> None:
        with alone_in(folder, print):
            began.set()
            end.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(30)
    try:
        yield end
    finally:
        end.set()
        thread.join()


def test_a_second_is_told_who_works_and_then_works_itself(tmp_path: Path) -> None:
    told = []
    with another_in(tmp_path / "stage") as end:

        def tell(text: str) -> None:
            told.append(text)
            end.set()

        with alone_in(tmp_path / "stage", tell):
            pass
    assert len(told) == 1
    assert f"waiting for process {os.getpid()} on " in told[0]
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_killed_process_holds_up_nobody(tmp_path: Path, kind: str) -> None:
    code = (
        "import errno, fcntl, os, sys; from pathlib import Path\n"
        "from medssl.pipeline.lock import alone_in\n"
        "def no(*_): raise OSError(errno.ENOLCK, '')\n"
        "if sys.argv[2] == 'by age': fcntl.flock = no\n"
        "with alone_in(Path(sys.argv[1]), print): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), kind], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with alone_in(tmp_path, pytest.fail):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_the_waiting(tmp_path: Path) -> None:
    def work() -> None:
        with alone_in(tmp_path, lambda _: os.kill(os.getpid(), signal.SIGTERM)):
            pytest.fail("worked")

    with another_in(tmp_path), pytest.raises(Stopped), listening():
        work()


def test_a_failure_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone_in(tmp_path, pytest.fail):
        raise KeyError
    with alone_in(tmp_path, pytest.fail):
        pass


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(MedsslError, match="runs/stage cannot be written"):
        alone_in(tmp_path / "runs" / "stage", pytest.fail).__enter__()


@pytest.mark.parametrize("age", [10.0, 1000.0])
def test_without_locks_another_machine_is_taken_for_dead_after_a_while(
    tmp_path: Path, kind: str, age: float
) -> None:
    if kind != "by age":
        pytest.skip("the system knows who lives")
    (tmp_path / DATED).write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    seconds = (tmp_path / DATED).stat().st_mtime - age
    os.utime(tmp_path / DATED, (seconds, seconds))
    told = []

    def tell(text: str) -> None:
        told.append(text)
        (tmp_path / DATED).unlink()

    with alone_in(tmp_path, tell):
        pass
    assert bool(told) == (age < lock.STALE_AFTER_S)


def test_who_does_not_wait_is_told_whether_another_is_there(tmp_path: Path) -> None:
    with another_in(tmp_path), alone_if_free(tmp_path) as alone:
        assert not alone
    with alone_if_free(tmp_path) as alone, alone_if_free(tmp_path) as other:
        assert (alone, other) == (True, False)
