"""What every family's foretelling has to keep, as its tests ask it."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from medssl.errors import Stopped
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.told import Told

SAID = "will take about"


class StoppedAt(Told):
    """Listens, and asks for a stop as a signal would, after a step of the training."""

    def __init__(self, step: int) -> None:
        super().__init__(listens=True)
        self.last = step

    def step(self, step: int, values: dict[str, float]) -> None:
        if step == self.last and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)


def foretold(notes: Sequence[str]) -> list[str]:
    """The lines that tell what a run will take."""
    return [line for line in notes if SAID in line]


def told_once_and_changes_nothing(
    name: str, overrides: Sequence[str], results: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run three times: quietly, listening, and listening with a stop; all leave the same bits.

    Args:
        results: word of a file that is compared beside the weights.

    Returns: the line.
    """
    monkeypatch.setenv("MEDSSL_RUNS", "quiet")
    quiet = _bits(name, overrides, results, QuietReporter())
    monkeypatch.setenv("MEDSSL_RUNS", "told")
    told = Told(listens=True)
    assert _bits(name, overrides, results, told) == quiet
    (line,) = foretold(told.notes)
    monkeypatch.setenv("MEDSSL_RUNS", "stopped")
    stopped, resumed = StoppedAt(5), Told(listens=True)
    with pytest.raises(Stopped):
        run(load_config(name, overrides), stopped)
    assert len(foretold(stopped.notes)) == 1
    assert _bits(name, overrides, results, resumed) == quiet
    assert not foretold(resumed.notes)
    return line


def _bits(
    name: str, overrides: Sequence[str], results: str, reporter: QuietReporter
) -> tuple[bytes, bytes]:
    done = run(load_config(name, overrides), reporter)
    files: tuple[Path, Path] = done["model"] / "weights.safetensors", done[results]
    weights, written = (file.read_bytes() for file in files)
    return weights, written
