"""All stages of a pipeline of slides in order: features, train, predict, evaluate.

A stage whose results exist and whose inputs have not changed is skipped, so the same command
continues a run that was stopped or killed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medssl.device import choose_device
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.bags import find_bags
from medssl.pipeline.slides.config import SlideConfig
from medssl.pipeline.slides.evaluate import evaluate_stage
from medssl.pipeline.slides.plan import make_slide_plan
from medssl.pipeline.slides.predict import predict_stage
from medssl.pipeline.slides.train import train_stage
from medssl.pipeline.stage import carry_out
from medssl.train.track import Tracker


@dataclass(frozen=True)
class SlideOutcome:
    """Where the results of a run are.

    Attributes:
        checkpoint: the classifier of all folds.
        heat_maps: folder, or None for bags without places.
        scores, report: CSV and HTML, or None where nothing was held out.
    """

    checkpoint: Path
    heat_maps: Path | None
    scores: Path | None
    report: Path | None

    def __str__(self) -> str:
        lines = {
            "model": self.checkpoint,
            "maps": self.heat_maps,
            "scores": self.scores,
            "report": self.report,
        }
        return "\n".join(f"{name:8} {path}" for name, path in lines.items() if path is not None)


def run_slides(config: SlideConfig, reporter: QuietReporter, resume: bool = True) -> SlideOutcome:
    """Carry out every stage of `config` that is not done yet.

    Args:
        resume: false trains anew even where a state is kept.

    Raises:
        Stopped: a signal asked for it; the same call continues.
        DataError, UsageError: as the stages.
    """
    choose_device(config.pipeline.train.device)
    plan = make_slide_plan(config)
    drawn = config.tiled and config.pipeline.predict.heat_maps

    def work(tracker: Tracker) -> dict[str, Any]:
        bags = find_bags(config, plan.cases, reporter)
        train_stage(plan, bags, reporter, resume, parent=plan.whole)
        if drawn:
            predict_stage(plan, bags, reporter, resume)
        if plan.tested:
            tracker.metrics(1, evaluate_stage(plan, bags, reporter, resume))
        return {}

    parts = (plan.train, plan.predict, plan.evaluate)
    carry_out(plan.whole, plan.subject, work, reporter, parts=parts, resume=resume)
    found = plan.evaluate.folder if plan.tested else None
    return SlideOutcome(
        plan.train.folder / "checkpoint",
        plan.predict.folder if drawn else None,
        found and found / "scores.csv",
        found and found / "report.html",
    )


def train_slides(config: SlideConfig, reporter: QuietReporter, resume: bool = True) -> Path:
    """The features and the training alone; returns the folder of the checkpoint of all folds."""
    choose_device(config.pipeline.train.device)
    plan = make_slide_plan(config)
    return train_stage(plan, find_bags(config, plan.cases, reporter), reporter, resume)
