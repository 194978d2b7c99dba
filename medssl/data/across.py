"""What is wrong with cases taken together: equal names or images, shared patients, odd grids."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medssl.data.case_checks import Finding, Verdict, some
from medssl.data.files import is_image, visible
from medssl.data.found.items import items_below
from medssl.data.joined import is_joined, joined_files
from medssl.data.layouts import data_folder
from medssl.data.spec import Case, DataSpec
from medssl.names import alike

_UNUSUAL = 4.0  # field of view against the usual one, in either direction


def any_file(case: Case) -> Path:
    """A file of the case, by which a message names it."""
    return next(iter(case.images.values()), None) or case.label or Path(case.id)


def same_names(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Errors for cases that have the name of an earlier one."""
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.id, case)
        if other is not case:
            file = any_file(case)
            what = f"{file} and {any_file(other)} both make the case {case.id}"
            yield Verdict(case.id, file, "error", "duplicate", what, "give every case its own name")
    for one, twin in alike(first):
        what = f"the cases {one} and {twin} differ in capitals or accents alone"
        do = "rename one of them; many disks would take their results for one file"
        yield Verdict(twin, any_file(first[twin]), "warning", "duplicate", what, do)


def undeclared_masks(
    spec: DataSpec, findings: Sequence[Finding], guessed: bool
) -> Iterator[Verdict]:
    """Masks of a data set that says nothing of what they mean.

    Where nobody has written a spec, only values that a single mask has are pointed out.
    """
    masked = [finding for finding in findings if finding.values is not None]
    if spec.labels:
        return
    if guessed:
        yield from _lone_values(masked)
    elif masked:
        values = sorted({v for finding in masked for v in finding.values or () if v})
        yield Verdict(
            masked[0].case.id,
            masked[0].case.label or data_folder(spec),
            "error",
            "undeclared",
            f"the data set {spec.name} has {len(masked)} masks, with the values "
            f"{some(values) or 'of background alone'}, and declares no labels",
            "declare the values under `labels` in the data spec, or leave the masks out of its "
            "layout",
        )


def unfound_masks(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Labels that are declared where no case has a mask: the layout looks for them elsewhere."""
    if not spec.labels or not cases or any(case.label is not None for case in cases):
        return
    folder, pattern = data_folder(spec), (spec.layout.model_extra or {}).get("label")
    where = f"no file fits `label: {pattern}`" if pattern else "no mask was found"
    yield Verdict(
        "",
        folder,
        "warning",
        "missing label",
        f"none of the {len(cases)} cases of {spec.name} in {folder} has a label: {where}",
        "correct the `layout` in the data spec if there are masks; `medssl init` finds how they "
        "are named",
    )


def _lone_values(masked: Sequence[Finding]) -> Iterator[Verdict]:
    holders: dict[int, list[Finding]] = {}
    for finding in masked:
        for value in finding.values or ():
            holders.setdefault(value, []).append(finding)
    for value, found in sorted(holders.items()):
        label = found[0].case.label
        if len(found) == 1 and len(masked) > 2 and label is not None:
            yield Verdict(
                found[0].case.id,
                label,
                "warning",
                "label values",
                f"{label} is the only one of {len(masked)} masks that holds {value}",
                "correct the mask, or declare the labels in a data spec or a dataset.json",
            )


def only_empty(spec: DataSpec, findings: Sequence[Finding]) -> Iterator[Verdict]:
    """Masks that may be empty one by one, but not all of them."""
    masked = [finding for finding in findings if finding.values is not None]
    if masked and spec.empty_masks and all(finding.values == (0,) for finding in masked):
        yield Verdict(
            masked[0].case.id,
            masked[0].case.label or data_folder(spec),
            "error",
            "empty mask",
            f"none of the {len(masked)} masks of {spec.name} marks a voxel",
            "there is nothing to learn from them; add masks that are not empty",
        )


def divided_patients(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Errors for patients whose cases the data set declares for several parts (train, test ...)."""
    ranks = {"validation": 1, "test": 2}
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda case: ranks.get(case.part or "", 0)):
        other = first.setdefault(case.patient, case)
        if ranks.get(case.part or "", 0) != ranks.get(other.part or "", 0):
            file = any_file(case)
            against = other.part if other.part in ranks else "training"
            yield Verdict(
                case.id,
                file,
                "error",
                "patient",
                f"{file} is declared for {case.part} but {any_file(other)} of the same patient is "
                f"for {against}",
                "give all cases of a patient one part",
            )


def same_images(findings: Sequence[Finding]) -> Iterator[Verdict]:
    """Findings for cases whose voxels equal those of an earlier case."""
    first: dict[str, Case] = {}
    for finding in findings:
        if finding.digest is None:
            continue
        other = first.setdefault(finding.digest, finding.case)
        if other is not finding.case:
            case, divided = finding.case, other.part != finding.case.part
            file = any_file(case)
            content = "voxels" if finding.grids else "pixels"
            yield Verdict(
                case.id,
                file,
                "error" if divided or other.patient != case.patient else "warning",
                "duplicate",
                f"{file} has exactly the {content} of {any_file(other)}",
                "remove one of them, or name one patient for both in the data spec",
            )


def unusual_grids(findings: Sequence[Finding]) -> Iterator[Verdict]:
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


def _used(cases: Sequence[Case]) -> set[Path]:
    """Images and masks of cases; of masks that are joined each."""
    labels = [case.label for case in cases if case.label is not None]
    single = [
        path for label in labels for path in (joined_files(label) if is_joined(label) else [label])
    ]
    return {*single, *(path for case in cases for path in case.images.values())}


def unmatched_images(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Images in a folder that was read by the names of its files, and that fit none of them."""
    if spec.layout.kind != "glob":
        return
    used = _used(cases)
    for one in items_below(data_folder(spec)):
        if one.path not in used:
            yield Verdict(
                "",
                one.path,
                "warning",
                "unused",
                f"{one.path} is not used: it is unlike the others by name or format",
                "name it as they are, or move it to another folder",
            )


def unused_files(spec: DataSpec, cases: Sequence[Case]) -> Iterator[Verdict]:
    """Files beside the used ones, in folders of images or labels, that belong to no case."""
    used = _used(cases)
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
