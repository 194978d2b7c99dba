"""The environment variables medssl knows, read here and nowhere else."""

import os
from pathlib import Path


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default).expanduser()


def data_root() -> Path:
    """Where data sets lie: MEDSSL_DATA, else `data` under the working directory."""
    return _folder("MEDSSL_DATA", "data")


def runs_root() -> Path:
    """Where run folders are made: MEDSSL_RUNS, else `runs` under the working directory."""
    return _folder("MEDSSL_RUNS", "runs")


def cache_root() -> Path:
    """Where prepared cases are kept: MEDSSL_CACHE, else `.cache/medssl`."""
    return _folder("MEDSSL_CACHE", ".cache/medssl")


def tracking_uri() -> str:
    """MLflow's store: MLFLOW_TRACKING_URI, else an SQLite file in the runs' folder."""
    default = f"sqlite:///{(runs_root() / 'mlflow.db').absolute()}"
    return os.environ.get("MLFLOW_TRACKING_URI") or default


def wait_passively() -> None:
    """Have torch's threads sleep while they wait, unless OMP_WAIT_POLICY says otherwise.

    By default they spin, which on a machine that others use too costs more than tenfold. To be
    called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
