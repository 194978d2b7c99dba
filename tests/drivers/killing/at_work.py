"""What a killed command was at, by what it left on the disk."""

from pathlib import Path

WORKS = ("start", "cache", "training", "checkpoint", "prediction", "rest")
"""In order: before anything is written; images that are preprocessed; steps; a checkpoint or a
state half written; masks and calls; scores and reports."""


def at_work(place: Path) -> str:
    """One of `WORKS`.

    Args:
        place: working folder of the command, as the kill left it.
    """
    learnt, said = _stages(place, "train-", "pretrain-"), _stages(place, "predict-")
    passing = [path.relative_to(place) for path in place.rglob(".part-*")]
    if any("checkpoint" in path.parts[:-1] or _is_of_training(path.name) for path in passing):
        return "checkpoint"
    if any((stage / "done.json").is_file() for stage in said):
        return "rest"
    if (place / "out").is_dir() or said or _all_done(learnt):
        return "prediction"
    if any((stage / "metrics.jsonl").is_file() for stage in learnt):
        return "training"
    return "cache" if (place / "cache").is_dir() else "start"


def _stages(place: Path, *kinds: str) -> list[Path]:
    return [path for path in place.glob("runs/*/*") if path.name.startswith(kinds)]


def _all_done(stages: list[Path]) -> bool:
    return bool(stages) and all((stage / "done.json").is_file() for stage in stages)


def _is_of_training(name: str) -> bool:
    return name.endswith((".state.pt", ".last", ".best"))
