"""All stages of a pipeline in order, of whichever family.

A stage whose results exist and whose inputs have not changed is skipped, so the same command
continues a run that was stopped or killed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.device import choose_device
from medssl.environment import shown_uri, tracking_uri
from medssl.pipeline.config import Config, load_config, refuse_without_encoder
from medssl.pipeline.family import Step
from medssl.pipeline.plan import RUN, Cohort, Job, Plan, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_summary
from medssl.pipeline.stage import Stage, carry_out
from medssl.settings import EncoderSource
from medssl.train.track import Tracker

HOW = ("device", "threads")
"""Keys of `train` that say how a run is computed; its pre-training is computed the same way."""


@dataclass(frozen=True)
class Outcome:
    """Where the results of a run are.

    Attributes:
        paths: by a word, "model" first.
        found: what was found, in lines.
    """

    paths: Mapping[str, Path]
    found: Sequence[str] = ()

    def __getitem__(self, word: str) -> Path:
        return self.paths[word]

    def __str__(self) -> str:
        lines = {**self.paths, "MLflow": shown_uri(tracking_uri())}
        return "\n".join([*self.found, *(f"{word:8} {where}" for word, where in lines.items())])


def run(config: Config[Any], reporter: QuietReporter, resume: bool = True) -> Outcome:
    """Carry out every stage of `config` that is not done yet.

    Args:
        resume: false trains anew even where a state is kept.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        DataError, UsageError: the settings or the data do not allow it.
    """
    choose_device(config.pipeline.train.device)
    cohort = config.family.cohort(config)
    config.family.refuse(config, cohort, reporter)
    plan = make_plan(with_encoder(config, cohort, reporter), cohort)
    return carry_out_plan(plan, reporter, resume)


def train(config: Config[Any], reporter: QuietReporter, resume: bool = True) -> Outcome:
    """Pre-train where the pipeline asks for it, and train; nothing else.

    Raises:
        Stopped, DataError, UsageError: as `run`.
    """
    choose_device(config.pipeline.train.device)
    cohort = config.family.cohort(config)
    plan = make_plan(with_encoder(config, cohort, reporter), cohort)
    job = Job(plan, reporter)
    _carry_out(job, config.family.steps(plan)[0], resume, None)
    return Outcome({"model": plan.model})


def carry_out_plan(plan: Plan[Any, Any], reporter: QuietReporter, resume: bool = True) -> Outcome:
    """All stages of a plan.

    Raises:
        Stopped, DataError, UsageError: as `run`.
    """
    family, job = plan.config.family, Job(plan, reporter)
    steps = family.steps(plan)
    if RUN not in plan.stages:
        _carry_out(job, steps[0], resume, None)
        return Outcome(family.results(plan), family.found(plan))
    whole = plan.stages[RUN]

    def work(tracker: Tracker) -> dict[str, Any]:
        for step in steps:
            _carry_out(job, step, resume, whole)
        if steps[-1].name == plan.last.name:
            tracker.metrics(plan.config.last_step, read_summary(plan.last.folder))
        return {}

    parts = [stage for name, stage in plan.stages.items() if name != RUN]
    carry_out(whole, plan.subject, work, reporter, parts=parts, resume=resume)
    return Outcome(family.results(plan), family.found(plan))


def _carry_out(job: Job, step: Step, resume: bool, whole: Stage | None) -> None:
    """One stage, and the log of its scores."""
    plan, stage = job.plan, job.plan.stages[step.name]
    if not (stage.done and resume):
        _ = job.data  # what does not fit is refused before anything is written

    def work(tracker: Tracker) -> Mapping[str, Any]:
        facts = step.work(job, tracker)
        if "summary" in facts:
            tracker.metrics(plan.config.last_step, facts["summary"])
        return facts

    carry_out(
        stage,
        plan.subject,
        work,
        job.reporter,
        parent=whole,
        resume=resume,
        intact=lambda: step.intact(job),
    )


def with_encoder(config: Config[Any], cohort: Cohort, reporter: QuietReporter) -> Config[Any]:
    """`config` with the pre-trained encoder that it names, which is trained first if need be.

    Pre-training takes the run's own seed, device and threads, unless `pretrain.set` gives others;
    no other override reaches it. It sees no patient that the run tests. Runs that ask for the same
    one share it.

    Raises:
        Stopped, DataError, UsageError: as `run`; also where the encoder does not fit the network.
    """
    inner = pretraining(config, cohort)
    if inner is None:
        return _started(config)
    reporter.note(
        f"{config.pipeline.name} starts from {inner.config.pipeline.name} ({inner.config.label}); "
        "its settings are changed with pretrain.set"
    )
    return _started(config, carry_out_plan(inner, reporter)["model"])


def with_finished_encoder(config: Config[Any], cohort: Cohort) -> Config[Any] | None:
    """As `with_encoder`, but None where the pre-training has yet to run."""
    inner = pretraining(config, cohort)
    if inner is None:
        return _started(config)
    return _started(config, inner.model) if inner.last.done else None


def pretraining(config: Config[Any], cohort: Cohort) -> Plan[Any, Any] | None:
    """The pre-training that a run names; None where it names none, or a checkpoint.

    Raises:
        UsageError, DataError: there is no such pipeline, or what it trains does not fit.
    """
    initial, choice = config.family.initial_encoder(), _choice(config)
    if initial is None or choice is None or choice.pipeline is None:
        return None
    how = [f"train.{key}={value}" for key in HOW if (value := getattr(config.pipeline.train, key))]
    overrides: Sequence[str] = [f"seed={config.pipeline.seed}", *how, *choice.set]
    inner = load_config(choice.pipeline, overrides)
    refuse_without_encoder(inner)
    initial.must_fit(config, inner)
    return make_plan(inner, kept_out=cohort.tested(config.spec.name))


def _choice(config: Config[Any]) -> EncoderSource | None:
    found: EncoderSource | None = getattr(config.pipeline, "pretrain", None)
    return found


def _started(config: Config[Any], folder: Path | None = None) -> Config[Any]:
    """`config` starting at the encoder in `folder`, or in that which it names."""
    initial, choice = config.family.initial_encoder(), _choice(config)
    if initial is None or choice is None:
        return config
    started: Config[Any] = initial.at(config, folder if folder is not None else choice.folder)
    return started
