"""Environment variables: defaults under the working directory, each overridable."""

import os
from pathlib import Path

import pytest

from medssl import environment
from medssl.environment import shown_uri, tracking_uri


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


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://doctor:s3cret@host:5000/x", "http://host:5000/x"),
        ("https://doctor:a%23b%2F@host", "https://host"),
        ("https://doctor:p@ss/w#rd@host", "https://host"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_a_password_in_a_servers_address_moves_to_where_mlflow_does_not_print_it(
    monkeypatch, given, shown
):
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "before")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri() == tracking_uri() == os.environ["MLFLOW_TRACKING_URI"] == shown
    moved = os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]
    passwords = {"s3cret": "s3cret", "a%23b": "a#b/", "p@ss": "p@ss/w#rd"}
    (password,) = [plain for part, plain in passwords.items() if part in given] or ["before"]
    assert moved == ("doctor" if "@" in given else "before", password)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://doctor:s3/cr@t@host/db?password=x", "postgresql://host/db"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
    ],
)
def test_a_databases_address_is_shown_without_its_password(uri, shown):
    assert shown_uri(uri) == shown
