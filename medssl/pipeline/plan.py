"""What a run will do: its cases, who has which role, and the folders of its stages."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from medssl.data.spec import Case
from medssl.data.split import ROLES, Split, patient_key, verify_unseen
from medssl.environment import runs_root
from medssl.evaluate.report import Origin
from medssl.pipeline.config import Config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import Stage, Subject, Within
from medssl.registry import load
from medssl.section import digest
from medssl.train.fingerprint import code_version
from medssl.train.jsonl_log import read_log

AnyConfig = TypeVar("AnyConfig", bound=Config[Any])
RUN = "run"
"""The stage that holds the others together."""

PREPARE = "prepare"
"""Stands for what a family does before all stages, in orders to other processes."""


@dataclass(frozen=True)
class Cohort:
    """The cases of a run and who has which role.

    Attributes:
        cases: all of them, in the data set's order.
        splits: that of the final model, then those of the folds of a cross-validation; none where
            nothing is divided.
        notes: what a user should know of the division, in sentences.
    """

    cases: tuple[Case, ...]
    splits: tuple[Split, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> Split:
        """The split of the final model."""
        return self.splits[0]

    @property
    def folds(self) -> tuple[Split, ...]:
        """Each leaves out some of the final model's labelled cases, as its test cases."""
        return self.splits[1:]

    @property
    def test(self) -> tuple[Case, ...]:
        """The cases that give a run its scores, in the data set's order.

        Those that nothing learns from; without any, those that a fold has left out.
        """
        return self._named({name for split in self.splits[:1] for name in split.test}) or (
            self.left_out
        )

    @property
    def left_out(self) -> tuple[Case, ...]:
        """The cases that a fold has left out, in the data set's order."""
        return self._named({name for split in self.folds for name in split.test})

    @property
    def kept_from_pretraining(self) -> tuple[Case, ...]:
        """The cases that nothing learns from.

        An encoder that the run starts from must not have seen their patients. In a cross-validation
        it is pre-trained on all others, without their labels.
        """
        held = (name for split in self.splits[:1] for name in (*split.test, *split.set_aside))
        return self._named(set(held))

    def _named(self, names: Collection[str]) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.id in names)

    def answers(self) -> list[tuple[int | None, tuple[str, ...]]]:
        """The test cases of the final model, None, and of each fold by its number.

        Models without any are left out.
        """
        numbered = [(None, self.split), *enumerate(self.folds)]
        return [(number, split.test) for number, split in numbered if split.test]

    def fold_of(self, case: str) -> int | None:
        """The fold that has left out a case; None: the final model has."""
        held = (number for number, fold in enumerate(self.folds) if case in fold.test)
        return next(held, None)

    def folds_of(self, cases: Iterable[str]) -> np.ndarray | None:
        """The fold that has left out each of the cases; None where the final model has."""
        found = [self.fold_of(case) for case in cases]
        return None if None in found else np.array(found)

    def tested(self, spec: str) -> frozenset[str]:
        """Keys of these patients; `spec` is the name of their data spec."""
        return frozenset(patient_key(spec, case.patient) for case in self.kept_from_pretraining)

    def roles(self) -> dict[str, int]:
        """How many cases have each role; those that folds leave out are labelled, too."""
        found = {role: sum(len(getattr(s, role)) for s in self.splits[:1]) for role in ROLES}
        return found | {"test": len(self.test)}

    def to_json(self) -> str | None:
        """Who has which role, hashes included; None where nothing is divided."""
        if len(self.splits) < 2:
            return self.split.to_json() if self.splits else None
        return json.dumps([json.loads(split.to_json()) for split in self.splits], indent=2)


AnyCohort = TypeVar("AnyCohort", bound=Cohort)


@dataclass(frozen=True)
class Plan(Generic[AnyConfig, AnyCohort]):
    """What a run will do.

    Attributes:
        stages: by name, in order; those aside of the others come after them, and "run", which
            holds all together, is the last where there are several.
        kept_out: keys of patients that must not be learnt from.
    """

    config: AnyConfig
    cohort: AnyCohort
    stages: Mapping[str, Stage]
    kept_out: frozenset[str] = frozenset()

    def folder(self, stage: str) -> Path:
        """Where a stage leaves its results."""
        return self.stages[stage].folder

    @property
    def last(self) -> Stage:
        """The stage whose results are those of the whole run."""
        beside = {RUN, *self.config.family.aside}
        return [stage for name, stage in self.stages.items() if name not in beside][-1]

    @property
    def model(self) -> Path:
        """Folder of the checkpoint that the run leaves."""
        return self.results["model"]

    @property
    def results(self) -> dict[str, Path]:
        """Where the results of the finished run are, by a word."""
        return dict(load(self.config.family.results)(self))

    @property
    def subject(self) -> Subject:
        """What its stages have in common."""
        config, splits = self.config, self.cohort.splits
        resolved, split = config.resolved(), self.cohort.to_json()
        labels = (resolved.get("split") or {}).get("labels")
        tags = {
            "method": config.pipeline.method.name,
            "family": config.family.name,
            "seed": str(config.pipeline.seed),
            "data": " + ".join(spec.name for spec in config.specs),
            **({} if labels is None else {"labels": str(labels)}),
            **({"split": splits[0].hash} if splits else {}),
        }
        return Subject(
            config.pipeline.name,
            config.label,
            resolved,
            split,
            tags,
            self.datasets,
            self.model,
            None if config.start is None else config.start.folder,
            config.last_step,
        )

    @property
    def datasets(self) -> list[dict[str, str]]:
        """What the run learns from and is scored on, for MLflow: no case by name."""
        splits = [split.hash for split in self.cohort.splits[:1]]
        profile = json.dumps({"cases": len(self.cohort.cases), **self.cohort.roles()})
        return [
            {
                "name": spec.name,
                "digest": digest([self.config.declared(), splits]),
                "source": json.dumps({"licence": spec.licence, "simulated": spec.simulated}),
                "profile": profile,
            }
            for spec in self.config.specs
        ]

    def origin(self, curves: bytes | None = None, beside: str = "") -> Origin:
        """Where the results in a report come from; asked once the evaluation has begun.

        Args:
            curves: the course of training, PNG; None where it is not drawn.
            beside: scores of the cases that folds left out, in words, where others are tested.
        """
        config, cohort = self.config, self.cohort
        note = ""
        if cohort.folds:
            cases = config.family.scoring.tested or "cases"
            note = (
                f"Cross-validated on {len(cohort.left_out)} labelled {cases}, each answered by one "
                f"of {len(cohort.folds)} models that had not seen it"
                f"{f': {beside}' if beside else ''}."
            )
        return Origin(
            label=config.label,
            method=config.pipeline.method.name,
            paper=config.method.paper,
            checkpoint=getattr(config.pipeline.predict, "checkpoint", "best"),
            roles=cohort.roles(),
            split_hash=", ".join(split.hash for split in cohort.splits),
            code=code_version(),
            config=(self.last.folder / "config.yaml").read_text(encoding="utf-8"),
            curves=curves,
            note=note,
            folds=len(cohort.folds) if cohort.folds and not cohort.split.test else 0,
        )

    def logged(self) -> list[tuple[int, dict[str, float]]]:
        """Steps and numbers of the training; none where there is no log."""
        path = self.folder("train") / "metrics.jsonl"
        return [(entry.step, entry.values) for entry in read_log(path)]


@dataclass
class Job:
    """A plan that is carried out.

    Attributes:
        within: what the run belongs to.
        fold: of a cross-validation, which alone is to be trained; None: all that is planned.
    """

    plan: Plan[Any, Any]
    reporter: QuietReporter
    within: Within | None = None
    fold: int | None = None

    @property
    def subject(self) -> Subject:
        """What its stages have in common."""
        found = self.plan.subject
        if self.within is None:
            return found
        # Tables of runs show the beginning of a name alone, so nothing stands there twice.
        word, (method, _, _) = self.within.word, found.label.partition(",")
        label = found.label if word == method else f"{word}: {found.label}"
        return replace(found, label=label, tags={**found.tags, **self.within.tags})

    @property
    def above(self) -> Path | None:
        """The folder of what the run belongs to; None where that is of another pipeline."""
        beside = self.plan.last.folder.parent
        return self.within.folder if self.within and self.within.folder.parent == beside else None

    @property
    def is_prepared(self) -> bool:
        """Whether `data` is there already."""
        return "data" in vars(self)

    @cached_property
    def data(self) -> Any:
        """What the family prepares for all stages, made when it is first asked for."""
        prepare = self.plan.config.family.prepare
        return None if prepare is None else load(prepare)(self)


def cohort_of(config: Config[Any], kept_out: Collection[str] = frozenset()) -> Any:
    """The cases of a run and who has which role; reads no image, and masks only for folds.

    Args:
        kept_out: keys of patients that must not be learnt from.

    Raises:
        DataError, UsageError: the data set is missing or cannot be used for such a run.
    """
    return load(config.family.cohort)(config, kept_out)


def make_plan(
    config: AnyConfig, cohort: Cohort | None = None, kept_out: Collection[str] = frozenset()
) -> Plan[AnyConfig, Any]:
    """Cases and stage folders of a run; trains nothing and writes nothing.

    Args:
        cohort: where it is at hand.
        kept_out: keys of patients that must not be learnt from.

    Raises:
        DataError, UsageError: as `cohort_of`; or the encoder to start from is not there, does not
            fit, or has seen a test case.
    """
    found = cohort if cohort is not None else cohort_of(config, kept_out)
    initial, choice = config.initial, config.start
    if initial is not None and choice is not None:
        trained = load(initial.read)(choice.folder)
        config.must_fit(getattr(trained, initial.part), f"the encoder in {choice.folder}")
        tested = found.kept_from_pretraining
        cards = trained.data if isinstance(trained.data, tuple) else (trained.data,)
        learnt_from = {card.name for card in cards}
        verify_unseen(tested, config.spec.name, trained.seen, trained.key, learnt_from)
    folder = runs_root() / config.pipeline.name
    stages, key, aside = dict[str, Stage](), "", config.family.aside
    decided = load(config.family.inputs)(config, found)
    for name in [name for name in decided if name not in aside]:
        key = _key(key, decided[name])
        stages[name] = Stage(name, key, folder / f"{name}-{key}")
    for name in [name for name in decided if name in aside]:
        own = _key(stages[aside[name]].key, decided[name])
        stages[name] = Stage(name, own, folder / f"{name}-{own}")
        key = _key(key, [own])
    if len(stages) > 1:
        stages[RUN] = Stage(RUN, key, folder / f"{RUN}-{key}")
    return Plan(config, found, stages, frozenset(kept_out))


def _key(before: str, parts: Sequence[Any]) -> str:
    """The key of a stage after another, by what decides its result."""
    return digest([*([before] if before else []), *parts]) if parts else before
