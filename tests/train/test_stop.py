"""Who asks for a stop, and how often."""

import os
import signal
import threading

import pytest
from medssl.train.stop import stop_on_signal


def test_a_second_interrupt_does_not_wait():
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_request_of_the_system_changes_nothing():
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_handlers_are_put_back_after_a_failure():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="broken"), stop_on_signal():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_signals_belong_to_the_caller():
    seen = []

    def work():
        with stop_on_signal() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
