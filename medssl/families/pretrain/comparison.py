"""How pre-trained encoders are compared: by what probes find in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.spec import DataSpec
from medssl.families.pretrain.cohort import PROBES
from medssl.families.pretrain.probe_table import named_rows, probe_table
from medssl.pipeline.comparison import Comparison
from medssl.pipeline.results import Result, read_numbers
from medssl.pipeline.study import Cell, Study

SHOWN = ("top1", "rank", "modality", "place", "masked_error", "centroid_mm")


class PretrainComparison(Comparison):
    """By what probes of patients kept out of training find."""

    heads = (
        "top-1",
        "effective rank",
        "modality probe",
        "place, few-shot",
        "masked error",
        "label centroids, mm",
    )

    def read(self, folder: Path) -> tuple[Mapping[str, float], Any]:
        """What the probes say of the trained network; of everything that they asked."""
        found = read_numbers(folder / PROBES)
        return found.get("trained", {}), found

    def cells(self, run: Result) -> list[str]:
        """The numbers that a probe gave."""
        return [f"{run.numbers[name]:.3f}" if name in run.numbers else "" for name in SHOWN]

    def introduction(self, study: Study, specs: Sequence[DataSpec]) -> str:
        """What the table shows."""
        return (
            "Mean over seeds (standard deviation); each seed holds out other patients, whose scans "
            "no encoder of that seed has seen."
        )

    def sections(self, study: Study, results: Mapping[Cell, Result]) -> list[str]:
        """One table: trained and untrained networks, and what needs no training."""
        found = {(cell.arm, cell.seed): run.scores for cell, run in results.items()}
        return [*probe_table(named_rows(found)), ""]

    def columns(self, run: Result) -> Mapping[str, float]:
        """The numbers of every probe, by what was asked and the number's name."""
        return {
            f"{what}/{name}": value
            for what, values in run.scores.items()
            for name, value in values.items()
        }
