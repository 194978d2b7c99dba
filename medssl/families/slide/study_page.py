"""What a study of slide classifiers found, as Markdown: honest numbers first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medssl.data.spec import load_spec
from medssl.evaluate.statistics import bootstrap_interval, paired_difference
from medssl.pipeline.results import Result
from medssl.pipeline.study import Cell, Study

DRAWS = 2000


def sections(study: Study, results: Mapping[Cell, Result]) -> list[str]:
    """A table for each data set."""
    lines: list[str] = []
    for data in dict.fromkeys(run.data for run in results.values()):
        here = [_Run(cell.arm, run) for cell, run in results.items() if run.data == data]
        lines += _table(here, data, study.reference[0] if study.reference else "")
    return lines


@dataclass(frozen=True)
class _Run:
    """One run of an arm."""

    arm: str
    result: Result

    @property
    def seed(self) -> int:
        return self.result.seed

    @property
    def right(self) -> dict[str, bool]:
        """Test bag to whether its call was right."""
        found: dict[str, bool] = self.result.scores
        return found

    @property
    def numbers(self) -> Mapping[str, float]:
        return self.result.numbers


def _table(results: Sequence[_Run], data: str, reference: str) -> list[str]:
    """The arms on one data set."""
    seeds = sorted({one.seed for one in results})
    heads = ["arm", "seeds", "accuracy [95 %]", "AUC (sd over seeds)"]
    heads += [f"accuracy - {reference}", "p"]
    extras = [
        (name, head)
        for name, head in (
            ("optimistic_accuracy", "optimistic accuracy"),
            ("optimistic_auc", "optimistic AUC"),
            ("patch_auc", "instance AUC"),
            ("keys_found", "keys among the first"),
            ("ece", "ECE"),
        )
        if any(name in one.numbers for one in results)
    ]
    heads += [head for _, head in extras]
    note = " (simulated)" if load_spec(data).simulated else ""
    lines = [
        f"## {data}{note}",
        "",
        f"{len(results[0].right)} bags, seeds {', '.join(map(str, seeds))}.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    arms = list(dict.fromkeys(one.arm for one in results))
    base = _by_bag([one for one in results if one.arm == reference])
    for arm in arms:
        mine = [one for one in results if one.arm == arm]
        cells = [arm, str(len(mine)), _accuracy(mine), _mean_sd(mine, "auc")]
        cells += _difference(mine, base if arm != reference else {})
        cells += [_mean(mine, name) for name, _ in extras]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _by_bag(results: Sequence[_Run]) -> dict[str, float]:
    """Bag to the share of seeds in which it was called right."""
    names = set.intersection(*(set(one.right) for one in results)) if results else set()
    return {name: float(np.mean([one.right[name] for one in results])) for name in sorted(names)}


def _accuracy(results: Sequence[_Run]) -> str:
    values = list(_by_bag(results).values())
    low, high = bootstrap_interval(values, DRAWS, np.random.default_rng(0))
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def _difference(results: Sequence[_Run], base: dict[str, float]) -> list[str]:
    """Accuracy minus the reference's over the same bags, with interval and Wilcoxon's p."""
    mine = _by_bag(results)
    common = sorted(set(mine) & set(base))
    if len(common) < 2:
        return ["", ""]
    found = paired_difference(
        [mine[bag] for bag in common], [base[bag] for bag in common], np.random.default_rng(0)
    )
    return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]


def _mean_sd(results: Sequence[_Run], name: str) -> str:
    values = [one.numbers[name] for one in results if name in one.numbers]
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else ""


def _mean(results: Sequence[_Run], name: str) -> str:
    values = [one.numbers[name] for one in results if name in one.numbers]
    return f"{np.mean(values):.3f}" if values else ""
