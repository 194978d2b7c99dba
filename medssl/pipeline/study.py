"""A study: arms x label budgets x seeds of one pipeline, each of them an ordinary run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.pipeline.config import find_pipeline, load_config, nearest, read_mapping, validate
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import Train, run
from medssl.pipeline.scores import RunScores, read_run
from medssl.pipeline.settings import Section
from medssl.pipeline.stage import make_plan

Axis = Literal["labels", "seed", "arm"]

CEILING = "ceiling"


class Study(Section):
    """A study file."""

    name: str
    title: str = ""
    pipeline: str
    arms: dict[str, tuple[str, ...]] = Field(description="name to overrides of the pipeline")
    labels: tuple[int, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    reference: tuple[str, ...] = Field(
        min_length=1,
        description="arms to compare with; of several, the best at each budget by mean test Dice",
    )
    ceiling: tuple[str, ...] | None = Field(
        default=None, description="overrides of the arm with all labels, split.labels among them"
    )
    order: tuple[Axis, Axis, Axis] = Field(
        default=("labels", "seed", "arm"), description="outermost first; values as listed above"
    )


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    arm: str
    labels: int
    seed: int
    overrides: tuple[str, ...]

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""
        return {"arm": self.arm, "labels": str(self.labels), "seed": str(self.seed)}


def load_study(name: str, methods: str = "", labels: str = "", seeds: str = "") -> Study:
    """The study of that name or path, or one made of a pipeline and lists such as "4,8".

    Raises:
        UsageError: unknown study, pipeline, key or arm; or a study file together with lists.
    """
    path = find_pipeline(name)
    plain = read_mapping(path)
    if "arms" in plain:
        if methods or labels or seeds:
            raise UsageError(
                f"{path} is a study and brings its own methods, labels and seeds",
                do="name a pipeline instead, or choose a part with --only",
            )
        plain.setdefault("name", path.stem)
    else:
        arms = methods.split(",") if methods else ["supervised", "tracoco"]
        plain = {
            "name": f"{path.stem}_study",
            "pipeline": name,
            "arms": {arm: [f"method={arm}"] for arm in arms},
            "labels": (labels or "4,8").split(","),
            "seeds": (seeds or "0").split(","),
            "reference": [arms[0]],
        }
    if isinstance(plain.get("reference"), str):
        plain["reference"] = [plain["reference"]]
    study = validate(Study, plain)
    for arm in study.reference:
        if arm not in study.arms:
            raise UsageError(f"the reference '{arm}' is no arm", do=nearest(arm, list(study.arms)))
    return study


def cells(study: Study) -> list[Cell]:
    """All runs, in the study's order; those of the ceiling last."""
    grid = [
        Cell(arm, labels, seed, (*overrides, f"split.labels={labels}", f"seed={seed}"))
        for arm, overrides in study.arms.items()
        for labels in study.labels
        for seed in study.seeds
    ]
    ranks: dict[str, list[Any]] = {
        "arm": list(study.arms),
        "labels": list(study.labels),
        "seed": list(study.seeds),
    }
    grid.sort(key=lambda cell: [ranks[axis].index(getattr(cell, axis)) for axis in study.order])
    if study.ceiling is None:
        return grid
    labels = load_config(study.pipeline, study.ceiling).pipeline.split.labels
    return grid + [
        Cell(CEILING, labels, seed, (*study.ceiling, f"seed={seed}")) for seed in study.seeds
    ]


def run_study(
    study: Study,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
    train: Train | None = None,
) -> str:
    """Carry out the runs that are missing, write the report; returns a word on where it is.

    Args:
        only: e.g. ["arm=cps,labels=4"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.
        train: the training stage; by default `medssl.pipeline.train.train`.

    Raises:
        UsageError: a part that does not exist; or what a run raises, which ends the study.
    """
    from medssl.pipeline.study_report import write_report

    everything = cells(study)
    chosen = select(everything, only)
    more = () if threads is None else (f"train.threads={threads}",)
    configs = [load_config(study.pipeline, [*cell.overrides, *more]) for cell in chosen]
    for number, (cell, config) in enumerate(zip(chosen, configs, strict=True), start=1):
        words = ", ".join(f"{axis} {value}" for axis, value in cell.words.items())
        reporter.note(f"run {number} of {len(chosen)}: {words}")
        run(config, reporter, train=train)
    results = finished(study, everything)
    folder = study_folder(study)
    write_report(study, results, len(everything), folder, command)
    return f"{len(results)} of {len(everything)} runs finished; summary in {folder / 'summary.md'}"


def finished(study: Study, grid: Sequence[Cell]) -> dict[Cell, RunScores]:
    """The scores of the runs that are complete."""
    found: dict[Cell, RunScores] = {}
    for cell in grid:
        plan = make_plan(load_config(study.pipeline, cell.overrides))
        if plan.evaluate.done:
            found[cell] = read_run(plan.evaluate.folder)
    return found


def select(grid: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells that `only` names.

    Raises:
        UsageError: an axis or a value that the study does not have.
    """
    wanted: dict[str, set[str]] = {}
    for part in (part for text in only for part in text.split(",")):
        axis, _, value = part.partition("=")
        if axis not in ("arm", "labels", "seed"):
            raise UsageError(f"--only {part}: unknown", do="name arm=.., labels=.. or seed=..")
        known = list(dict.fromkeys(cell.words[axis] for cell in grid))
        if value not in known:
            raise UsageError(f"the study has no {axis} '{value}'", do=nearest(value, known))
        wanted.setdefault(axis, set()).add(value)
    return [
        cell for cell in grid if all(cell.words[axis] in found for axis, found in wanted.items())
    ]


def study_folder(study: Study) -> Path:
    """Where the study's report goes."""
    return runs_root() / load_config(study.pipeline).pipeline.name / f"study-{study.name}"
