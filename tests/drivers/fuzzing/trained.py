"""Working directories in which a toy pipeline has run, made once for all formats that need one."""

import os
import shutil
from pathlib import Path

from tests.drivers.command import medssl
from tests.drivers.toys import TOYS

COMMANDS: dict[str, tuple[str, ...]] = {
    "balls": ("train", "balls", "train.steps=2", "-q"),
    "dots": ("train", "dots", "train.steps=2", "-q"),
    "heads": ("pretrain", "encoder", "train.steps=2", "probe.patients=0", "-q"),
    "joints": ("train", "joints", "train.steps=2", "-q"),
    "slides": ("train", "slides", "train.epochs=1", "-q"),
}


def finished(toy: str, place: Path, more: tuple[str, ...] = ()) -> None:
    """Fill `place` with a copy of the toy's working directory after its training.

    Args:
        more: a command that is carried out after it, in the copy alone.
    """
    kept = _store(place) / toy
    if not kept.is_dir():
        beside = kept.with_name(f"making_{toy}")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        TOYS[toy](beside)
        _carry_out(COMMANDS[toy], beside)
        beside.rename(kept)
    shutil.copytree(kept, place, dirs_exist_ok=True)
    if more:
        _carry_out(more, place)


def _carry_out(words: tuple[str, ...], place: Path) -> None:
    here, before = Path.cwd(), dict(os.environ)
    os.chdir(place)
    for name, folder in (("DATA", "data"), ("RUNS", "runs"), ("CACHE", "cache")):
        os.environ[f"MEDSSL_{name}"] = folder
    try:
        medssl(*words)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def checkpoint(toy: str, place: Path) -> None:
    """Put the checkpoint of the toy's run into `place/checkpoint`."""
    copy = place.with_name(f"{place.name}_whole")
    finished(toy, copy)
    pattern = "*/*/checkpoint" if toy == "slides" else "*/*/checkpoint/last"
    (found,) = (copy / "runs").glob(pattern)
    found.rename(place / "checkpoint")
    shutil.rmtree(copy)


def _store(place: Path) -> Path:
    """Beside the folders in which samples are made."""
    return place.parent.with_name("trained")
