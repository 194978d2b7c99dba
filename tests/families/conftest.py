"""What the tests of all families have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import pytest

from medssl.train.track import Tracker
from tests.pipeline.conftest import blank_figures, figures, no_mlflow, refuse

__all__ = ["blank_figures", "figures", "no_mlflow"]


@pytest.fixture
def ran(kept: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder `kept` of a family, where all is found done."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    copytree(kept, directory, dirs_exist_ok=True)
    return directory


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder, with the data in it, for what the tests of a session share."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MEDSSL_RUNS", "MEDSSL_CACHE", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("MEDSSL_DATA", str(folder / "data"))
        patch.setattr(Tracker, "_open", refuse)
        patch.setattr("medssl.atomic._flush", lambda _: None)
        patch.chdir(folder)
        yield
