"""What a data spec that was drafted for a folder says, and what was found, in words."""

from collections.abc import Iterator, Sequence
from typing import Any

from medssl.data.check import labelled
from medssl.data.files import is_picture
from medssl.data.found.contents import Contents
from medssl.data.found.folder import Found
from medssl.data.layouts import layout_of
from medssl.data.layouts.glob import PART, PATIENT
from medssl.data.overlaps import overlapping
from medssl.data.spec import Case, DataSpec
from medssl.names import some_of
from medssl.yaml_text import document


def spec_text(
    spec: DataSpec, plain: dict[str, Any], found: Found, contents: Contents, cases: Sequence[Case]
) -> str:
    """The file, with what is known of each key above it."""
    masked = sum(map(labelled, cases))
    head = [
        "What the data set is. Written by `medssl init`; correct what is wrong, and check it with",
        f"`medssl data check {spec.name}`. `medssl keys data` has every key.",
    ]
    named = [label.name.startswith("label_") for label in spec.labels]
    noun, truth = layout_of(spec).noun, layout_of(spec).truth
    how = f"{found.rule}: {masked} of {len(cases)} {noun} have a {truth}." if found.rule else ""
    reasons = {
        "modality": _modality(spec, contents),
        "labels": "Values of the masks; rename them, they are in reports and file names."
        if any(named)
        else "By the name of its files; it is in reports and file names."
        if found.structure
        else found.labels_why,
        "outlined": "What the masks of these cases outline; the rest is unknown there.",
        "empty_masks": f"Nothing is marked in {_count(len(contents.empty), 'masks')} "
        f"({some_of(contents.empty)}): taken to say that there is nothing to find.\n"
        "Delete those that are not drawn yet.",
        "regions": "Unions of labels, which are learnt in their place; without them each label is.",
        "root": "Relative to MEDSSL_DATA." if not spec.root.startswith("/") else "",
        "layout": how,
        "patient": "Group 1 is the patient, whose scans stay together.",
        "series": "Of a study's series, the one that is meant (`medssl keys data`).",
        "licence": "Who may use the data, and what to cite; both go into reports and models.",
    }
    order = (
        "title", "modality", "channels", "series", "labels", "ignore", "outlined", "regions",
        "regions_class_order", "empty_masks", "root", "layout", "patient", "licence", "citation",
    )  # fmt: skip
    keys = [(key, plain[key], reasons.get(key, "")) for key in order if plain.get(key)]
    return document(head, keys)


def _modality(spec: DataSpec, contents: Contents) -> str:
    if layout_of(spec).contents is None:
        return ""
    if contents.modality == spec.modality and contents.why:
        return f"{spec.modality}, {contents.why}."
    return "Nothing in the files tells; CT and OT are others. `preprocess` in the pipeline follows."


def summary(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> tuple[str, ...]:
    """What was found, in lines; what may be wrong begins with "warning"."""
    return (*_facts(spec, found, contents, cases), *_warnings(spec, found, contents, cases))


def _facts(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> Iterator[str]:
    layout = layout_of(spec)
    patients = len({case.patient for case in cases})
    by = f" of {patients} patients" if patients < len(cases) else ", each taken for a patient"
    channels = f", channels {', '.join(spec.channels)}" if len(spec.channels) > 1 else ""
    yield f"{spec.name}: {_count(len(cases), layout.noun)}{by}{channels}"
    if PATIENT in str(found.layout.get("images")):
        yield (
            "each folder of scans is taken for a patient, whose scans stay together; if folders "
            f"are sites or the like, write {PART} in place of {PATIENT} in the data spec"
        )
    masked = sum(map(labelled, cases))
    rule = f"; {found.rule}" if found.rule else ""
    yield f"{_have(masked)} a {layout.truth}, {_have(len(cases) - masked)} none{rule}"
    tests = sum(case.part == "test" and labelled(case) for case in cases)
    if tests:
        are = "is" if tests == 1 else "are"
        yield f"{tests} of these {layout.truth}s {are} declared for testing: scored, not learnt"
    if layout.contents is None:
        return
    why = contents.why or "as nothing in the files tells; if it is not so, correct `modality`"
    yield f"{spec.modality}, {why}"
    if spec.labels:
        names = {label.value: label.name for label in spec.labels}
        yield "labels: " + ", ".join(
            f"{value} ({names[value]}) in {_count(len(contents.values.get(value, [])), 'masks')}"
            for value in sorted(names)
        )
    if contents.spacings:
        yield _spacing(contents.spacings, is_picture(next(iter(cases[0].images.values()))))


def _count(number: int, many: str) -> str:
    """How many there are, e.g. "1 mask"."""
    return f"{number} {many.removesuffix('s') if number == 1 else many}"


def _have(number: int) -> str:
    return f"{number} {'has' if number == 1 else 'have'}"


def _spacing(spacings: Sequence[tuple[float, float, float]], pictures: bool) -> str:
    """How large voxels are, or the pixels of pictures where their files say it."""

    def said(one: tuple[float, ...]) -> str:
        return " x ".join(f"{side:.3g}" for side in one)

    sides = 2 if pictures else 3
    what, scans = ("pixels", "pictures") if pictures else ("voxels", "scans")
    rounded = {tuple(round(side, 3) for side in one[:sides]) for one in spacings}
    if rounded == {(1, 1)}:
        return "pixels of unknown size: the files do not say it"
    if len(rounded) == 1:
        return f"{what} of {said(next(iter(rounded)))} mm in all {scans}"
    low, high = (tuple(map(pick, zip(*rounded, strict=True))) for pick in (min, max))
    return f"{what} of {said(low)} to {said(high)} mm"


def _warnings(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> Iterator[str]:
    for note in found.notes:
        yield f"warning: {note}"
    yield from _faults(spec, contents)
    if layout_of(spec).contents is not None:
        yield from _lacks(spec, contents, sum(map(labelled, cases)))


def _faults(spec: DataSpec, contents: Contents) -> Iterator[str]:
    """What is wrong with files."""
    if contents.unreadable:
        yield (
            f"warning: {_count(len(contents.unreadable), 'files')} cannot be read, first: "
            f"{contents.unreadable[0]}; `medssl data check {spec.name}` names all"
        )
    if contents.off_grid:
        yield (
            f"warning: the scan's grid is not that of {_count(len(contents.off_grid), 'masks')} "
            f"({some_of(contents.off_grid)}); `medssl data check {spec.name}` says how they differ"
        )
    if contents.overlaps:
        yield f"warning: {overlapping(contents.overlaps)}"
    if contents.empty:
        yield (
            f"warning: nothing is marked in {_count(len(contents.empty), 'masks')} "
            f"({some_of(contents.empty)}): taken to say that there is nothing to find; delete "
            "those that are not drawn yet"
        )


def _lacks(spec: DataSpec, contents: Contents, masked: int) -> Iterator[str]:
    """What there is too little of."""
    if masked == 1:
        yield (
            "warning: one scan alone has a mask, so nothing can be scored; the model learns from "
            "it all the same, and correcting a few of the masks that it makes helps most"
        )
    for label in spec.labels:
        holders = contents.values.get(label.value, [])
        if masked > 1 and len(holders) == 1:
            yield (
                f"warning: the value {label.value} ({label.name}) is in the mask of {holders[0]} "
                "alone; if it is no slip, one example teaches little: mark it in a few more"
            )
    if not masked:
        yield (
            "warning: no scan has a mask, so no structure can be learnt, but an encoder can; once "
            "you have masks, e.g. masks/NAME for images/NAME, delete both files and call init again"
        )
