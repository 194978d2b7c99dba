"""Every way a data set can be wrong: all verdicts in one pass, before any training."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from medssl.data.across import (
    any_file,
    divided_patients,
    only_empty,
    same_images,
    same_names,
    undeclared_masks,
    unfound_masks,
    unmatched_images,
    unusual_grids,
)
from medssl.data.case_checks import Finding, Verdict, inspect, noted
from medssl.data.classes import Fault
from medssl.data.dimensions import other_dimensions
from medssl.data.layouts import data_folder, holds_sessions, layout_of, listed_cases
from medssl.data.scan.contrasts import contrast_of, lookalike_sentences
from medssl.data.spec import Case, DataSpec
from medssl.data.workers import Workers
from medssl.errors import DataError
from medssl.registry import load

Progress = Callable[[int, int], None]


def check(
    spec: DataSpec,
    cases: Sequence[Case] | None = None,
    workers: int | None = None,
    on_progress: Progress | None = None,
    guessed: bool = False,
) -> list[Verdict]:
    """All that is wrong with a data set; an empty list if nothing is.

    Nothing that a case meets ends the check of the others.

    Args:
        spec: what is declared.
        cases: by default all of the data set, also labels without an image.
        workers: threads; reading releases Python's lock. By default one per core, at most 8.
        on_progress: called with the numbers of cases done and in all.
        guessed: nobody has written the spec, so that masks without declared labels are no fault.

    Raises:
        DataError: there is no case to check, or the list of cases cannot be read.
    """
    layout = layout_of(spec)
    chosen, faults = listed_cases(spec) if cases is None else (list(cases), [])
    if not chosen and not faults:
        raise DataError(
            f"there is no case in {data_folder(spec)}",
            f"no file fits the layout '{spec.layout.kind}' of {spec.name}",
            "compare the folder with the data spec",
        )
    look = Finding if layout.inspector is None else load(layout.inspector)(spec, chosen, faults)
    findings = _findings(chosen, look, workers, on_progress)
    verdicts = [
        Verdict(fault.case, fault.file, "error", fault.rule, fault.what, fault.do)
        for fault in faults
    ]
    verdicts += [verdict for finding in findings for verdict in finding.verdicts]
    verdicts += [
        *same_names(chosen),
        *divided_patients(chosen),
        *(other_dimensions(chosen) if layout.content == "volumes" else ()),
        *same_images(findings),
        *unusual_grids(findings),
        *only_empty(spec, findings),
        *undeclared_masks(spec, findings, guessed),
        *unfound_masks(spec, chosen if cases is None else ()),
    ]
    if cases is None:
        verdicts += _lookalikes(spec, chosen)
        verdicts += unmatched_images(spec, chosen) if guessed else []
        verdicts += [] if layout.remarks is None else load(layout.remarks)(spec, chosen)
    return verdicts


def _findings(
    cases: Sequence[Case],
    look: Callable[[Case], Finding],
    workers: int | None,
    on_progress: Progress | None,
) -> list[Finding]:
    """What looking at each case brings, in order."""

    def looked_at(case: Case) -> Finding:
        failed = Finding(case)
        with noted(failed, any_file(case)):
            return look(case)
        return failed

    found = []
    with Workers(workers or min(8, os.cpu_count() or 1)) as pool:
        for finding in pool.map(looked_at, cases):
            found.append(finding)
            if on_progress is not None:
                on_progress(len(found), len(cases))
    return found


def inspector_of_volumes(
    spec: DataSpec, cases: Sequence[Case], faults: Sequence[Fault]
) -> Callable[[Case], Finding]:
    """What looks at a volume and its mask."""
    return partial(inspect, spec=spec)


def labelled(case: Case) -> bool:
    """Whether a case has a label: a mask, a grade or a class."""
    return case.label is not None or case.extra.get("class") is not None


def folded(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Verdicts that say the same of other cases, together; in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for one in verdicts:
        said = re.sub(rf"\b{re.escape(one.case)}\b", "", one.what.replace(str(one.file), ""))
        groups.setdefault((one.level, one.rule, said, one.do), []).append(one)
    return list(groups.values())


def _lookalikes(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Contrasts of sessions that look like one under two names."""
    if not holds_sessions(spec):
        return
    scans = [contrast_of(name) for case in cases for name in case.images]
    for what, do in lookalike_sentences(scans, spec):
        yield Verdict("", data_folder(spec), "warning", "contrast", what, do)
