"""Who asks for a stop, when it is obeyed, and who passes it over."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from medssl.errors import Stopped
from medssl.stop import SIGNALS, STOP, held, listening


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def _nothing_asked_for() -> Iterator[None]:
    yield
    assert not STOP.requested


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_work_at_once_with_75(number: int) -> None:
    with pytest.raises(Stopped, match="run the same command again") as caught, listening():
        send(number)
    assert caught.value.exit_code == 75


def test_what_passes_over_failures_does_not_pass_over_a_stop() -> None:
    def work() -> None:
        with suppress(Exception):
            send(signal.SIGTERM)

    with pytest.raises(Stopped), listening():
        work()


def test_held_work_is_ended_first() -> None:
    done = []

    def work() -> None:
        with held() as stop:
            with held():
                send(signal.SIGTERM)
            assert stop.requested
            done.append("to the end of the outer block")
        done.append("not this")

    with pytest.raises(Stopped), listening():
        work()
    assert done == ["to the end of the outer block"]


def test_a_stop_that_was_swallowed_is_raised_before_the_next_held_work() -> None:
    def work() -> None:
        with suppress(BaseException):  # as an extension does that clears errors of its imports
            send(signal.SIGTERM)
        with held():
            pytest.fail("began")

    with pytest.raises(Stopped), listening():
        work()


def test_cleaning_up_after_a_stop_is_not_stopped() -> None:
    done = []

    def work() -> None:
        try:
            send(signal.SIGTERM)
        finally:
            with held():
                done.append("held")
            send(signal.SIGTERM)
            send(signal.SIGUSR1)
            done.append("asked again")

    with pytest.raises(Stopped), listening():
        work()
    assert done == ["held", "asked again"]


def test_a_second_interrupt_does_not_wait() -> None:
    def work() -> None:
        with held() as stop:
            send(signal.SIGINT)
            assert stop.requested
            send(signal.SIGINT)
            pytest.fail("waited")

    with pytest.raises(Stopped), listening():
        work()


def test_handlers_are_put_back_after_a_failure() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="broken"), listening():
        raise ValueError("broken")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_the_main_thread_signals_belong_to_the_caller() -> None:
    seen = []

    def work() -> None:
        with listening(), held() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


@pytest.mark.parametrize("number", [number.name for number in SIGNALS])
def test_the_command_line_ends_with_75_and_one_sentence(number: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from medssl import cli\n"
        "@cli.app.command()\n"
        "def ask(): os.kill(os.getpid(), signal.Signals[NAME])\n"
        "sys.argv = ['medssl', 'ask']\n"
        "cli.main()\n"
    ).replace("NAME", repr(number))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert done.stderr == (
        "medssl: stopped; asked to by a signal; run the same command again to continue\n"
    )


def test_a_signal_is_heard_while_the_command_line_is_imported() -> None:
    code = (
        "import os, signal, sys\n"
        "class Ask:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Ask())\n"
        "from medssl.__main__ import main\n"
        "sys.argv = ['medssl', 'methods']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith("medssl: stopped; asked to by a signal")
    assert "Traceback" not in done.stderr
