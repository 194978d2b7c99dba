"""Studies of slide classifiers: data sets x methods x seeds, each cell an ordinary run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.rows import table_text
from medssl.environment import runs_root
from medssl.errors import DataError, UsageError
from medssl.mistakes import nearest
from medssl.pipeline.config import validate
from medssl.pipeline.files import find_pipeline, read_mapping
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.slides.compare import read_right
from medssl.pipeline.slides.config import load_slide_config
from medssl.pipeline.slides.plan import FoldedCases, fold_cases, make_slide_plan
from medssl.pipeline.slides.run import run_slides
from medssl.pipeline.slides.settings import SlideStudy
from medssl.pipeline.slides.study_report import Result, summary
from medssl.pipeline.stage import read_summary
from medssl.pipeline.study_grid import announced, write_study


@dataclass(frozen=True)
class SlideCell:
    """One run of a study."""

    data: str
    arm: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""
        return {"data": self.data, "arm": self.arm, "seed": str(self.seed)}


def load_slide_study(name: str) -> SlideStudy:
    """The study of that name or path.

    Raises:
        UsageError: no such study, or one with an unknown key, pipeline or reference.
    """
    path = find_pipeline(name)
    plain = read_mapping(path)
    if "arms" not in plain:
        raise UsageError(
            f"{path} is a pipeline of slides and no study",
            "a study of slides names its data sets, arms and seeds in a file",
            "start from pipelines/bags/mil_study.yaml",
        )
    study = validate(SlideStudy, {"name": path.stem, **plain})
    if study.reference not in study.arms:
        raise UsageError(
            f"the reference '{study.reference}' is no arm",
            do=nearest(study.reference, list(study.arms)),
        )
    return study


def slide_cells(study: SlideStudy) -> list[SlideCell]:
    """All runs, in the study's order."""
    grid = [
        SlideCell(data, arm, seed, (f"data={data}", *overrides, f"seed={seed}"))
        for data in study.data
        for arm, overrides in study.arms.items()
        for seed in study.seeds
    ]
    ranks: dict[str, list[Any]] = {
        "data": list(study.data),
        "arm": list(study.arms),
        "seed": list(study.seeds),
    }
    return sorted(grid, key=lambda cell: [ranks[a].index(getattr(cell, a)) for a in study.order])


def run_slide_study(
    study: SlideStudy,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
) -> str:
    """Carry out the runs that are missing, write the report; returns a word on where it is.

    Args:
        only: e.g. ["arm=abmil,data=musk1"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.

    Raises:
        UsageError, DataError, Stopped: what a run raises, which ends the study.
    """
    everything = slide_cells(study)
    for _, overrides in announced(everything, only, threads, reporter):
        run_slides(load_slide_config(study.pipeline, overrides), reporter)
    results = _finished(study, everything)
    folder = runs_root() / load_slide_config(study.pipeline).pipeline.name / f"study-{study.name}"
    text = summary(study.title or study.name, results, study.reference, len(everything), command)
    return write_study(folder, _csv(results), text, len(results), len(everything))


def _finished(study: SlideStudy, grid: Sequence[SlideCell]) -> list[Result]:
    """What the runs found that are complete; data sets that are not here have none."""
    folded: dict[tuple[str, int], FoldedCases | None] = {}
    results = []
    for cell in grid:
        config = load_slide_config(study.pipeline, cell.overrides)
        key = cell.data, cell.seed
        if key not in folded:
            try:
                folded[key] = fold_cases(config)
            except DataError:
                folded[key] = None
        found = folded[key]
        if found is not None and (stage := make_slide_plan(config, found).evaluate).done:
            results.append(_result(cell, stage.folder, config.spec.simulated))
    return results


def _result(cell: SlideCell, folder: Path, simulated: bool) -> Result:
    right, numbers = read_right(folder), read_summary(folder)
    return Result(cell.data, cell.arm, cell.seed, right, numbers, simulated)


def _csv(results: Sequence[Result]) -> str:
    names = sorted({name for one in results for name in one.numbers})
    rows = []
    for one in results:
        found = [one.numbers.get(name, float("nan")) for name in names]
        shown = ["" if np.isnan(value) else f"{value:.6f}" for value in found]
        rows.append([one.data, one.arm, one.seed, *shown])
    return table_text(["data", "arm", "seed", *names], rows)
