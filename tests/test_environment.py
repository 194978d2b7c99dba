"""Environment variables: defaults under the working directory, each overridable."""

import os
from pathlib import Path

import pytest

from medssl import environment


@pytest.mark.parametrize(
    ("read", "variable", "default"),
    [
        (environment.data_root, "MEDSSL_DATA", "data"),
        (environment.runs_root, "MEDSSL_RUNS", "runs"),
        (environment.cache_root, "MEDSSL_CACHE", ".cache/medssl"),
    ],
)
def test_folders(monkeypatch, read, variable, default):
    monkeypatch.delenv(variable, raising=False)
    assert read() == Path(default)
    monkeypatch.setenv(variable, "")
    assert read() == Path(default)
    monkeypatch.setenv(variable, "~/scans")
    assert read() == Path.home() / "scans"


def test_tracking_is_a_file_among_the_runs_or_the_server_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSSL_RUNS", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert environment.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert environment.tracking_uri() == "http://tracking:5000"


def test_waiting_threads_sleep_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    environment.wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
