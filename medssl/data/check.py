"""Every way a data set can be wrong: all verdicts in one pass, before any training."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from medssl.data.across import (
    any_file,
    divided_patients,
    only_empty,
    same_images,
    same_names,
    undeclared_masks,
    unusual_grids,
)
from medssl.data.classes import Fault
from medssl.data.files import is_image, visible
from medssl.data.guess import guess_spec
from medssl.data.instances import read_instances
from medssl.data.layouts import (
    bags,
    data_folder,
    existing_folder,
    listed_cases,
    radiographs,
    slides,
)
from medssl.data.rules import Finding, Verdict, inspect, noted
from medssl.data.scan.contrasts import contrast_of, lookalike_sentences
from medssl.data.slide.settings import TileSettings
from medssl.data.spec import Case, DataSpec
from medssl.data.workers import Workers
from medssl.errors import DataError

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
    if spec.layout.kind == "bags":
        return _bags(spec)
    chosen, faults = listed_cases(spec) if cases is None else (list(cases), [])
    if spec.layout.kind == "planted":
        return []  # made from numbers, when they are read
    if not chosen and not faults:
        raise DataError(
            f"there is no case in {data_folder(spec)}",
            f"no file fits the layout '{spec.layout.kind}' of {spec.name}",
            "compare the folder with the data spec",
        )
    findings = _findings(chosen, _work(spec, chosen, faults), workers, on_progress)
    verdicts = [_error(fault) for fault in faults]
    verdicts += [verdict for finding in findings for verdict in finding.verdicts]
    verdicts += [
        *same_names(chosen),
        *divided_patients(chosen),
        *same_images(findings),
        *unusual_grids(findings),
        *only_empty(spec, findings),
        *undeclared_masks(spec, findings, guessed),
    ]
    if cases is None:
        verdicts += [
            *_unused(spec, chosen),
            *_lookalikes(spec, chosen),
            *_unknown_patients(spec, chosen),
        ]
    return verdicts


def check_folder(
    folder: Path, workers: int | None = None, on_progress: Progress | None = None
) -> list[Verdict]:
    """`check` for a folder without a data spec; its layout is guessed.

    Raises:
        DataError: the folder is missing, or its layout is none that can be guessed.
    """
    return check(guess_spec(folder), workers=workers, on_progress=on_progress, guessed=True)


def _findings(
    cases: Sequence[Case],
    work: Callable[[Case], Finding],
    workers: int | None,
    on_progress: Progress | None,
) -> list[Finding]:
    """What looking at each case brings, in order."""

    def look(case: Case) -> Finding:
        failed = Finding(case)
        with noted(failed, any_file(case)):
            return work(case)
        return failed

    found = []
    with Workers(workers or min(8, os.cpu_count() or 1)) as pool:
        for finding in pool.map(look, cases):
            found.append(finding)
            if on_progress is not None:
                on_progress(len(found), len(cases))
    return found


def _work(
    spec: DataSpec, cases: Sequence[Case], faults: Sequence[Fault]
) -> Callable[[Case], Finding]:
    """What looks at a case on its own."""
    if spec.layout.kind == "slides":
        from medssl.data.slide.check import inspect_slide

        tabled = spec.layout.options(slides.Options).table is not None
        mislabelled = {fault.case for fault in faults if fault.rule == "label"}
        expected = {case.id for case in cases} - mislabelled
        labelled = expected if tabled and not spec.layout.unlabelled else set()
        return partial(inspect_slide, tiles=TileSettings(), labelled=labelled)
    if spec.layout.kind == "radiographs":
        from medssl.data.radiograph.check import inspect_radiograph

        return partial(inspect_radiograph, spec=spec)
    masks = bool(spec.labels) or any(case.label is not None for case in cases)
    return partial(inspect, spec=spec, labelled=masks and not spec.layout.unlabelled)


def _bags(spec: DataSpec) -> list[Verdict]:
    """All that is wrong with a file of bags."""
    options = spec.layout.options(bags.Options)
    found = read_instances(existing_folder(spec) / options.file)
    return [_error(fault) for fault in found.faults(options.classes)]


def _error(fault: Fault) -> Verdict:
    return Verdict(fault.case, fault.file, "error", fault.rule, fault.what, fault.do)


def _unknown_patients(spec: DataSpec, cases: list[Case]) -> Iterator[Verdict]:
    """Radiographs of which nothing says who they are of."""
    if spec.layout.kind == "radiographs" and not radiographs.patients_known(cases):
        yield Verdict(
            "",
            data_folder(spec),
            "warning",
            "patient",
            f"nothing says which images of {spec.name} are of one patient; each counts as its own",
            "name the column in the data spec (layout.columns.patient), or an expression as "
            "`patient`; scores are too good if parts share patients",
        )


def _lookalikes(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Contrasts of sessions that look like one under two names."""
    if not spec.holds_sessions:
        return
    scans = [contrast_of(name) for case in cases for name in case.images]
    for what, do in lookalike_sentences(scans, spec):
        yield Verdict("", data_folder(spec), "warning", "contrast", what, do)


def _unused(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Files beside the used ones, in folders of images or labels, that belong to no case."""
    if spec.layout.kind not in ("decathlon", "nnunet"):
        return
    used = {path for case in cases for path in (*case.images.values(), case.label) if path}
    for folder in sorted({path.parent for path in used if path.parent.is_dir()}):
        for path in visible(folder):
            if path.is_dir() or path in used:
                continue
            why = "no case has it" if is_image(path) else "its name is not that of an image"
            yield Verdict(
                "",
                path,
                "warning",
                "unused",
                f"{path} is not used: {why}",
                "name or list it as the layout asks, or remove it",
            )
