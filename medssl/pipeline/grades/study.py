"""Studies of graders: methods x labels per grade x seeds, each cell an ordinary run."""

from collections.abc import Sequence

from medssl.environment import runs_root
from medssl.pipeline.grades.config import GradeConfig, load_grade_config
from medssl.pipeline.grades.plan import FoundImages, GradePlan, find_images, make_grade_plan
from medssl.pipeline.grades.pretrained import with_finished_encoder
from medssl.pipeline.grades.results import GradeResult, read_result
from medssl.pipeline.grades.run import run_grades
from medssl.pipeline.grades.study_report import study_csv, summary
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study_grid import Cell, Study, announced, cells, write_study


def run_grade_study(
    study: Study,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
) -> str:
    """Carry out the runs that are missing, write the report; returns a word on where it is.

    Args:
        only: e.g. ["arm=semixup,labels=5"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.

    Raises:
        UsageError, DataError, Stopped: what a run raises, which ends the study.
    """
    everything = cells(study)
    planner = _Planner(study)
    for _, overrides in announced(everything, only, threads, reporter):
        config = load_grade_config(study.pipeline, overrides)
        run_grades(config, reporter, found=planner.found(config))
    results: dict[Cell, GradeResult] = {}
    for cell in everything:
        plan = planner.plan(cell.overrides)
        if plan is not None and plan.evaluate.done:
            results[cell] = read_result(plan.evaluate.folder)
    config = load_grade_config(study.pipeline)
    folder = runs_root() / config.pipeline.name / f"study-{study.name}"
    text = summary(study, config.spec, results, len(everything), command)
    return write_study(folder, study_csv(results), text, len(results), len(everything))


class _Planner:
    """Plans cells, and finds the images of each data set once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._images: dict[str, FoundImages] = {}

    def found(self, config: GradeConfig) -> FoundImages:
        name = config.pipeline.data
        if name not in self._images:
            self._images[name] = find_images(config)
        return self._images[name]

    def plan(self, overrides: Sequence[str]) -> GradePlan | None:
        """None where the encoder that the run starts from is not trained yet."""
        given = load_grade_config(self._study.pipeline, overrides)
        found = self.found(given)
        config = with_finished_encoder(given, found)
        return None if config is None else make_grade_plan(config, found)
