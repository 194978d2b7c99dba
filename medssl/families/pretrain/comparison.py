"""How pre-trained encoders are compared: by what probes find in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.spec import DataSpec
from medssl.families.pretrain.cohort import ASKED, PROBES, Numbers
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.stage import read_numbers
from medssl.pipeline.study import Cell, Study
from medssl.pipeline.study_page import markdown

Probed = Mapping[tuple[str, int], Mapping[str, Numbers]]
"""By arm and seed: what probes say of "trained", "untrained" and each baseline."""

COLUMNS = {name: heading for name, (heading, _) in ASKED.items() if heading}

SHOWN = ("top1", "rank", "modality", "place", "masked_error", "centroid_mm")


class PretrainComparison(Comparison):
    """By what probes of patients kept out of training find."""

    shown = {name: COLUMNS[name] for name in SHOWN}  # noqa: RUF012 - a ClassVar of the base
    differences = ()
    ranked = "top1"

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """What the probes say of the trained network; of everything that they asked."""
        found = read_numbers(folder / PROBES)
        return found.get("trained", {}), found

    def introduction(self, specs: Sequence[DataSpec]) -> str:
        """What the table shows."""
        return (
            "Mean over seeds (standard deviation); each seed holds out other patients, whose scans "
            "no encoder of that seed has seen."
        )

    def columns(self, run: Result) -> Mapping[str, float]:
        """Numbers of study.csv; those of untrained networks and baselines as "untrained/top1"."""
        others = {
            f"{what}/{name}": value
            for what, values in run.scores.items()
            if what != "trained"
            for name, value in values.items()
        }
        return {**run.numbers, **others}

    def tables(self, study: Study, results: Mapping[Cell, Result]) -> list[str]:
        """One: trained and untrained networks, and what needs no training."""
        found = {(cell.arm, cell.seed): run.scores for cell, run in results.items()}
        return probe_table(named_rows(found))


def probe_table(rows: Mapping[str, Sequence[Numbers]]) -> list[str]:
    """Lines of the table: a row for each name with numbers, mean over seeds (their deviation)."""
    told = {name for runs in rows.values() for run in runs for name in run}
    columns = {name: heading for name, heading in COLUMNS.items() if name in told}
    cells = [
        [row, str(len(runs)), *(_mean_sd(runs, name) for name in columns)]
        for row, runs in rows.items()
        if any(columns.keys() & run.keys() for run in runs)
    ]
    return markdown(["arm", "seeds", *columns.values()], cells)


def named_rows(found: Probed) -> dict[str, list[Numbers]]:
    """Rows of what probes say by arm and seed: "trained" under the arm's name.

    What needs no training, and untrained networks, comes first, once a seed.
    """
    rows: dict[str, dict[int, Numbers]] = {}
    for (arm, seed), numbers in found.items():
        for name, values in numbers.items():
            row = name.replace("trained", arm) if name.startswith("trained") else name
            rows.setdefault(row, {})[seed] = values
    arms = {arm for arm, _ in found}
    order = sorted(rows, key=lambda row: row.split(", ")[0] in arms)
    return {row: list(rows[row].values()) for row in order}


def _mean_sd(runs: Sequence[Numbers], name: str) -> str:
    values = [run[name] for run in runs if name in run]
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else ""
