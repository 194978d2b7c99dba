"""What is to be predicted into a folder: which cases are done, and what is written of the others.

A case is done when its mask and maps are there with the hashes that they were written with, so a
killed prediction continues with the cases that are missing.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.data.dicom.choice import Wanted
from medssl.data.dicom.study import StudyFiles
from medssl.export.forms import Form
from medssl.export.result import Algorithm
from medssl.families.segment.config import SegmentConfig
from medssl.families.segment.formats import form_for
from medssl.families.segment.report import REPORT
from medssl.infer.checkpoint_guard import read_guard
from medssl.infer.cleaning import CORRECTIONS
from medssl.infer.guard import Guard
from medssl.infer.measure import Measured
from medssl.pipeline.inputs import Input, paths_of
from medssl.pipeline.outputs import Outputs, fingerprint_of
from medssl.section import digest
from medssl.settings import PredictSettings
from medssl.train.checkpoint import Checkpoint
from medssl.train.description import weights_hash


@dataclass(frozen=True)
class Asked:
    """What is to be predicted into a folder, and with what.

    Attributes:
        found: what the checkpoint says of itself.
        cases: files in channel order, or those of a study, by case.
        measures: whether volumes and doubt of each case are kept in the record of the outputs.
    """

    checkpoint: Path
    found: Checkpoint
    settings: PredictSettings
    cases: Mapping[str, Input]
    out: Path
    measures: bool = False
    _forms: dict[str, Form] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names(self, case: str) -> list[str]:
        """File names of a case's results; the mask, which appears last, is the first."""
        maps = ["_entropy"] if "entropy" in self.settings.save else []
        if "probabilities" in self.settings.save:
            regions = [name.replace(" ", "_") for name in self.found.regions]
            maps += [f"_probability_{one}" for one in regions or self.found.label_values]
        form = self.form(case)
        masks = form.names(case, self.found.labels)
        report = [f"{case}{REPORT}"] if self.settings.report else []
        return [*masks, *(f"{case}{one}{form.maps}" for one in maps), *report]

    @property
    def measuring(self) -> bool:
        """Whether volumes and doubt of each case are measured: for the record, or for a report."""
        return self.measures or self.settings.report

    def form(self, case: str) -> Form:
        """The file format in which the results of a case are written."""
        if case not in self._forms:  # of a picture it takes to decode the whole of it
            self._forms[case] = form_for(self.settings.format, self.cases[case])
        return self._forms[case]

    @property
    def algorithm(self) -> Algorithm:
        """What DICOM objects say of the model."""
        found, weights = self.found, weights_hash(self.checkpoint)[:16]
        name = f"medssl {found.method['name']}, {found.data.name}"
        return Algorithm(name, parameters=(("weights", weights), ("step", str(found.step))))

    def outputs(self, overwrite: bool) -> Outputs:
        """What the folder holds of the wanted results.

        Raises:
            UsageError: it holds others, or files that are in the way.
        """
        how = SegmentConfig.without_effect["predict"]
        made: dict[str, Any] = {
            "weights": weights_hash(self.checkpoint),
            "predict": self.settings.model_dump(mode="json", exclude=how),
        }
        if self.settings.flips:
            made["mirrored"] = list(self.found.mirrored or ())
        sources = {case: self.source(case) for case in self.cases}
        names = {case: self.names(case) for case in self.cases}
        outputs = Outputs(self.out, made, sources, names, overwrite)
        outputs.begin()  # a folder that cannot be written to is said before the work
        return outputs

    def source(self, case: str) -> str:
        """What stands for the files of a case in the record."""
        return fingerprint_of(paths_of(self.cases[case]))

    def missing(self, outputs: Outputs) -> list[str]:
        """Cases whose results are not there as they were written."""
        known = self.measured(outputs) if self.measuring else self.cases
        return [
            case for case in self.cases if case not in known or not outputs.has(self.names(case))
        ]

    def measured(self, outputs: Outputs) -> dict[str, Measured]:
        """Volumes and doubt by case, as far as they stand in the record of the outputs."""
        found = {}
        for case in self.cases:
            with suppress(KeyError, TypeError, ValueError):
                one = outputs.measured[case]
                if one.get("rules", "") == self.rules_of(case):
                    found[case] = Measured.from_plain(one)
        return found

    @property
    def limit(self) -> float | None:
        """Score above which the guard marks a case; None where no guard is there or asked."""
        return self.guard.limit(self.settings.guard) if self.guard else None

    @property
    def guard(self) -> Guard | None:
        """What knows the scans of training; None where the checkpoint has none."""
        return read_guard(self.checkpoint) if self.settings.guard else None

    def rules_of(self, case: str) -> str:
        """8 characters for what a study's series were chosen by; empty of other cases."""
        given = self.settings.model_dump(mode="json")["series"]
        return digest([given]) if given and isinstance(self.cases[case], StudyFiles) else ""

    @property
    def size_factors(self) -> tuple[float | None, ...]:
        """By which sizes may be off, see `Checkpoint`; empty where masks are made another way."""
        both = self.found.predict, self.settings
        then, now = ([getattr(one, key) or None for key in CORRECTIONS] for one in both)
        same = then == now and self.settings.network == "ensemble"
        return self.found.size_factors if same else ()

    @property
    def wanted(self) -> Wanted:
        """Which series a study must hold to be predicted."""
        found = self.found
        rules = {**found.series, **self.settings.series}
        return Wanted(found.modality, found.channels, rules, found.grids)
