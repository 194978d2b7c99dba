"""How pre-trained encoders are compared: by what probes find in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.families.pretrain.cohort import PROBES
from medssl.families.pretrain.probe_table import COLUMNS, named_rows, probe_table
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.results import read_numbers
from medssl.pipeline.study import Cell, Study

SHOWN = ("top1", "rank", "modality", "place", "masked_error", "centroid_mm")


class PretrainComparison(Comparison):
    """By what probes of patients kept out of training find."""

    shown = {name: COLUMNS[name] for name in SHOWN}  # noqa: RUF012 - a ClassVar of the base
    differences = ()

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
        """Also of untrained networks and of what needs no training, as "untrained/top1"."""
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
        return [*probe_table(named_rows(found)), ""]
