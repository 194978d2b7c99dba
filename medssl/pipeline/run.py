"""All stages of a pipeline in order, of whichever family.

A stage whose results exist and whose inputs have not changed is skipped, so the same command
continues a run that was stopped or killed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medssl.device import choose_device
from medssl.environment import shown_uri, tracking_uri
from medssl.errors import UsageError
from medssl.pipeline.config import Config, load_config, refuse_without_encoder
from medssl.pipeline.plain_plan import plain_plan, plan_of
from medssl.pipeline.plan import PREPARE, RUN, Cohort, Job, Plan, cohort_of, make_plan
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter, SilentReporter
from medssl.pipeline.results import headline_of, score_in_words
from medssl.pipeline.stage import DONE, Stage, Within, carry_out, read_json
from medssl.registry import load
from medssl.train.description import WEIGHTS
from medssl.train.distributed import TEAM
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
        wide = max(8, *map(len, lines))
        return "\n".join(
            [*self.found, *(f"{word:{wide}} {where}" for word, where in lines.items())]
        )


def run(
    config: Config[Any],
    reporter: QuietReporter,
    resume: bool = True,
    within: Within | None = None,
) -> Outcome:
    """Carry out every stage of `config` that is not done yet.

    Args:
        resume: false trains anew even where a state is kept.
        within: what the run belongs to in MLflow.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        DataError, UsageError: the settings or the data do not allow it.
    """
    return carry_out_plan(_planned(config, reporter), reporter, resume, within)


def train_fold(config: Config[Any], number: int, reporter: QuietReporter) -> None:
    """Train one fold of a cross-validation and no more; `run` does what is left, and tracks it.

    Raises:
        Stopped, DataError, UsageError: as `run`.
    """
    plan = _planned(config, reporter)
    job, (name, _) = Job(plan, reporter, fold=number), config.family.folded
    if plan.stages[name].done:
        return
    _prepare(job)
    if config.family.steps[name].together:
        TEAM.order("stage", plain_plan(plan), name)
    load(config.family.steps[name].work)(job, _untracked(plan.stages[name]))


def _planned(config: Config[Any], reporter: QuietReporter) -> Plan[Any, Any]:
    """What a run will do; what would fail only after training is refused, and encoders are made."""
    cohort = _told_cohort(config, reporter)
    _refuse_absent_device(config, cohort)
    config = with_plan(config, cohort, reporter)
    _refuse_untested(config, cohort, reporter)
    if config.family.before.refuse is not None:
        load(config.family.before.refuse)(config, cohort, reporter)
    return make_plan(with_encoder(config, cohort, reporter), cohort)


def _refuse_absent_device(config: Config[Any], cohort: Cohort) -> None:
    """Refuse a device that is not here, unless all was done elsewhere, as a cluster does it."""
    try:
        choose_device(config.pipeline.train.device)
    except UsageError:
        ready = with_finished_encoder(with_plan(config, cohort, QuietReporter()), cohort)
        if ready is None or not all(one.done for one in make_plan(ready, cohort).stages.values()):
            raise


def _untracked(stage: Stage) -> Tracker:
    """A tracker that is never begun, and keeps nothing."""
    return Tracker(stage.folder, "", "", None, {}, {})


def train(config: Config[Any], reporter: QuietReporter, resume: bool = True) -> Outcome:
    """Pre-train where the pipeline asks for it, and train; nothing else.

    Raises:
        Stopped, DataError, UsageError: as `run`.
    """
    choose_device(config.pipeline.train.device)
    cohort = _told_cohort(config, reporter)
    config = with_plan(config, cohort, reporter)
    plan = make_plan(with_encoder(config, cohort, reporter), cohort)
    _carry_out(Job(plan, reporter), next(iter(plan.stages)), resume, None)
    return Outcome({"model": plan.model})


def carry_out_plan(
    plan: Plan[Any, Any],
    reporter: QuietReporter,
    resume: bool = True,
    within: Within | None = None,
) -> Outcome:
    """All stages of a plan.

    Args:
        within: what the run belongs to in MLflow.

    Raises:
        Stopped, DataError, UsageError: as `run`.
    """
    job, whole = Job(plan, reporter, within), plan.stages.get(RUN)
    parts = {name: stage for name, stage in plan.stages.items() if name != RUN}

    def work(tracker: Tracker) -> dict[str, Any]:
        for name in parts:
            _carry_out(job, name, resume, whole)
        if "summary" in plan.last.facts:
            numbers = read_json(plan.last.folder / DONE, "summary")["summary"]
            tracker.metrics(plan.config.last_step, numbers | _headline(plan, tracker))
        return {}

    if whole is None:
        _carry_out(job, plan.last.name, resume, None)
    else:
        stages = tuple(parts.values())
        carry_out(whole, job.subject, work, reporter, parent=job.above, parts=stages, resume=resume)
    found = plan.config.family.found
    return Outcome(plan.results, score_in_words(plan) if found is None else load(found)(plan))


def _headline(plan: Plan[Any, Any], tracker: Tracker) -> dict[str, float]:
    """The score by which runs are ranked, with its interval, by names that all families share."""
    found = headline_of(plan)
    if found is None:
        return {}
    tracker.tag("score", found.name)
    ends = {"test/score": found.value, "test/score_low": found.low, "test/score_high": found.high}
    return {name: value for name, value in ends.items() if value is not None}


def _told_cohort(config: Config[Any], reporter: QuietReporter) -> Any:
    """The cases of a run; what is to be said of their split is told."""
    cohort = cohort_of(config)
    for note in cohort.notes:
        reporter.note(f"note: {note}")
    return cohort


def _refuse_untested(config: Config[Any], cohort: Cohort, reporter: QuietReporter) -> None:
    """Refuse at once what would fail only after training, and tell what will not be known."""
    scoring = config.family.scoring
    cases = scoring.tested
    if cases and not cohort.test:
        why = f"the data set {config.spec.name} declares none and split.test is 0"
        if not scoring.unscored:
            do = "set split.test, or use `medssl train`"
            raise UsageError(f"there are no test {cases}", why, do)
        reporter.note(
            f"there are no test {cases}, so nothing is scored: {why}; split.test=NUMBER keeps some "
            "of the labelled ones for that"
        )
    chosen = getattr(getattr(config.pipeline, "predict", None), "checkpoint", None)
    if cases and chosen == "best" and not cohort.split.validation:
        raise UsageError(
            f"predict.checkpoint=best needs validation {cases}",
            "split.validation leaves none",
            "raise split.validation or set predict.checkpoint=last",
        )


def _carry_out(job: Job, name: str, resume: bool, whole: Stage | None) -> None:
    """One stage, and the log of its scores."""
    plan, stage, step = job.plan, job.plan.stages[name], job.plan.config.family.steps[name]
    if not (stage.done and resume):
        _prepare(job)
    if name == next(iter(plan.stages)):
        _foretell(job, stage)

    def work(tracker: Tracker) -> Mapping[str, Any]:
        if step.together:
            TEAM.order("stage", plain_plan(plan), name)
        facts: Mapping[str, Any] = load(step.work)(job, tracker)
        if "summary" in facts:
            tracker.metrics(plan.config.last_step, facts["summary"])
        return facts

    def intact() -> bool:
        return step.intact is None or bool(load(step.intact)(job))

    above = job.above if whole is None else whole.folder
    carry_out(stage, job.subject, work, job.reporter, parent=above, resume=resume, intact=intact)


def _prepare(job: Job) -> None:
    """Make what all stages work on; what does not fit is refused before anything is written."""
    if not job.is_prepared:
        if job.plan.config.family.prepares_together:
            TEAM.order("stage", plain_plan(job.plan), PREPARE)
        _ = job.data


def _foretell(job: Job, first: Stage) -> None:
    """Tell what a run will take that has not begun, where somebody listens."""
    foretell = job.plan.config.family.before.foretell
    if foretell is None or first.folder.exists() or not job.reporter.listens:
        return
    if said := load(foretell)(job):
        job.reporter.note(said)


def follow() -> None:
    """Take part in the stages that the first of several processes asks for, until it ends.

    Raises:
        Stopped: a signal asked for it.
        MedsslError: a stage failed.
    """
    job, told = None, None
    for plain, name in TEAM.orders("stage"):
        if job is None or plain != told:
            job, told = Job(plan_of(plain), SilentReporter()), plain
        if name == PREPARE:
            _ = job.data
            continue
        load(job.plan.config.family.steps[name].work)(job, _untracked(job.plan.stages[name]))


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
    initial, choice = config.initial, config.start
    if initial is None or choice is None or choice.pipeline is None:
        return None
    how = [f"train.{key}={value}" for key in HOW if (value := getattr(config.pipeline.train, key))]
    inner = load_config(choice.pipeline, [f"seed={config.pipeline.seed}", *how, *choice.set])
    refuse_without_encoder(inner)
    part = getattr(inner.pipeline, initial.part, None)
    if part is None:
        raise UsageError(
            f"the encoder that {choice.pipeline} trains is of another kind",
            f"its pipeline has no section '{initial.part}'",
            "name another pipeline that pre-trains",
        )
    config.must_fit(part, f"the encoder of pretrain.pipeline={choice.pipeline}")
    return make_plan(inner, kept_out=cohort.tested(config.spec.name))


def _started(config: Config[Any], folder: Path | None = None) -> Config[Any]:
    """`config` starting at the encoder in `folder`, or in that which it names."""
    initial, choice = config.initial, config.start
    if initial is None or choice is None:
        return config
    found = folder if folder is not None else choice.folder
    finished = {"checkpoint": str(found), "pipeline": None, "set": ()}
    changes: dict[str, Any] = {"pretrain": choice.model_copy(update=finished)}
    part = getattr(config.pipeline, initial.part)
    if hasattr(part, "weights"):
        changes[initial.part] = part.model_copy(update={"weights": str(found / WEIGHTS)})
    return replace(config, pipeline=config.pipeline.model_copy(update=changes))
