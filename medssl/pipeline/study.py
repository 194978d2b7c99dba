"""What a study consists of: arms x seeds, and label budgets or data sets, of one pipeline."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medssl.device import choose_device
from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.named_files import PIPELINES, Layers
from medssl.names import FileName
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.family import Family
from medssl.pipeline.sections import validate
from medssl.section import Items, OneAlone, Section, Seed

Axis = Literal["data", "labels", "seed", "arm"]

CEILING = "ceiling"


class Study(Section):
    """A study file."""

    name: FileName = Field(description="names the folder of its report")
    title: str = Field(default="", description="heads the report")
    pipeline: str = Field(description="name or path of the pipeline that all runs share")
    data: Annotated[tuple[str, ...], OneAlone()] = Field(
        default=(),
        description="where the family compares on several data sets: these, in the order of tables",
    )
    arms: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="name to overrides of the pipeline"
    )
    labels: tuple[Annotated[Items, Field(ge=0)], ...] = Field(
        default=(),
        description="where the family has label budgets: values of split.labels, one run of each "
        "arm and seed for each",
    )
    seeds: tuple[Annotated[Seed, Field(ge=0)], ...] = Field(
        default=(0,),
        min_length=1,
        description="one run of each arm (and budget) for each",
    )
    reference: Annotated[tuple[str, ...], OneAlone()] = Field(
        default=(),
        description="arms to compare with; of several, the best at each budget by mean score",
    )
    ceiling: tuple[str, ...] | None = Field(
        default=None, description="overrides of the arm with all labels, split.labels among them"
    )
    order: tuple[Axis, ...] = Field(
        default=("data", "labels", "seed", "arm"),
        description="outermost first; values as listed above",
    )

    @model_validator(mode="after")
    def _names_every_axis(self) -> Self:
        wanted = {"seed", "arm", *(name for name in ("data", "labels") if getattr(self, name))}
        if missing := sorted(wanted - set(self.order)):
            raise ValueError(f"`order` leaves out {' and '.join(missing)}")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        labels: label budget; None where a study has none.
        data: data set; None where it is the pipeline's own.
        overrides: what it changes in the pipeline.
    """

    arm: str
    seed: int
    labels: int | None = None
    data: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""
        named = {"data": self.data, "arm": self.arm, "labels": self.labels, "seed": self.seed}
        return {axis: str(value) for axis, value in named.items() if value is not None}


def load_study(name: str, methods: str = "", labels: str = "", seeds: str = "") -> Study:
    """The study of that name or path, or one made of a pipeline and lists such as "4,8".

    Raises:
        UsageError: unknown study, pipeline, key or arm; a study file together with lists; or axes
            that do not fit the pipeline's family.
    """
    keys = PIPELINES.read(name, noun="study")
    path, plain = keys.layers.files[0][0], keys.plain
    if "arms" in plain:
        if methods or labels or seeds:
            raise UsageError(
                f"{path} is a study and brings its own methods, labels and seeds",
                do="name a pipeline instead, or choose a part with --only",
            )
        if "pipeline" not in plain:
            raise UsageError(f"the key 'pipeline' is missing in {path}", do="add it")
        study = validate(Study, plain, place=keys.place)
        family = load_config(study.pipeline).family
    else:
        family = load_config(name).family
        arms = methods.split(",") if methods else list(family.scoring.usual_arms)
        made: dict[str, Any] = {
            "name": f"{path.stem}_study",
            "pipeline": name,
            "arms": {arm: [f"method={arm}"] for arm in arms},
            "seeds": (seeds or "0").split(","),
            "reference": [arms[0]],
        }
        if "labels" in family.scoring.axes or labels:
            made["labels"] = (labels or "4,8").split(",")
        study = validate(Study, made)
    _check(study, family, keys.layers)
    return study


def _check(study: Study, family: Family, layers: Layers) -> None:
    for axis in ("labels", "data"):
        if bool(getattr(study, axis)) and axis not in family.scoring.axes:
            raise UsageError(
                f"{layers.file_of([axis]).name} names `{axis}`",
                f"runs of the family '{family.name}' do not differ in it",
            )
    if "labels" in family.scoring.axes and not study.labels:
        raise UsageError(
            f"{layers.file_of([]).name} names no `labels`", do="add e.g. labels: [4, 8]"
        )
    for arm in study.reference:
        if arm not in study.arms:
            path = layers.file_of(["reference"])
            raise UsageError(
                f"the reference '{arm}' of {path.name} is no arm",
                do=nearest(arm, list(study.arms)),
            )


def cells(study: Study) -> list[Cell]:
    """All runs, in the study's order; those of the ceiling last."""
    keys = load_config(study.pipeline).family.scoring.seed_keys
    axes: dict[str, list[Any]] = {
        "data": list(study.data) or [None],
        "labels": list(study.labels) or [None],
        "seed": list(study.seeds),
        "arm": list(study.arms),
    }
    order: list[str] = [axis for axis in study.order if axis in axes]
    order += [axis for axis in axes if axis not in order]
    grid = []
    for values in itertools.product(*(axes[axis] for axis in order)):
        point = dict(zip(order, values, strict=True))
        arm, seed, labels, data = (point[axis] for axis in ("arm", "seed", "labels", "data"))
        overrides = [
            *([] if data is None else [f"data={data}"]),
            *study.arms[arm],
            *([] if labels is None else [f"split.labels={labels}"]),
            *(f"{key}={seed}" for key in keys),
        ]
        grid.append(Cell(arm, seed, labels, data, tuple(overrides)))
    if study.ceiling is None:
        return grid
    top = _pipeline_of(study, CEILING, study.ceiling).pipeline.split.labels or 0
    return grid + [
        Cell(CEILING, seed, top, None, (*study.ceiling, *(f"{key}={seed}" for key in keys)))
        for seed in study.seeds
    ]


def select(grid: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
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


def checked_cells(study: Study, only: Sequence[str]) -> list[Cell]:
    """The cells that `only` names; a mistake in the last arm is told at once.

    Raises:
        UsageError: an axis, a value, or an override that is none.
    """
    chosen = select(cells(study), only)
    for cell in chosen:
        _pipeline_of(study, cell.arm, cell.overrides)
    return chosen


def refuse_absent_devices(study: Study, chosen: Sequence[Cell]) -> None:
    """Refuse runs on this machine that want a device that it does not have, before any work.

    Raises:
        UsageError: names the arm and the devices that are here.
    """
    for cell in chosen:
        config = _pipeline_of(study, cell.arm, cell.overrides)
        with _told_with(study, cell.arm):
            choose_device(config.pipeline.train.device)


def _pipeline_of(study: Study, arm: str, overrides: Sequence[str]) -> Config[Any]:
    """What an arm makes of the study's pipeline; its mistakes are told with the arm."""
    with _told_with(study, arm):
        return load_config(study.pipeline, overrides)


@contextmanager
def _told_with(study: Study, arm: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise UsageError(
            f"the arm {arm} of the study {study.name}: {error.what}", error.why, error.do
        ) from None
