"""The environment variables medssl knows, read here and nowhere else."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from medssl.errors import DataError


def _folder(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or default).expanduser()


def data_root() -> Path:
    """Where data sets lie: MEDSSL_DATA, else `data` under the working directory."""
    return _folder("MEDSSL_DATA", "data")


def runs_root() -> Path:
    """Where run folders are made: MEDSSL_RUNS, else `runs` under the working directory."""
    return _folder("MEDSSL_RUNS", "runs")


def encoders_root() -> Path:
    """Where imported encoders lie: MEDSSL_ENCODERS, else `encoders` under the working directory."""
    return _folder("MEDSSL_ENCODERS", "encoders")


def cache_root() -> Path:
    """Where prepared cases are kept: MEDSSL_CACHE, else `.cache/medssl`."""
    return _folder("MEDSSL_CACHE", ".cache/medssl")


def key_file() -> Path:
    """The random key by which ids become names: MEDSSL_KEY, else one in the user's folder."""
    return _folder("MEDSSL_KEY", "~/.local/share/medssl/key")


def listed_path(text: str) -> Path:
    """A path of a list, whose first part may be a variable: `$nnssl_raw/brains/x.nii.gz`.

    Raises:
        DataError: the variable is not set.
    """
    first, _, rest = text.partition("/")
    if not first.startswith("$"):
        return Path(text)
    folder = os.environ.get(first[1:])
    if not folder:
        raise DataError(
            f"the environment variable {first[1:]} is not set",
            f"the list names the file {text}",
            f"set {first[1:]} to the folder that it stands for",
        )
    return Path(folder).expanduser() / rest


def tracking_uri() -> str:
    """MLflow's store: MLFLOW_TRACKING_URI, else an SQLite file in the runs' folder.

    User and password in a server's address move to the variables that MLflow reads them from, since
    it prints addresses.
    """
    default = f"sqlite:///{(runs_root() / 'mlflow.db').absolute()}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or default
    found = re.fullmatch(r"(https?://)(.*)@([^@]*)", uri)
    if found is None:
        return uri
    user, _, password = found[2].partition(":")
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
    os.environ["MLFLOW_TRACKING_URI"] = found[1] + found[3]
    return found[1] + found[3]


def shown_uri(uri: str) -> str:
    """The address of a store without user, password and parameters."""
    return re.sub(r"://.*@", "://", uri).partition("?")[0]


def wait_passively() -> None:
    """Have torch's threads sleep while they wait, unless OMP_WAIT_POLICY says otherwise.

    By default they spin, which on a machine that others use too costs more than tenfold. To be
    called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def process_rank() -> int:
    """Which of the processes that torchrun started this is, from 0; alone it is 0."""
    return int(os.environ.get("RANK") or 0) if process_count() > 1 else 0


def process_count() -> int:
    """How many processes torchrun started for one training; alone it is 1."""
    return int(os.environ.get("WORLD_SIZE") or 1) if os.environ.get("MASTER_ADDR") else 1


def process_on_machine() -> int:
    """Which of the processes on this machine this is, from 0."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def with_variables(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process to start: this one's, and these variables."""
    return {**os.environ, **more}


def shown_gpus() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process; None where it says nothing."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if listed is None else [name for name in listed.split(",") if name.strip()]
