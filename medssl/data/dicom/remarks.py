"""What `medssl data check` tells of studies beside the faults of single cases."""

from collections.abc import Iterator, Sequence

from medssl.data.case_checks import Verdict
from medssl.data.layouts import data_folder
from medssl.data.spec import Case, DataSpec


def without_series(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """The studies that hold no series for a channel."""
    for case in cases:
        if not case.images:
            what = f"the study {case.id} has no series for {', '.join(spec.channels)}"
            do = "it is left out; `medssl predict` says why of each of its series"
            yield Verdict(case.id, data_folder(spec), "warning", "series", what, do)
