"""What a study consists of: arms x label budgets x seeds of one pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from annotated_types import MinLen
from pydantic import Field

from medssl.atomic import write_text
from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.names import FileName
from medssl.pipeline.config import load_config, pipeline_family, validate
from medssl.pipeline.files import find_pipeline, read_mapping
from medssl.pipeline.progress import QuietReporter
from medssl.section import OneAlone, Section

Axis = Literal["labels", "seed", "arm"]

CEILING = "ceiling"

USUAL_ARMS = {"grade": ("supervised_mixup", "semixup")}
"""Of a study made of a pipeline alone, by family."""


class Study(Section):
    """A study file."""

    name: FileName = Field(description="names the folder of its report")
    title: str = Field(default="", description="heads the report")
    pipeline: str = Field(description="name or path of the pipeline that all runs share")
    arms: dict[str, tuple[str, ...]] = Field(description="name to overrides of the pipeline")
    labels: tuple[int, ...] = Field(
        min_length=1, description="values of split.labels: one run of each arm and seed for each"
    )
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="one run of each arm and label budget for each"
    )
    reference: Annotated[tuple[str, ...], MinLen(1), OneAlone()] = Field(
        description="arms to compare with; of several, the best at each budget by mean test Dice",
    )
    ceiling: tuple[str, ...] | None = Field(
        default=None, description="overrides of the arm with all labels, split.labels among them"
    )
    order: tuple[Axis, Axis, Axis] = Field(
        default=("labels", "seed", "arm"), description="outermost first; values as listed above"
    )


class StudyCell(Protocol):
    """One run of any study."""

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What it changes in the pipeline."""


AnyCell = TypeVar("AnyCell", bound=StudyCell)


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
        usual = USUAL_ARMS.get(pipeline_family(name), ("supervised", "tracoco"))
        arms = methods.split(",") if methods else list(usual)
        plain = {
            "name": f"{path.stem}_study",
            "pipeline": name,
            "arms": {arm: [f"method={arm}"] for arm in arms},
            "labels": (labels or "4,8").split(","),
            "seeds": (seeds or "0").split(","),
            "reference": [arms[0]],
        }
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
    labels = _ceiling_labels(study.pipeline, study.ceiling)
    return grid + [
        Cell(CEILING, labels, seed, (*study.ceiling, f"seed={seed}")) for seed in study.seeds
    ]


def _ceiling_labels(pipeline: str, overrides: Sequence[str]) -> int:
    """Labels of the ceiling; 0 where a grader's are not counted (null: all)."""
    if pipeline_family(pipeline, overrides) == "grade":
        from medssl.pipeline.grades.config import load_grade_config

        return load_grade_config(pipeline, overrides).pipeline.split.labels or 0
    return load_config(pipeline, overrides).pipeline.split.labels


def select(grid: Sequence[AnyCell], only: Sequence[str]) -> list[AnyCell]:
    """The cells that `only` names.

    Raises:
        UsageError: an axis or a value that the study does not have.
    """
    axes = list(grid[0].words)
    wanted: dict[str, set[str]] = {}
    for part in (part for text in only for part in text.split(",")):
        axis, _, value = part.partition("=")
        if axis not in axes:
            known = ", ".join(f"{name}=.." for name in axes)
            raise UsageError(f"--only {part}: unknown", do=f"name one of {known}")
        values = list(dict.fromkeys(cell.words[axis] for cell in grid))
        if value not in values:
            raise UsageError(f"the study has no {axis} '{value}'", do=nearest(value, values))
        wanted.setdefault(axis, set()).add(value)
    return [
        cell for cell in grid if all(cell.words[axis] in found for axis, found in wanted.items())
    ]


def announced(
    grid: Sequence[AnyCell], only: Sequence[str], threads: int | None, reporter: QuietReporter
) -> Iterator[tuple[AnyCell, tuple[str, ...]]]:
    """The cells that `only` names, each announced, with all overrides of its run.

    Args:
        threads: CPU threads of each run; does not change which run it is.

    Raises:
        UsageError: as `select`.
    """
    chosen = select(grid, only)
    more = () if threads is None else (f"train.threads={threads}",)
    for number, cell in enumerate(chosen, start=1):
        words = ", ".join(f"{axis} {value}" for axis, value in cell.words.items())
        reporter.note(f"run {number} of {len(chosen)}: {words}")
        yield cell, (*cell.overrides, *more)


def write_study(folder: Path, table: str, summary: str, finished: int, planned: int) -> str:
    """Leave study.csv and summary.md in `folder`; returns a word on where they are."""
    write_text(folder / "study.csv", table)
    write_text(folder / "summary.md", summary)
    return f"{finished} of {planned} runs finished; summary in {folder / 'summary.md'}"


def study_family(name: str) -> str:
    """The family of the pipeline that a study, or a pipeline itself, is about.

    Raises:
        UsageError: there is no such study or pipeline.
    """
    path = find_pipeline(name)
    plain = read_mapping(path)
    if "arms" not in plain:
        return pipeline_family(name)
    if "pipeline" not in plain:
        raise UsageError(f"the key 'pipeline' is missing in {path}", do="add it")
    return pipeline_family(str(plain["pipeline"]))
