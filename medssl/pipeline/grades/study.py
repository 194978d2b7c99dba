"""Studies of graders: methods x labels per grade x seeds, each cell an ordinary run."""

from collections.abc import Sequence

from medssl.environment import runs_root
from medssl.pipeline.grades.config import load_grade_config
from medssl.pipeline.grades.plan import FoundImages, GradePlan, find_images, make_grade_plan
from medssl.pipeline.grades.results import GradeResult, read_result
from medssl.pipeline.grades.run import run_grades
from medssl.pipeline.grades.study_report import study_csv, summary
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import write_text
from medssl.pipeline.study_grid import Cell, Study, cells, select


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
    chosen = select(everything, only)
    planner = _Planner(study)
    for number, cell in enumerate(chosen, start=1):
        words = ", ".join(f"{axis} {value}" for axis, value in cell.words.items())
        reporter.note(f"run {number} of {len(chosen)}: {words}")
        plan = planner.plan(cell, threads)
        run_grades(plan.config, reporter, plan=plan)
    results: dict[Cell, GradeResult] = {}
    for cell in everything:
        plan = planner.plan(cell, None)
        if plan.evaluate.done:
            results[cell] = read_result(plan.evaluate.folder)
    config = load_grade_config(study.pipeline)
    folder = runs_root() / config.pipeline.name / f"study-{study.name}"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "study.csv", study_csv(results))
    text = summary(study, config.spec, results, len(everything), command)
    write_text(folder / "summary.md", text)
    return f"{len(results)} of {len(everything)} runs finished; summary in {folder / 'summary.md'}"


class _Planner:
    """Plans cells, and finds the images of each data set once."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._found: dict[str, FoundImages] = {}

    def plan(self, cell: Cell, threads: int | None) -> GradePlan:
        more = () if threads is None else (f"train.threads={threads}",)
        config = load_grade_config(self._study.pipeline, [*cell.overrides, *more])
        name = config.pipeline.data
        if name not in self._found:
            self._found[name] = find_images(config)
        return make_grade_plan(config, self._found[name])
