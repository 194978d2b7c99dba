"""A league: the same arms in several studies, one for each task and protocol.

Source of the form: Goldblum et al., Battle of the Backbones, NeurIPS 2023. Each task and protocol
is an ordinary study, with runs, folders and a report of its own; the league only sets them side by
side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field

from medssl.discreet import kept_sentence_of
from medssl.errors import UsageError
from medssl.mistakes import nearest
from medssl.named_files import PIPELINES
from medssl.names import FileName
from medssl.pipeline.config import Config, load_config
from medssl.pipeline.sections import validate
from medssl.pipeline.study import Study, load_study
from medssl.section import Items, Section, Seed

COLUMN = ":"
"""Between the name of a league, a task and a protocol."""

AXES = ("task", "protocol")

Overrides = tuple[str, ...]


class Column(Section):
    """One protocol on one task."""

    pipeline: str = Field(description="name or path of the pipeline that all its runs share")
    set: Overrides = Field(
        default=(), description="overrides of that pipeline, below those of the arms"
    )
    labels: Items | None = Field(
        default=None, ge=1, description="split.labels, where the family has label budgets"
    )


class League(Section):
    """A study file with several tasks."""

    name: FileName = Field(description="names the folder of its page")
    title: str = Field(default="", description="heads the page")
    tasks: dict[str, Annotated[dict[str, Column], MinLen(1)]] = Field(
        min_length=1, description="by task: its protocols, each with a pipeline"
    )
    arms: dict[str, Overrides | dict[str, Overrides]] = Field(
        min_length=2,
        description="name to overrides of all pipelines, or of those of each task by its name; "
        "tasks that are not named leave the arm out",
    )
    seeds: tuple[Annotated[Seed, Field(ge=0)], ...] = Field(
        default=(0,), min_length=1, description="one run of each arm, task and protocol for each"
    )


@dataclass(frozen=True)
class Place:
    """A column of the table.

    Attributes:
        study: its runs, of the arms that fit.
        config: of its pipeline.
        unfit: why other arms of the league cannot be run here.
    """

    task: str
    protocol: str
    study: Study
    config: Config[Any]
    unfit: Mapping[str, str]

    def named_in(self, league: str) -> str:
        """What stands for its study on a command line."""
        return COLUMN.join([league, self.task, self.protocol])

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""
        return {"task": self.task, "protocol": self.protocol}


def load_any(
    name: str, methods: str = "", labels: str = "", seeds: str = "", added: Sequence[str] = ()
) -> Study | League:
    """The study or league of that name or path, or what `load_study` makes of a pipeline.

    The end `_study` of a name may be left out; LEAGUE:TASK:PROTOCOL is a column of a league.

    Args:
        added: further arms of a league, each NAME=OVERRIDE or NAME="OVERRIDE OVERRIDE".

    Raises:
        UsageError: as `load_study`; or arms that cannot be added.
    """
    first, *column = name.split(COLUMN)
    known = PIPELINES.names()
    if first not in known and f"{first}_study" in known:
        first = f"{first}_study"
    league = load_league(first if len(column) == len(AXES) else name if column else first, added)
    if league is None:
        if added:
            raise UsageError(f"{name} has no tasks", "--arm adds arms to leagues alone")
        return load_study(first if not column else name, methods, labels, seeds)
    if methods or labels or seeds:
        raise UsageError(
            f"{name} brings its own arms, labels and seeds", do="choose a part with --only"
        )
    if not column:
        return league
    for place in places(league):
        if [place.task, place.protocol] == column:
            return place.study
    raise UsageError(f"{first} has no column {COLUMN.join(column)}")


def against(chosen: Study | League, arm: str) -> Study | League:
    """The same study, whose arms are compared with this one; the same where none is named.

    Raises:
        UsageError: it has no such arm (names the nearest), or is a league.
    """
    if not arm:
        return chosen
    if isinstance(chosen, League):
        raise UsageError(
            f"--reference {arm} cannot be used with {chosen.name}",
            "a study of several tasks ranks its arms, and compares them with none",
            "leave it out",
        )
    if arm not in chosen.arms:
        raise UsageError(
            f"--reference {arm} is no arm of {chosen.name}", do=nearest(arm, list(chosen.arms))
        )
    return chosen.model_copy(update={"reference": (arm,)})


def load_league(name: str, added: Sequence[str] = ()) -> League | None:
    """The league of that name or path; None where it is none.

    Args:
        added: further arms, each NAME=OVERRIDE or NAME="OVERRIDE OVERRIDE".

    Raises:
        UsageError: unknown file or key; or an arm or task that there is not.
    """
    keys = PIPELINES.read(name, noun="study")
    if "tasks" not in keys.plain:
        return None
    league = validate(League, keys.plain, place=keys.place)
    for arm, overrides in league.arms.items():
        if isinstance(overrides, dict):
            for task in overrides:
                _known(task, list(league.tasks), f"the arm {arm} of {league.name} names the task")
    return league.model_copy(update={"arms": {**league.arms, **dict(map(_arm, added))}})


def _arm(text: str) -> tuple[str, Overrides]:
    name, equals, rest = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--arm {text} says nothing", do="write it as NAME=KEY=VALUE")
    return name, tuple(rest.split())


def _known(word: str, known: list[str], what: str) -> None:
    if word not in known:
        raise UsageError(f"{what} '{word}', which there is not", do=nearest(word, known))


def places(league: League) -> list[Place]:
    """The columns in the file's order.

    An arm whose keys a pipeline refuses is left out there, since an encoder fits some networks and
    not others.

    Raises:
        UsageError: an arm fits nowhere; or there is no such pipeline.
    """
    found, refused = [], dict[str, UsageError]()
    for task, protocols in league.tasks.items():
        for protocol, column in protocols.items():
            config = load_config(column.pipeline, column.set)
            arms, unfit = dict[str, Overrides](), dict[str, str]()
            for arm, given in league.arms.items():
                own = given.get(task) if isinstance(given, dict) else given
                if own is None:
                    continue
                try:
                    load_config(column.pipeline, (*column.set, *own))
                except UsageError as error:
                    refused.setdefault(arm, error)
                    unfit[arm] = kept_sentence_of(error)
                else:
                    arms[arm] = (*column.set, *own)
            if arms:
                study = _study(league, task, protocol, column, arms)
                found.append(Place(task, protocol, study, config, unfit))
    fitting = {arm for place in found for arm in place.study.arms}
    for arm, first in refused.items():
        if arm not in fitting:
            raise UsageError(f"the arm {arm} of {league.name}: {first.what}", first.why, first.do)
    return found


def _study(
    league: League, task: str, protocol: str, column: Column, arms: Mapping[str, Overrides]
) -> Study:
    words = f"{league.name} {task} {protocol}".replace(" ", "-")
    made: dict[str, Any] = {
        "name": words,
        "title": f"{league.title or league.name}: {task}, {protocol}",
        "pipeline": column.pipeline,
        "arms": dict(arms),
        "seeds": league.seeds,
        "reference": [next(iter(arms))],
        "labels": [] if column.labels is None else [column.labels],
    }
    return validate(Study, made)


def select(league: League, only: Sequence[str]) -> list[tuple[Place, list[str]]]:
    """The columns that `only` names, each with what narrows its runs further.

    Raises:
        UsageError: a task, protocol, arm or seed that the league does not have.
    """
    columns = places(league)
    known: dict[str, list[str]] = {
        axis: list(dict.fromkeys(one.words[axis] for one in columns)) for axis in AXES
    }
    known |= {"arm": list(league.arms), "seed": [str(seed) for seed in league.seeds]}
    wanted: dict[str, set[str]] = {}
    for part in (part for text in only for part in text.split(",")):
        axis, _, value = part.partition("=")
        if axis not in known:
            named = ", ".join(f"{name}=.." for name in known)
            raise UsageError(f"--only {part}: unknown", do=f"name one of {named}")
        _known(value, known[axis], f"--only names the {axis}")
        wanted.setdefault(axis, set()).add(value)
    chosen = []
    for place in columns:
        if any(place.words[axis] not in wanted.get(axis, known[axis]) for axis in AXES):
            continue
        arms = [arm for arm in place.study.arms if arm in wanted.get("arm", league.arms)]
        if arms:
            further = [f"arm={arm}" for arm in arms]
            chosen.append((place, [*further, *(f"seed={one}" for one in wanted.get("seed", ()))]))
    return chosen
