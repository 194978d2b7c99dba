"""What two working directories of one command have that differs, but for times and run ids."""

import json
import sqlite3
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

TIMES = {
    "time",
    "seconds",
    "steps_per_s",
    "wait_share",
    "run_id",
    "store",
    "sent",
    "code",
    "mark",
    "model_id",
}
"""Keys whose values tell when, where or by which commit a run was, not what it found."""

SUMS = "SHA256SUMS"

APART = ("mlflow.db", "mlartifacts")


def files_of(place: Path) -> set[Path]:
    """Every file below a folder, relative to it; MLflow's own are left out."""
    return {
        path.relative_to(place)
        for path in place.rglob("*")
        if (path.is_file() or path.is_symlink())
        and not any(part.startswith(APART) for part in path.relative_to(place).parts)
    }


def leftovers(place: Path, wanted: Path) -> list[str]:
    """Files that an unbroken run does not leave, passing names, and MLflow runs without an end."""
    found = files_of(place)
    odd = {path for path in found if _passing(path)} | (found - files_of(wanted))
    return sorted(map(str, odd)) + unfinished(place)


def unfinished(place: Path) -> list[str]:
    """Names of MLflow runs that are still RUNNING."""
    database = place / "runs" / "mlflow.db"
    if not database.is_file():
        return []
    with sqlite3.connect(database) as store:
        rows = store.execute("SELECT name FROM runs WHERE status = 'RUNNING'").fetchall()
    return [f"MLflow run {name}" for (name,) in rows]


def differences(place: Path, wanted: Path) -> list[str]:
    """Files that are missing or have another content."""
    found = files_of(place)
    return [
        str(path)
        for path in sorted(files_of(wanted))
        if path not in found or not same(place / path, wanted / path)
    ]


def same(one: Path, other: Path) -> bool:
    """Whether two files say the same; equal bytes do, and equal values without their times."""
    if one.read_bytes() == other.read_bytes():
        return True
    try:
        return _equal(_content(one), _content(other))
    except (ValueError, RuntimeError, EOFError, UnpicklingError):
        return False


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        # A line that a continued run wrote again counts instead of the earlier one.
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {line["step"]: _without_times(line) for line in lines}
    if path.name == SUMS:
        # Descriptions hold times, and are compared without them.
        return [line for line in path.read_text().splitlines() if not line.endswith(".json")]
    if path.suffix == ".safetensors":  # writes what it is told beside tensors in any order
        whole = path.read_bytes()
        start = 8 + int.from_bytes(whole[:8], "little")
        return json.loads(whole[8:start]), whole[start:]
    if path.suffix == ".pt":  # its archive is named after a passing file
        return torch.load(path, weights_only=True)
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(inner)
            for key, inner in value.items()
            if key.rpartition("/")[2] not in TIMES
        }
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(
            _equal(one[key], other[key]) for key in one
        )  # fmt: skip
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) or (one != one and other != other)


def _passing(path: Path) -> bool:
    return any(
        part.startswith(".") or part.endswith(".old") or ".part" in part for part in path.parts
    )
