"""What a study of slide classifiers found, as Markdown: honest numbers first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medssl.evaluate.statistics import bootstrap_interval, paired_difference
from medssl.pipeline.study_report import machine
from medssl.train.fingerprint import code_version

DRAWS = 2000


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        right: test bag to whether its call was right.
        numbers: scores by name, see `medssl.pipeline.slides.evaluate`.
    """

    data: str
    arm: str
    seed: int
    right: dict[str, bool]
    numbers: dict[str, float]
    simulated: bool = False


def summary(
    title: str, results: Sequence[Result], reference: str, planned: int, command: str
) -> str:
    """The whole page."""
    lines = [f"# {title}", ""]
    lines += [
        f"{len(results)} of {planned} runs. Accuracy is over all test bags of all folds, each bag "
        "with its mean over the seeds; epoch and threshold are chosen on validation bags. AUC is "
        "the mean over folds and seeds. *Optimistic*: epoch and threshold chosen on the test bags "
        "of each fold, as published tables often are; no estimate of anything.",
        "",
        f"- command: `{command}`",
        f"- code: {code_version()}",
        f"- machine: {machine()}",
        "",
    ]
    for data in dict.fromkeys(one.data for one in results):
        lines += _table([one for one in results if one.data == data], data, reference)
    return "\n".join(lines)


def _table(results: Sequence[Result], data: str, reference: str) -> list[str]:
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
    note = " (simulated)" if any(one.simulated for one in results) else ""
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


def _by_bag(results: Sequence[Result]) -> dict[str, float]:
    """Bag to the share of seeds in which it was called right."""
    names = set.intersection(*(set(one.right) for one in results)) if results else set()
    return {name: float(np.mean([one.right[name] for one in results])) for name in sorted(names)}


def _accuracy(results: Sequence[Result]) -> str:
    values = list(_by_bag(results).values())
    low, high = bootstrap_interval(values, DRAWS, np.random.default_rng(0))
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def _difference(results: Sequence[Result], base: dict[str, float]) -> list[str]:
    """Accuracy minus the reference's over the same bags, with interval and Wilcoxon's p."""
    mine = _by_bag(results)
    common = sorted(set(mine) & set(base))
    if len(common) < 2:
        return ["", ""]
    found = paired_difference(
        [mine[bag] for bag in common], [base[bag] for bag in common], np.random.default_rng(0)
    )
    return [f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.p:.2g}"]


def _mean_sd(results: Sequence[Result], name: str) -> str:
    values = [one.numbers[name] for one in results if name in one.numbers]
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else ""


def _mean(results: Sequence[Result], name: str) -> str:
    values = [one.numbers[name] for one in results if name in one.numbers]
    return f"{np.mean(values):.3f}" if values else ""
