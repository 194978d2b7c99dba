"""All stages of a pipeline in order: train, predict, evaluate.

A stage whose results exist and whose inputs have not changed is skipped, so the same command
continues a run that was stopped or killed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.data.split import Split
from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.pipeline.cohort import split_cohort
from medssl.pipeline.config import Config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import Plan, Stage, carry_out, make_plan
from medssl.train.track import Tracker

Train = Callable[[Config, Path, Tracker, QuietReporter], Path]


@dataclass(frozen=True)
class Outcome:
    """Where the results of a run are.

    Attributes:
        checkpoints: folder that holds `last` and, with validation cases, `best`.
        masks: folder of the predicted test cases.
        report: HTML page.
        scores: CSV, a row per case and class.
    """

    checkpoints: Path
    masks: Path
    report: Path
    scores: Path


def run(
    config: Config, reporter: QuietReporter, resume: bool = True, train: Train | None = None
) -> Outcome:
    """Carry out every stage of `config` that is not done yet.

    Args:
        resume: false trains anew even where a state is kept.
        train: the training stage; by default `medssl.pipeline.train.train`.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        DataError, UsageError: as the stages.
    """
    from medssl.pipeline.evaluate import evaluate_stage
    from medssl.pipeline.predict import predict_stage
    from medssl.pipeline.preflight import check_test_cases
    from medssl.pipeline.pretrained import with_encoder

    choose_device(config.pipeline.train.device)
    cases, split = split_cohort(config)
    _check_test(config, split)
    check_test_cases(config.spec, [case for case in cases if case.id in set(split.test)], reporter)
    config = with_encoder(config, reporter)
    plan = make_plan(config)

    def work(tracker: Tracker) -> dict[str, Any]:
        checkpoints = train_stage(plan, reporter, resume, train, parent=plan.whole)
        chosen = checkpoints / config.pipeline.predict.checkpoint
        predict_stage(plan, chosen, reporter, resume)
        tracker.metrics(config.pipeline.train.steps, evaluate_stage(plan, reporter, resume))
        return {}

    parts = (plan.train, plan.predict, plan.evaluate)
    carry_out(plan.whole, plan.subject, work, reporter, parts=parts, resume=resume)
    return outcome(plan)


def train_alone(config: Config, reporter: QuietReporter, resume: bool = True) -> Path:
    """Pre-train where the pipeline names it, and train; returns the folder of the checkpoints."""
    from medssl.pipeline.pretrained import with_encoder

    choose_device(config.pipeline.train.device)
    return train_stage(make_plan(with_encoder(config, reporter)), reporter, resume)


def train_stage(
    plan: Plan,
    reporter: QuietReporter,
    resume: bool = True,
    train: Train | None = None,
    parent: Stage | None = None,
) -> Path:
    """Train unless it is done; returns the folder of the checkpoints."""
    stage = plan.train

    def work(tracker: Tracker) -> dict[str, Any]:
        (train or _shipped())(plan.config, stage.folder, tracker, reporter)
        return {}

    carry_out(stage, plan.subject, work, reporter, parent=parent, resume=resume)
    return stage.folder / "checkpoint"


def _shipped() -> Train:
    from medssl.pipeline.train import train

    return train


def outcome(plan: Plan) -> Outcome:
    """Where the results of a finished run are."""
    return Outcome(
        checkpoints=plan.train.folder / "checkpoint",
        masks=plan.predict.folder,
        report=plan.evaluate.folder / "report.html",
        scores=plan.evaluate.folder / "scores.csv",
    )


def _check_test(config: Config, split: Split) -> None:
    """Refuse at once what would fail only after training."""
    predict = config.pipeline.predict
    if not split.test:
        raise UsageError(
            "there are no test cases",
            f"the data set {config.spec.name} declares none and split.test is 0",
            "set split.test, or use `medssl train`",
        )
    if predict.checkpoint == "best" and not split.validation:
        raise UsageError(
            "predict.checkpoint=best needs validation cases",
            "split.validation leaves none of the labelled cases for it",
            "raise split.validation or set predict.checkpoint=last",
        )
