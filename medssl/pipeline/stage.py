"""Stages and their folders: what is finished and unchanged is not done again.

A stage's folder is `<runs>/<pipeline>/<stage>-<key>`; the key is a hash of everything that
influences its result. `done.json` in it says that it is finished.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssl.atomic import write_text
from medssl.data.layouts import find_cases
from medssl.data.spec import Case
from medssl.data.split import Split, make_split, verify
from medssl.environment import runs_root
from medssl.errors import UsageError
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
        self.folder.mkdir(parents=True, exist_ok=True)
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
        DataError: the data set is missing, or too small for the label budget; or the encoder to
            start from has seen test patients.
        UsageError: that encoder is not there, or does not fit the network.
    """
    pipeline = config.pipeline
    cases = find_cases(config.spec)
    split = make_split(cases, pipeline.split, pipeline.seed)
    verify(split, cases)
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that medssl wrote.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(
            f"{path} cannot be read", do=f"delete {path.parent} and run again"
        ) from None
    return plain
