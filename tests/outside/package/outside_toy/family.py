"""A family: the volume of a structure in mm³ from an image, without a mask of it.

The toy guesses every volume to be the mean of those that it was shown.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec
from medssl.data.split import make_split
from medssl.data.split_settings import SplitSettings
from medssl.methods.settings import MethodSettings
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.config import Config
from medssl.pipeline.family import Family, Scoring, Step
from medssl.pipeline.plan import Cohort, Job, Plan
from medssl.pipeline.results import read_summary
from medssl.section import Section
from medssl.settings import MethodChoice, PipelineFile
from medssl.train.fingerprint import fingerprint
from medssl.train.track import Tracker


class MeanSettings(MethodSettings):
    """The mean of what was shown."""

    family = "volumetry"
    implementation = "outside_toy.family:train"
    paper = "none"
    summary = "guesses the mean volume"

    factor: float = 1.0


class HowSettings(Section):
    """How it is computed."""

    device: str = "cpu"
    threads: int | None = None


class VolumetryPipeline(PipelineFile):
    """One pipeline file that measures volumes."""

    data: str
    split: SplitSettings = SplitSettings()
    method: MethodChoice = MethodChoice(name="mean_volume")
    train: HowSettings = HowSettings()


class VolumetryConfig(Config[VolumetryPipeline]):
    """What one run does."""

    file = VolumetryPipeline
    about = "measure volumes"
    reads = frozenset({"volumes"})
    without_effect = {"train": {"device", "threads"}}  # noqa: RUF012 - a ClassVar of the base

    @property
    def label(self) -> str:
        """The run in a few words."""
        return f"{self.pipeline.method.name}, seed {self.pipeline.seed}"

    def declared(self) -> Any:
        """The labels."""
        return self.spec.label_values


def cohort(config: VolumetryConfig, kept_out: Collection[str]) -> Cohort:
    cases = find_cases(config.spec)
    return Cohort(tuple(cases), (make_split(cases, config.pipeline.split, 0),))


def inputs(config: VolumetryConfig, cohort: Cohort) -> dict[str, list[Any]]:
    return {
        "train": [config.hash("data", "method"), cohort.split.hash],
        "evaluate": [fingerprint(cohort.test)],
    }


def results(plan: Plan[VolumetryConfig, Cohort]) -> dict[str, Path]:
    scores = plan.folder("evaluate") / "scores.json"
    return {"model": plan.folder("train") / "mean.json", "scores": scores}


def train(job: Job, tracker: Tracker) -> dict[str, Any]:
    labelled = set(job.plan.cohort.split.labelled)
    shown = [volume(case) for case in job.plan.cohort.cases if case.id in labelled]
    mean = float(np.mean(shown)) * job.plan.config.method.factor
    (job.plan.folder("train") / "mean.json").write_text(json.dumps(mean))
    return {}


def evaluate(job: Job, tracker: Tracker) -> dict[str, Any]:
    mean = json.loads((job.plan.folder("train") / "mean.json").read_text())
    errors = {case.id: abs(volume(case) - mean) for case in job.plan.cohort.test}
    (job.plan.folder("evaluate") / "scores.json").write_text(json.dumps(errors))
    return {"summary": {"error": float(np.mean(list(errors.values())))}}


def volume(case: Any) -> float:
    from medssl.data.volume import read_mask

    mask = read_mask(case.label)
    return float((mask.array > 0).sum() * np.prod(mask.geometry.spacing))


class VolumetryComparison(Comparison):
    """By the error of volumes."""

    score = "error, mm³"
    shown = {}  # noqa: RUF012 - a ClassVar of the base

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        return read_summary(folder), json.loads((folder / "scores.json").read_text())

    def introduction(self, specs: Sequence[DataSpec]) -> str:
        return "Errors of volumes in mm³."

    def items(self, run: Result) -> Mapping[str, float]:
        errors: dict[str, float] = run.scores
        return errors


HERE = "outside_toy.family"

FAMILY = Family(
    name="volumetry",
    configs=(VolumetryConfig,),
    cohort=f"{HERE}:cohort",
    inputs=f"{HERE}:inputs",
    steps={"train": Step(f"{HERE}:train"), "evaluate": Step(f"{HERE}:evaluate")},
    results=f"{HERE}:results",
    scoring=Scoring(
        f"{HERE}:VolumetryComparison", ("mean_volume",), tested="volumes", axes=("labels",)
    ),
)
