"""What a pre-training will do: who is learnt from, who is probed, who is kept out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.layouts import find_cases
from medssl.data.spec import Case, DataSpec
from medssl.data.split import make_split, patient_key
from medssl.environment import runs_root
from medssl.errors import DataError
from medssl.methods.settings.alice import Settings as AliceSettings
from medssl.pipeline.config import digest, load_config
from medssl.pipeline.pretrain.config import IMAGES, PretrainConfig
from medssl.pipeline.stage import Stage, Subject
from medssl.train.description import description_of, weights_hash
from medssl.train.fingerprint import fingerprint

Sources = tuple[tuple[DataSpec, tuple[Case, ...]], ...]

PROBES = "probes.json"
"""What the probes say, in the stage's folder."""


@dataclass(frozen=True)
class PretrainPlan:
    """The stage and its cases, by data set.

    Attributes:
        train: cases that are learnt from, without labels.
        probed: cases of other patients, on which the encoder is probed.
        seen: sorted keys of the patients in `train`, and of those whom a given embedding saw.
    """

    config: PretrainConfig
    train: Sources
    probed: Sources
    seen: tuple[str, ...]
    stage: Stage

    @property
    def subject(self) -> Subject:
        """What is written down of the stage."""
        config = self.config
        tags = {"method": config.pipeline.method.name}
        return Subject(config.pipeline.name, config.label, config.resolved(), None, tags)

    @property
    def checkpoint(self) -> Path:
        """Folder of the encoder, once the stage is done."""
        return self.stage.folder / "checkpoint" / "last"


def make_pretrain_plan(
    config: PretrainConfig, kept_out: Collection[str] = frozenset()
) -> PretrainPlan:
    """Cases and stage folder of a pre-training; trains nothing and writes nothing.

    Args:
        kept_out: keys (`patient_key`) of patients that must not be seen, beside the test patients
            of the pipelines that `exclude` names.

    Raises:
        DataError: a data set is missing, or no patient is left to learn from.
    """
    kept_out = {*kept_out, *excluded(config.pipeline.exclude)}
    train, probed = [], []
    for spec in config.specs:
        cases = [
            case
            for case in find_cases(spec)
            if _open(spec, case) and patient_key(spec.name, case.patient) not in kept_out
        ]
        learnt, held = _divide(cases, config)
        if not learnt:
            raise DataError(
                f"no patient of {spec.name} is left to learn from",
                f"{len({case.patient for case in held})} are kept for the probes and the test "
                "patients of other pipelines are kept out",
                "lower probe.patients, or leave the data set out",
            )
        train.append((spec, learnt))
        probed.append((spec, held))
    seen = {patient_key(spec.name, case.patient) for spec, part in train for case in part}
    given = given_embedding(config)
    if given is not None:
        seen |= set(description_of(given).get("seen", ()))
    parts = tuple(train), tuple(probed)
    return PretrainPlan(config, *parts, tuple(sorted(seen)), stage_of(config, *parts))


def stage_of(config: PretrainConfig, train: Sources, probed: Sources) -> Stage:
    """Key and folder, by all that shapes what is learnt."""
    prints = [fingerprint(part) for _, part in (*train, *probed)]
    given = given_embedding(config)
    known = [config.hash(), prints, *([] if given is None else [weights_hash(given)])]
    key = digest(known)
    return Stage("pretrain", key, runs_root() / config.pipeline.name / f"pretrain-{key}")


def given_embedding(config: PretrainConfig) -> Path | None:
    """The anatomical embedding that a method is told to mine with; None where there is none."""
    method = config.method
    if not isinstance(method, AliceSettings) or method.views.partner != "matched":
        return None
    given = method.embedding.checkpoint
    return None if given is None else Path(given)


def excluded(pipelines: Sequence[str]) -> set[str]:
    """Keys of the test patients of segmentation pipelines."""
    keys: set[str] = set()
    for name in pipelines:
        config = load_config(name)
        cases = find_cases(config.spec)
        test = set(make_split(cases, config.pipeline.split, config.pipeline.seed).test)
        keys |= {patient_key(config.spec.name, case.patient) for case in cases if case.id in test}
    return keys


def _open(spec: DataSpec, case: Case) -> bool:
    """Whether a case may be learnt from: of radiographs, those of the training part alone."""
    return spec.layout.kind != IMAGES or case.part in (None, "train")


def _divide(
    cases: Sequence[Case], config: PretrainConfig
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to learn from and cases to probe, by patient; at least one patient is learnt from."""
    probe = config.pipeline.probe
    patients = sorted({case.patient for case in cases})
    count = min(probe.patients, len(patients) - 1)
    drawn = np.random.default_rng(probe.seed).permutation(len(patients))[: max(0, count)]
    held = {patients[index] for index in drawn}
    return (
        tuple(case for case in cases if case.patient not in held),
        tuple(case for case in cases if case.patient in held),
    )
