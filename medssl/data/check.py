"""Every way a data set can be wrong: all verdicts in one pass, before any training."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from medssl.data.classes import Fault
from medssl.data.files import is_image
from medssl.data.guess import guess_spec
from medssl.data.instances import read_instances
from medssl.data.layouts import (
    all_cases,
    bags,
    data_folder,
    existing_folder,
    radiographs,
    slides,
)
from medssl.data.rules import Finding, Verdict, inspect
from medssl.data.scan.contrasts import contrast_of, lookalike_sentences
from medssl.data.slide.settings import TileSettings
from medssl.data.spec import Case, DataSpec
from medssl.data.workers import Workers
from medssl.errors import DataError

Progress = Callable[[int, int], None]

LISTED = {"slides": slides.listed, "radiographs": radiographs.listed}
"""Layouts whose tables may be wrong in places and still give cases."""

_UNUSUAL = 4.0  # field of view against the usual one, in either direction


def check(
    spec: DataSpec,
    cases: Sequence[Case] | None = None,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> list[Verdict]:
    """All that is wrong with a data set; an empty list if nothing is.

    Args:
        spec: what is declared.
        cases: by default all of the data set, also labels without an image.
        workers: threads; reading releases Python's lock. By default one per core, at most 8.
        on_progress: called with the numbers of cases done and in all.

    Raises:
        DataError: there is no case to check, or the list of cases cannot be read.
    """
    if spec.layout.kind == "bags":
        return _bags(spec)
    faults: list[Fault] = []
    if cases is not None:
        chosen = list(cases)
    elif spec.layout.kind in LISTED:
        chosen, faults = LISTED[spec.layout.kind](spec, existing_folder(spec))
    else:
        chosen = all_cases(spec)
    if not chosen and not faults:
        raise DataError(
            f"there is no case in {data_folder(spec)}",
            f"no file fits the layout '{spec.layout.kind}' of {spec.name}",
            "compare the folder with the data spec",
        )
    work = _work(spec, chosen, faults)
    findings = []
    with Workers(workers or min(8, os.cpu_count() or 1)) as pool:
        for finding in pool.map(work, chosen):
            findings.append(finding)
            if on_progress is not None:
                on_progress(len(findings), len(chosen))
    verdicts = [_error(fault) for fault in faults]
    verdicts += [verdict for finding in findings for verdict in finding.verdicts]
    verdicts += [
        *_same_names(chosen),
        *_divided_patients(chosen),
        *_same_images(findings),
        *_unusual_grids(findings),
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
    return check(guess_spec(folder), workers=workers, on_progress=on_progress)


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


def _any_file(case: Case) -> Path:
    return next(iter(case.images.values()), None) or case.label or Path(case.id)


def _same_names(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Cases with the name of an earlier one."""
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.id, case)
        if other is not case:
            file = _any_file(case)
            what = f"{file} and {_any_file(other)} both make the case {case.id}"
            yield Verdict(case.id, file, "error", "duplicate", what, "give every case its own name")


def _divided_patients(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Patients that the data set declares for more than one part."""
    ranks = {"validation": 1, "test": 2}
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda case: ranks.get(case.part or "", 0)):
        other = first.setdefault(case.patient, case)
        if ranks.get(case.part or "", 0) != ranks.get(other.part or "", 0):
            file = _any_file(case)
            against = other.part if other.part in ranks else "training"
            yield Verdict(
                case.id,
                file,
                "error",
                "patient",
                f"{file} is declared for {case.part} but {_any_file(other)} of the same patient is "
                f"for {against}",
                "give all cases of a patient one part",
            )


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


def _same_images(findings: Sequence[Finding]) -> Iterator[Verdict]:
    """Cases whose voxels are those of an earlier case."""
    first: dict[str, Case] = {}
    for finding in findings:
        if finding.digest is None:
            continue
        other = first.setdefault(finding.digest, finding.case)
        if other is not finding.case:
            case, divided = finding.case, other.part != finding.case.part
            file = _any_file(case)
            content = "voxels" if finding.grids else "pixels"
            yield Verdict(
                case.id,
                file,
                "error" if divided or other.patient != case.patient else "warning",
                "duplicate",
                f"{file} has exactly the {content} of {_any_file(other)}",
                "remove one of them, or name one patient for both in the data spec",
            )


def _unusual_grids(findings: Sequence[Finding]) -> Iterator[Verdict]:
    """Images whose field of view is far from the median of the data set."""
    grids = [(finding.case, *grid) for finding in findings for grid in finding.grids]
    if len(grids) < 3:
        return
    # Sorted, because the order of axes is the file's own.
    views = np.array([sorted(np.multiply(grid.shape, grid.spacing)) for *_, grid in grids])
    usual = np.median(views, axis=0)
    ratio = views / usual
    for (case, file, grid), far in zip(grids, np.maximum(ratio, 1 / ratio).max(1), strict=True):
        if far > _UNUSUAL:
            size = " x ".join(f"{side:.0f}" for side in np.multiply(grid.shape, grid.spacing))
            yield Verdict(
                case.id,
                file,
                "warning",
                "geometry",
                f"{file} has a geometry unlike the rest: {size} mm, against usually "
                f"{' x '.join(f'{side:.0f}' for side in usual)} mm (sides sorted)",
                "check that it belongs to this data set and that its spacing is right",
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
        for path in sorted(folder.iterdir()):
            if path.is_dir() or path in used or path.name.startswith("."):
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
