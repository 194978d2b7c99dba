"""How finished runs are set against each other: what a family says, and what is the same for all.

Runs of one arm under several seeds are one thing here: every test item enters with its mean over
the seeds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medssl.data.spec import DataSpec
from medssl.evaluate.statistics import Interval, crossed_means, paired_difference
from medssl.pipeline.study import Cell, Study


@dataclass(frozen=True)
class Result:
    """What a finished run found.

    Attributes:
        folder: of its last stage.
        config: resolved configuration, nested as in the pipeline file.
        numbers: scores by name.
        scores: of single cases, as the family keeps them.
        run_id: MLflow run; empty where MLflow did not answer.
    """

    folder: Path
    config: dict[str, Any]
    numbers: Mapping[str, float]
    scores: Any
    run_id: str

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.config["method"]["name"])

    @property
    def labels(self) -> int:
        """Label budget; 0 where all labels are used or none."""
        return int((self.config.get("split") or {}).get("labels") or 0)

    @property
    def data(self) -> str:
        """Data sets."""
        data = self.config["data"]
        return data if isinstance(data, str) else " + ".join(data)

    @property
    def seed(self) -> int:
        """Seed of split and training."""
        return int(self.config["seed"])


@dataclass(frozen=True)
class Headline:
    """The one number by which a run is ranked.

    Attributes:
        name: of the score.
        low, high: ends of its 95 % interval over test items; None where it has none.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


Runs = Mapping[int, Result]
"""The runs of one arm by seed."""

DRAWS = 2000
"""Of a bootstrap over test items and seeds."""


class Comparison(ABC):
    """What a family says of its finished runs.

    Attributes:
        score: what `items` gives, e.g. "Dice"; empty where single items have no score.
        shown: further numbers of `columns` that tables show, and their headings.
        differences: headings of what `difference` gives; "{}" stands for "- REFERENCE".
        brief: which of them the table of `medssl compare` shows, and under which headings; all
            unless given.
        budget: what a label budget counts.
        ranked: the number of a run by which it is ranked; empty where there is none.
    """

    score: ClassVar[str] = ""
    shown: ClassVar[Mapping[str, str]]
    differences: ClassVar[tuple[str, ...]] = ("{} [95 %]", "Wilcoxon p")
    brief: ClassVar[Mapping[int, str] | None] = None
    budget: ClassVar[str] = "labels"
    ranked: ClassVar[str] = ""

    @abstractmethod
    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """Numbers of a finished run by name, and the scores of its single test items.

        Raises:
            UsageError, DataError, OSError, ValueError, KeyError, TypeError: they are damaged.
        """

    @abstractmethod
    def introduction(self, specs: Sequence[DataSpec]) -> str:
        """One paragraph: what the numbers of a study's page are."""

    def items(self, run: Result) -> Mapping[str, float]:
        """The score of each test item by its name."""
        return {}

    def columns(self, run: Result) -> Mapping[str, float]:
        """The numbers of a run in study.csv and in tables, by name."""
        return run.numbers

    def heads(self) -> list[str]:
        """Headings of what `cells` gives."""
        return [*([f"{self.score} [95 %]"] if self.score else []), *self.shown.values()]

    def cells(self, runs: Runs) -> list[str]:
        """The scores of an arm: over items with an interval, the others over seeds."""
        first = []
        if self.score:
            first = [str(self.standing(runs))]
        return [*first, *(mean_sd(self.numbers(runs, name)) for name in self.shown)]

    def mean(self, run: Result) -> float:
        """The one number by which runs are ranked."""
        return float(np.mean(list(self.items(run).values())))

    def headline(self, run: Result) -> Headline | None:
        """The number by which the run is ranked; None where it has none."""
        value = run.numbers.get(self.ranked)
        if value is None or not np.isfinite(value):
            return None
        return self._headline(value, self.interval({0: run}))

    def _headline(self, value: float, interval: Interval) -> Headline:
        ends = (None if np.isnan(end) else float(end) for end in interval)
        return Headline(self.score or self.ranked.replace("_", " "), value, *ends)

    def pooled(self, runs: Runs) -> dict[str, float]:
        """Item to its mean score over the seeds that tested it."""
        values: dict[str, list[float]] = {}
        for run in runs.values():
            for item, score in self.items(run).items():
                values.setdefault(item, []).append(score)
        return {item: float(np.mean(found)) for item, found in sorted(values.items())}

    def table(self, runs: Runs, items: Sequence[str]) -> np.ndarray:
        """[S, N] scores of some items, a row for each seed.

        Where seeds test other items, a single row of their means.
        """
        scores = [self.items(runs[seed]) for seed in sorted(runs)]
        if all(item in one for one in scores for item in items):
            return np.array([[one[item] for item in items] for one in scores])
        pooled = self.pooled(runs)
        return np.array([[pooled[item] for item in items]])

    def interval(self, runs: Runs) -> Interval:
        """Of an arm's mean, over items and seeds; no number for a single item and seed.

        One run has the interval of its own evaluation, which its report and MLflow show.
        """
        if len(runs) == 1:
            (run,) = runs.values()
            low, high = (run.numbers.get(f"{self.ranked}_{end}") for end in ("low", "high"))
            if low is not None and high is not None:
                return Interval(low, high)
        table = self.table(runs, list(self.pooled(runs)))
        if table.size < 2:
            return Interval(float("nan"), float("nan"))
        return quantiles(crossed_means([table], DRAWS, np.random.default_rng(0))[0])

    def standing(self, runs: Runs) -> Headline:
        """The number by which an arm is ranked, its mean over seeds.

        Its interval is over items and seeds, where items have scores; of one run, its own.
        """
        own = self.headline(next(iter(runs.values()))) if len(runs) == 1 else None
        if own is not None:
            return own
        found = [self.mean(run) for run in runs.values()]
        if self.score:
            found = list(self.pooled(runs).values())
        return self._headline(float(np.mean(found)), self.interval(runs))

    def difference(self, runs: Runs, reference: Runs) -> list[str]:
        """An arm less another over the items of both; empty texts where these are too few.

        Of seeds those count that both have, if there are any. The interval is over items and over
        seeds; p is over items.
        """
        if shared := set(runs) & set(reference):
            runs, reference = ({seed: one[seed] for seed in shared} for one in (runs, reference))
        mine, theirs = self.pooled(runs), self.pooled(reference)
        common = sorted(set(mine) & set(theirs))
        if len(common) < 2:
            return ["" for _ in self.differences]
        pairs = [mine[item] for item in common], [theirs[item] for item in common]
        found = paired_difference(*pairs, np.random.default_rng(0))
        tables = [self.table(one, common) for one in (runs, reference)]
        first, second = crossed_means(tables, DRAWS, np.random.default_rng(0))
        low, high = quantiles(first - second)
        return [f"{found.mean:+.3f} [{low:+.3f}, {high:+.3f}]", f"{found.p:.2g}"]

    def tables(self, study: Study, results: Mapping[Cell, Result]) -> list[str] | None:
        """Lines of Markdown in place of the tables of `medssl.pipeline.study_page`."""
        return None

    def numbers(self, runs: Runs, name: str) -> list[float]:
        """One number of an arm by seed, of the runs that have it."""
        found = (self.columns(runs[seed]) for seed in sorted(runs))
        return [numbers[name] for numbers in found if np.isfinite(numbers.get(name, np.nan))]


def quantiles(draws: np.ndarray) -> Interval:
    """The 95 % interval of draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(low), float(high))


def mean_sd(values: Sequence[float]) -> str:
    """The mean, with the standard deviation of several."""
    if not values:
        return "-"
    deviation = f" ({np.std(values):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"
