"""All stages of a pipeline of radiographs in order: crops, train, predict, evaluate.

A stage whose results exist and whose inputs have not changed is skipped, so the same command
continues a run that was stopped or killed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.device import choose_device
from medssl.pipeline.grades.config import GradeConfig
from medssl.pipeline.grades.crops import prepare_crops
from medssl.pipeline.grades.evaluate import REPORT, SCORES, evaluate_stage
from medssl.pipeline.grades.plan import (
    FoundImages,
    GradePlan,
    find_images,
    make_grade_plan,
    refuse_untested,
)
from medssl.pipeline.grades.predict import GRADES, chosen_checkpoint, predict_stage
from medssl.pipeline.grades.pretrained import with_encoder
from medssl.pipeline.grades.train import train_stage
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import carry_out
from medssl.train.track import Tracker


@dataclass(frozen=True)
class GradeOutcome:
    """Where the results of a run are.

    Attributes:
        checkpoint: the weights that graded.
        grades: CSV of the test images with calibrated probabilities.
        scores, report: the same with the truth, and the HTML page.
    """

    checkpoint: Path
    grades: Path
    scores: Path
    report: Path

    def __str__(self) -> str:
        return (
            f"model    {self.checkpoint}\ngrades   {self.grades}\n"
            f"scores   {self.scores}\nreport   {self.report}"
        )


def run_grades(
    config: GradeConfig,
    reporter: QuietReporter,
    resume: bool = True,
    found: FoundImages | None = None,
) -> GradeOutcome:
    """Carry out every stage of `config` that is not done yet.

    Args:
        resume: false trains anew even where a state is kept.
        found: the images, where they are at hand.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        DataError, UsageError: as the stages.
    """
    choose_device(config.pipeline.train.device)
    found = found or find_images(config)
    refuse_untested(make_grade_plan(config, found))
    config = with_encoder(config, found, reporter)
    plan = make_grade_plan(config, found)

    def work(tracker: Tracker) -> dict[str, Any]:
        crops = prepare_crops(plan, reporter)
        train_stage(plan, crops, reporter, resume, parent=plan.whole)
        predict_stage(plan, crops, reporter, resume)
        summary = evaluate_stage(plan, crops, reporter, resume)
        tracker.metrics(config.pipeline.train.steps, summary)
        return {}

    parts = (plan.train, plan.predict, plan.evaluate)
    carry_out(plan.whole, plan.subject, work, reporter, parts=parts, resume=resume)
    return _outcome(plan)


def train_grades(config: GradeConfig, reporter: QuietReporter, resume: bool = True) -> Path:
    """The crops and the training alone; returns the folder of the checkpoints."""
    choose_device(config.pipeline.train.device)
    found = find_images(config)
    plan = make_grade_plan(with_encoder(config, found, reporter), found)
    return train_stage(plan, prepare_crops(plan, reporter), reporter, resume)


def _outcome(plan: GradePlan) -> GradeOutcome:
    return GradeOutcome(
        chosen_checkpoint(plan),
        plan.predict.folder / GRADES,
        plan.evaluate.folder / SCORES,
        plan.evaluate.folder / REPORT,
    )
