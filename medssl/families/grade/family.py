"""Grading: from radiographs to grades with calibrated probabilities."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.errors import UsageError
from medssl.families.grade.config import GradeConfig
from medssl.methods.settings import MethodSettings
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.config import Config
from medssl.pipeline.family import Family, InitialEncoder, Step
from medssl.pipeline.plan import Cohort, Job, Plan
from medssl.pipeline.progress import QuietReporter


class GradeFamily(Family):
    """From radiographs to grades with calibrated probabilities."""

    name = "grade"
    axes = ("labels",)
    usual_arms = ("supervised_mixup", "semixup")

    def config(self, method: type[MethodSettings] | None = None) -> type[Config[Any]]:
        """The sections of a pipeline of radiographs."""
        return GradeConfig

    def cohort(self, config: GradeConfig, kept_out: Collection[str] = frozenset()) -> Cohort:
        """All images, and the split that the pipeline asks for."""
        from medssl.families.grade.cohort import find_cohort

        return find_cohort(config)

    def inputs(self, config: GradeConfig, cohort: Any) -> Mapping[str, Sequence[Any]]:
        """The settings, and what each stage reads of the images."""
        settings = ("data", "crop", "network", "method", "augment", "train")
        learnt = cohort.seen("labelled", "unlabelled", "validation")
        return {
            "train": [config.hash(*settings), config.pipeline.seed, learnt],
            "predict": [config.hash("predict"), cohort.seen("test")],
            "evaluate": [config.hash("evaluate"), cohort.grades_of("test")],
        }

    def refuse(self, config: GradeConfig, cohort: Any, reporter: QuietReporter) -> None:
        """Refuse runs without test images, or without any to choose the best weights by."""
        if not cohort.split.test:
            raise UsageError(
                "there are no test images",
                f"the data set {config.spec.name} declares none and split.test is 0",
                "set split.test, or use `medssl train`",
            )
        if config.pipeline.predict.checkpoint == "best" and not cohort.split.validation:
            raise UsageError(
                "predict.checkpoint=best needs validation images",
                "split.validation is 0",
                "raise split.validation or set predict.checkpoint=last",
            )

    def prepare(self, job: Job) -> Any:
        """Crops of all images, [N, V, S, S] uint8."""
        from medssl.families.grade.crops import prepare_crops

        return prepare_crops(job)

    def steps(self, plan: Plan[Any, Any]) -> Sequence[Step]:
        """Train, grade the test images, and score the grades."""
        from medssl.families.grade.evaluate import evaluate
        from medssl.families.grade.predict import predict
        from medssl.families.grade.train import train

        return (Step("train", train), Step("predict", predict), Step("evaluate", evaluate))

    def results(self, plan: Plan[Any, Any]) -> Mapping[str, Path]:
        """The weights that grade, the grades of the test images, their scores and the report."""
        scored = plan.folder("evaluate")
        return {
            "model": plan.folder("train") / "checkpoint" / plan.config.pipeline.predict.checkpoint,
            "grades": plan.folder("predict") / "grades.csv",
            "scores": scored / "scores.csv",
            "report": scored / "report.html",
        }

    def initial_encoder(self) -> InitialEncoder:
        """From an encoder of slices."""
        from medssl.families.grade.initial_encoder import InitialSliceEncoder

        return InitialSliceEncoder()

    def comparison(self) -> Comparison:
        """By balanced accuracy and quadratic kappa."""
        from medssl.families.grade.comparison import GradeComparison

        return GradeComparison()

    def predict_files(
        self,
        checkpoint: Path,
        files: Sequence[Path],
        out: Path,
        overrides: Sequence[str],
        reporter: QuietReporter,
        device: str,
        overwrite: bool,
    ) -> str:
        """Grades of loose radiographs."""
        from medssl.families.grade.predict import predict_radiographs

        given = checkpoint, files, out, overrides, reporter, device, overwrite
        return f"grades   {predict_radiographs(*given)}"

    def evaluate_files(
        self, predictions: Path, spec: DataSpec, out: Path, reporter: QuietReporter
    ) -> str:
        """Scores of a CSV of grades."""
        from medssl.families.grade.evaluate import evaluate_grades

        return evaluate_grades(predictions, spec, out)


FAMILY = GradeFamily()
