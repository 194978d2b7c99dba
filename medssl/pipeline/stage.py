"""Stages and their folders: what is finished and unchanged is not done again.

A stage's folder is `<runs>/<pipeline>/<stage>-<key>`; the key is a hash of everything that
influences its result. `done.json` in it says that it is finished.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from medssl.atomic import make_folder, write_text
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.pipeline.cohort import split_cohort
from medssl.pipeline.config import Config, digest
from medssl.train.fingerprint import fingerprint


@dataclass(frozen=True)
class Stage:
    """One step of a run and where it leaves its results."""

    name: str
    key: str
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its results are complete."""
        return (self.folder / "done.json").is_file()

    def begin(self, resolved: Mapping[str, Any], split: str) -> None:
        """Make the folder; write down the resolved configuration and the split, as JSON."""
        make_folder(self.folder)
        write_text(self.folder / "config.yaml", yaml.safe_dump(dict(resolved), sort_keys=False))
        write_text(self.folder / "split.json", split)

    def finish(self, **facts: Any) -> None:
        """Mark the stage as complete."""
        write_text(self.folder / "done.json", json.dumps({"stage": self.name, **facts}, indent=2))


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        test: the held-out cases, in the data set's order.
        whole: the run itself, which holds together the stages after it.
    """

    config: Config
    cases: tuple[Case, ...]
    split: Split
    test: tuple[Case, ...]
    whole: Stage
    train: Stage
    predict: Stage
    evaluate: Stage

    @property
    def label(self) -> str:
        """The run in a few words, e.g. "tracoco, 8 labels, seed 0"."""
        pipeline = self.config.pipeline
        return f"{pipeline.method.name}, {pipeline.split.labels} labels, seed {pipeline.seed}"


def make_plan(config: Config) -> Plan:
    """Cases, split and stage folders of a run; trains nothing and writes nothing.

    Raises:
        DataError: the data set is missing, declares no labels, or is too small for the label
            budget; or the encoder to start from has seen test patients.
        UsageError: that encoder is not there, or does not fit the network.
    """
    pipeline = config.pipeline
    cases, split = split_cohort(config)
    inputs = config.hash("data", "preprocess", "network", "method", "pretrain", "augment", "train")
    if pipeline.pretrain is not None:
        from medssl.pipeline.pretrained import verify_start

        verify_start(config, split, cases)
    test = [case for case in cases if case.id in set(split.test)]
    roles = (split.labelled, split.unlabelled, split.validation)
    seen = fingerprint([case for case in cases if case.id in set().union(*roles)])
    train = digest([inputs, pipeline.seed, roles, seen])
    mirrored = [pipeline.augment.mirrored] if pipeline.predict.flips else []
    predict = digest([train, config.hash("predict"), fingerprint(test), *mirrored])
    evaluate = digest([predict, config.hash("evaluate")])
    folder = runs_root() / pipeline.name
    return Plan(
        config,
        tuple(cases),
        split,
        tuple(test),
        whole=Stage("run", evaluate, folder / f"run-{evaluate}"),
        train=Stage("train", train, folder / f"train-{train}"),
        predict=Stage("predict", predict, folder / f"predict-{predict}"),
        evaluate=Stage("evaluate", evaluate, folder / f"evaluate-{evaluate}"),
    )


def read_json(path: Path, *numbers: str) -> dict[str, Any]:
    """A JSON object that medssl wrote.

    Args:
        numbers: its keys that must hold numbers by name.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(plain, dict) or not all(_are_numbers(plain.get(key)) for key in numbers):
        raise _damaged(path)
    return plain


def read_numbers(path: Path) -> dict[str, dict[str, float]]:
    """Groups of numbers by name that medssl wrote; none without the file.

    Raises:
        UsageError: the file is damaged.
    """
    return read_json(path, *read_json(path)) if path.is_file() else {}


def read_config(folder: Path, *keys: str) -> dict[str, Any]:
    """The resolved configuration that a stage wrote down.

    Args:
        keys: dotted keys that it must have, e.g. "method.name".

    Raises:
        UsageError: it is missing or damaged.
    """
    path = folder / "config.yaml"
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in keys:
            reduce(lambda part, name: part[name], key.split("."), plain)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        raise _damaged(path) from None
    found: dict[str, Any] = plain
    return found


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, int | float | None) for one in value.values()
    )


def _damaged(path: Path) -> UsageError:
    return UsageError(
        f"{path} cannot be read",
        "it is damaged or was changed",
        f"delete the folder {path.parent} and run again",
    )
