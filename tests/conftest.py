"""What every test shares: one thread, no display, and the real data sets where they are at hand."""

import os

# Before torch is imported by anything: it reads these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["MPLBACKEND"] = "Agg"

import gc
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medssl import cli

Medssl = Callable[..., tuple[int, str, str]]
"""Arguments of a command to its exit code, what it prints, and what it says of errors."""

# Five ways to lie in a scanner: unit directions of the voxel axes in RAS+, one per column.
_TILT, _YAW = np.radians(20), np.radians(-12)
_OBLIQUE = (
    np.array([[np.cos(_YAW), -np.sin(_YAW), 0], [np.sin(_YAW), np.cos(_YAW), 0], [0, 0, 1]])
    @ np.array([[1, 0, 0], [0, np.cos(_TILT), -np.sin(_TILT)], [0, np.sin(_TILT), np.cos(_TILT)]])
    @ np.diag([-1, 1, 1])
)
_DIRECTIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1, -1, 1]),
    "negated columns, LAI": np.diag([-1, 1, -1]),
    "sagittal, PIR": np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "oblique": _OBLIQUE,
}

# Of tests and of the commands that they start, and not the user's.
os.environ["MEDSSL_KEY"] = str(Path(tempfile.mkdtemp()) / "key")


# Modules and tests live to the end: to look for garbage among them took a quarter of collection.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the processes in the order of their names, where xdist is installed.

    It would leave those of few tests to the end, and these take longest: one process would idle.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_finish() -> None:
    """From the first test on, garbage is looked for as Python does it, among what is new."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Tests that never touch torch do not pay for importing it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait until the disk has written; on some that takes a tenth of a second."""
    monkeypatch.setattr("medssl.atomic._flush", lambda _: None)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in which nothing is set that a user has set."""
    for name in ("MEDSSL_RUNS", "MEDSSL_CACHE", "MLFLOW_TRACKING_URI", "MEDSSL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def medssl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Medssl:
    """Runs `medssl ...` in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["medssl", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Root of the real data sets, read-only."""
    root = os.environ.get("MEDSSL_DATA")
    if not root:
        pytest.skip("MEDSSL_DATA is not set: it names the folder of the real data sets")
    return Path(root)


@pytest.fixture(params=_DIRECTIONS.values(), ids=_DIRECTIONS.keys())
def scanner_affine(request: pytest.FixtureRequest) -> np.ndarray:
    """4x4 voxel to RAS+ mm with spacing 0.5, 1.25, 3 mm, in each of five orientations."""
    affine = np.eye(4)
    affine[:3, :3] = request.param * (0.5, 1.25, 3.0)
    affine[:3, 3] = (-20.0, 13.5, 70.25)
    return affine
