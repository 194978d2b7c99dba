"""Slides: from whole slides, or bags of features, to calls and heat maps."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.errors import UsageError
from medssl.families.slide.config import SlideConfig
from medssl.methods.settings import MethodSettings
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.config import Config
from medssl.pipeline.family import Family, InitialEncoder, Step
from medssl.pipeline.plan import Cohort, Job, Plan
from medssl.pipeline.progress import QuietReporter


class SlideFamily(Family):
    """From whole slides, or bags of features, to calls and heat maps."""

    name = "slide"
    axes = ("data",)
    usual_arms = ("abmil", "snuffy")

    def config(self, method: type[MethodSettings] | None = None) -> type[Config[Any]]:
        """The sections of a pipeline of slides."""
        return SlideConfig

    def cohort(self, config: SlideConfig, kept_out: Collection[str] = frozenset()) -> Cohort:
        """All cases, and the folds that the pipeline asks for."""
        from medssl.families.slide.cohort import fold_cases

        return fold_cases(config)

    def inputs(self, config: SlideConfig, cohort: Cohort) -> Mapping[str, Sequence[Any]]:
        """The settings, the folds and all files; the scores depend on nothing more."""
        from medssl.train.fingerprint import fingerprint

        tiles = ("tiles", "encoder") if config.tiled else ()
        settings = ("data", *tiles, "method", "train", "evaluate")
        folds = [fold.hash for fold in cohort.splits]
        files = fingerprint(cohort.cases)
        return {
            "train": [config.hash(*settings), config.pipeline.seed, folds, files],
            "predict": [config.hash("predict")],
            "evaluate": [],
        }

    def prepare(self, job: Job) -> Any:
        """Every case as a bag of features, by id."""
        from medssl.families.slide.bags import find_bags

        return find_bags(job.plan.config, job.plan.cohort.cases, job.reporter)

    def steps(self, plan: Plan[Any, Any]) -> Sequence[Step]:
        """Train the folds, call what they did not learn from, and score the calls."""
        from medssl.families.slide.evaluate import evaluate
        from medssl.families.slide.predict import predict
        from medssl.families.slide.train import train

        return (Step("train", train), Step("predict", predict), Step("evaluate", evaluate))

    def results(self, plan: Plan[Any, Any]) -> Mapping[str, Path]:
        """The classifier of all folds, calls and heat maps, their scores and the report."""
        called, scored = plan.folder("predict"), plan.folder("evaluate")
        drawn = plan.config.tiled and plan.config.pipeline.predict.heat_maps
        scores = {"scores": scored / "scores.csv"} if plan.cohort.test else {}
        return {
            "model": plan.folder("train") / "checkpoint",
            "calls": called / "calls.csv",
            **({"maps": called} if drawn else {}),
            **scores,
            "report": scored / "report.html",
        }

    def initial_encoder(self) -> InitialEncoder:
        """From an encoder of tiles."""
        from medssl.families.slide.initial_encoder import InitialTileEncoder

        return InitialTileEncoder()

    def comparison(self) -> Comparison:
        """By accuracy over bags."""
        from medssl.families.slide.comparison import SlideComparison

        return SlideComparison()

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
        """Calls and heat maps of loose slides."""
        from medssl.families.slide.predict import predict_slides

        if overrides:
            raise UsageError(f"{overrides[0]} does nothing for slides", do="leave it out")
        return f"calls    {predict_slides(checkpoint, files, out, reporter, device, overwrite)}"

    def evaluate_files(
        self, predictions: Path, spec: DataSpec, out: Path, reporter: QuietReporter
    ) -> str:
        """Scores of a CSV of calls."""
        from medssl.families.slide.evaluate import evaluate_calls

        return evaluate_calls(predictions, spec, out)


FAMILY = SlideFamily()
