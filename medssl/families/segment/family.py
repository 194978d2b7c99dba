"""Segmentation: from volumes to masks on their own grids."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.errors import UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.methods.settings import MethodSettings
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.config import Config
from medssl.pipeline.family import Family, InitialEncoder, Step
from medssl.pipeline.plan import Cohort, Plan
from medssl.pipeline.progress import QuietReporter


class SegmentFamily(Family):
    """From volumes to masks on their own grids."""

    name = "segment"
    axes = ("labels",)
    usual_arms = ("supervised", "tracoco")

    def config(self, method: type[MethodSettings] | None = None) -> type[Config[Any]]:
        """The sections of a pipeline that segments."""
        return SegmentConfig

    def cohort(self, config: SegmentConfig, kept_out: Collection[str] = frozenset()) -> Cohort:
        """All cases, and the split that the pipeline asks for."""
        from medssl.families.segment.cohort import split_cohort

        return split_cohort(config)

    def inputs(self, config: SegmentConfig, cohort: Cohort) -> Mapping[str, Sequence[Any]]:
        """The settings, who has which role, and the files of those that a stage reads."""
        from medssl.train.fingerprint import fingerprint

        pipeline, split = config.pipeline, cohort.split
        settings = ("data", "preprocess", "network", "method", "pretrain", "augment", "train")
        roles = (split.labelled, split.unlabelled, split.validation)
        seen = [case for case in cohort.cases if case.id in set().union(*roles)]
        mirrored = [pipeline.augment.mirrored] if pipeline.predict.flips else []
        return {
            "train": [config.hash(*settings), pipeline.seed, roles, fingerprint(seen)],
            "predict": [config.hash("predict"), fingerprint(cohort.test), *mirrored],
            "evaluate": [config.hash("evaluate")],
        }

    def refuse(self, config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> None:
        """Refuse runs without test cases, or with test cases that cannot be read."""
        from medssl.families.segment.preflight import check_test_cases

        if not cohort.test:
            raise UsageError(
                "there are no test cases",
                f"the data set {config.spec.name} declares none and split.test is 0",
                "set split.test, or use `medssl train`",
            )
        if config.pipeline.predict.checkpoint == "best" and not cohort.split.validation:
            raise UsageError(
                "predict.checkpoint=best needs validation cases",
                "split.validation leaves none of the labelled cases for it",
                "raise split.validation or set predict.checkpoint=last",
            )
        check_test_cases(config.spec, cohort.test, reporter)

    def steps(self, plan: Plan[Any, Any]) -> Sequence[Step]:
        """Train, predict the test cases, and score them."""
        from medssl.families.segment.evaluate import evaluate
        from medssl.families.segment.predict import intact, predict
        from medssl.families.segment.train import train

        return (
            Step("train", train),
            Step("predict", predict, intact),
            Step("evaluate", evaluate),
        )

    def results(self, plan: Plan[Any, Any]) -> Mapping[str, Path]:
        """The weights that predict, the masks of the test cases, their scores and the report."""
        scored = plan.folder("evaluate")
        return {
            "model": plan.folder("train") / "checkpoint" / plan.config.pipeline.predict.checkpoint,
            "masks": plan.folder("predict"),
            "scores": scored / "scores.csv",
            "report": scored / "report.html",
        }

    def initial_encoder(self) -> InitialEncoder:
        """From an encoder of volumes."""
        from medssl.families.segment.initial_encoder import InitialVolumeEncoder

        return InitialVolumeEncoder()

    def comparison(self) -> Comparison:
        """By Dice over cases."""
        from medssl.families.segment.comparison import SegmentComparison

        return SegmentComparison()

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
        """Masks of loose images."""
        from medssl.families.segment.predict import predict_files

        written = predict_files(checkpoint, files, out, overrides, reporter, device, overwrite)
        return f"{len(written)} masks in {out}"

    def evaluate_files(
        self, predictions: Path, spec: DataSpec, out: Path, reporter: QuietReporter
    ) -> str:
        """Scores of a folder of masks."""
        from medssl.families.segment.evaluate import evaluate_folder

        return evaluate_folder(predictions, spec, out, reporter)


FAMILY = SegmentFamily()
