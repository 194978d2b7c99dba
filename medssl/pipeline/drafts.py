"""What `medssl init` says of a folder: the two files with their reasons, and a summary."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from medssl.data.check import labelled
from medssl.data.dimensions import are_pictures
from medssl.data.found.contents import Contents
from medssl.data.found.folder import Found
from medssl.data.layouts import layout_of
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError
from medssl.names import some_of
from medssl.pipeline.texts import document

_FOLDS = 5


def spec_draft(
    spec: DataSpec, plain: dict[str, Any], found: Found, contents: Contents, cases: Sequence[Case]
) -> str:
    """The data spec."""
    masked = sum(map(labelled, cases))
    head = [
        "What the data set is. Written by `medssl init`; correct what is wrong, and check it with",
        f"`medssl data check {spec.name}`. `medssl keys data` has every key.",
    ]
    named = [label.name.startswith("label_") for label in spec.labels]
    how = f"{found.rule}: {masked} of {len(cases)} scans have a mask." if found.rule else ""
    reasons = {
        "modality": _modality(spec, contents),
        "labels": "Values of the masks; rename them, they are in reports and file names."
        if any(named)
        else "Structures of the masks, by their names; a later one lies over an earlier one."
        if spec.layout.kind == "dicom"
        else "",
        "empty_masks": f"{len(contents.empty)} masks mark nothing ({some_of(contents.empty)}): "
        "taken to say that there is nothing to find.\nDelete those that are not drawn yet.",
        "root": "Relative to MEDSSL_DATA." if not spec.root.startswith("/") else "",
        "layout": how,
        "patient": "Group 1 is the patient, whose scans stay together.",
        "series": "Of a study's series, the one that is meant (`medssl keys data`).",
        "licence": "Who may use the data, and what to cite; both go into reports and models.",
    }
    order = (
        "title", "modality", "channels", "series", "labels", "ignore", "regions", "empty_masks",
        "root", "layout", "patient", "licence", "citation",
    )  # fmt: skip
    keys = [(key, plain[key], reasons.get(key, "")) for key in order if plain.get(key)]
    return document(head, keys)


def _modality(spec: DataSpec, contents: Contents) -> str:
    if layout_of(spec).content != "volumes":
        return ""
    if contents.modality == spec.modality and contents.why:
        return f"{spec.modality}, {contents.why}."
    return "Nothing in the files tells; CT and OT are others. `preprocess` in the pipeline follows."


def pipeline_draft(spec: DataSpec, cases: Sequence[Case]) -> str:
    """The pipeline."""
    content = layout_of(spec).content
    head = [
        "What to do with the data. Written by `medssl init`; what is not said here has its",
        "default, and `medssl keys` has every key.",
    ]
    keys: list[tuple[str, Any, str]] = [("title", spec.title, ""), ("data", spec.name, "")]
    if content == "volumes" and are_pictures(cases):
        keys += _pictures(spec, cases)
    elif content == "volumes":
        masked = sum(map(labelled, cases))
        patients = len({case.patient for case in cases if labelled(case)})
        keys += _segment(spec, masked, len(cases) - masked, patients) if masked else _encoder(spec)
    elif content == "slides":
        keys = [
            ("extends", "slides", "Every key that is not here is that of this pipeline."),
            *keys,
        ]
        keys += [("split", _folds(cases), "Each slide is called by a model that has not seen it.")]
    else:
        keys += _grades(spec, cases)
    return document(head, keys)


def _segment(spec: DataSpec, masked: int, rest: int, patients: int) -> list[tuple[str, Any, str]]:
    word = "ct" if spec.modality == "CT" else "mr"
    chain = "Hounsfield units, in a window" if word == "ct" else "each scan by itself"
    few = f"the {masked} masks and from the {rest} scans without"
    return [
        (
            "plan",
            "auto",
            "Voxels, patch, batch, network and steps follow from the scans and the device, before\n"
            f"the first run; `medssl plan {spec.name}` shows them. A key that is set here wins.",
        ),
        ("preprocess", word, f"Intensities: {chain} (`medssl keys preprocess.{word}`)."),
        (
            "method",
            "tracoco" if rest else "supervised",
            f"Learns from {few}; `supervised` is the baseline."
            if rest
            else "Every scan has a mask.",
        ),
        *(_folded(masked, patients) if patients > 1 else []),
        ("predict", {"unlabelled": True}, "Every scan without a mask gets one."),
    ]


def _pictures(spec: DataSpec, cases: Sequence[Case]) -> list[tuple[str, Any, str]]:
    """2-D images: what is said of volumes, but for intensities."""
    masked = sum(map(labelled, cases))
    if not masked:
        raise DataError(
            f"none of the {len(cases)} pictures of {spec.name} has a mask",
            "encoders are pre-trained on volumes alone",
            "draw a few masks, e.g. masks/NAME.png for images/NAME.png",
        )
    patients = len({case.patient for case in cases if labelled(case)})
    grey = "ultrasound" if spec.modality == "US" else "radiograph"
    word = "rgb" if len(spec.channels) == 3 else grey
    return [
        (key, word, f"Intensities (`medssl keys preprocess.{word}`).")
        if key == "preprocess"
        else (key, value, why)
        for key, value, why in _segment(spec, masked, len(cases) - masked, patients)
    ]


def _folded(masked: int, patients: int) -> list[tuple[str, Any, str]]:
    """Scores without a mask held back from the model."""
    folds = min(_FOLDS, patients)
    why = (
        f"{folds} further trainings, each without some of the masks, which score it; the model "
        f"learns\nfrom all {masked}. `folds: 0` saves the time, and nothing is scored then."
    )
    return [("split", {"folds": _FOLDS}, why)]


def _encoder(spec: DataSpec) -> list[tuple[str, Any, str]]:
    word = "ct" if spec.modality == "CT" else "mr"
    return [
        ("preprocess", word, "Intensities."),
        (
            "method",
            "masked_image_modelling",
            "No scan has a mask: what can be learnt is an encoder, for pipelines to start from.",
        ),
        ("probe", {"patients": 0}, "Patients kept apart to ask the encoder what it knows."),
    ]


def _grades(spec: DataSpec, cases: Sequence[Case]) -> list[tuple[str, Any, str]]:
    parts = {case.part for case in cases if labelled(case)}
    split: dict[str, Any] = {"labels": None}
    if "validation" in parts:
        split["validation"] = None
    graded = sum(map(labelled, cases))
    folds = list[tuple[str, Any, str]]()
    teaches = "All grades teach; `labels: 10` takes ten of each."
    if "test" not in parts:
        split = {"validation": 0, **split, "test": 0, "folds": _FOLDS}
        teaches += (
            f"\n{_FOLDS} further trainings, each without some of the grades, which score it; "
            "`folds: 0, test: 0.2`\nkeeps a fifth of the patients for that instead."
        )
        if split["validation"] == 0:
            folds = [("predict", {"checkpoint": "last"}, "No image is kept back to choose by.")]
    method = "semixup" if graded < len(cases) else "supervised_mixup"
    two = len((spec.layout.model_extra or {}).get("classes", ())) == 2
    disease = [("evaluate", {"disease_from": 1}, "The second class is the disease.")]
    return [
        *(disease if two else []),
        ("split", split, teaches),
        ("preprocess", {"radiograph": {"field": None}}, "The whole image; `joint` is for knees."),
        ("method", method, f"{graded} of {len(cases)} images have a grade."),
        *folds,
    ]


def _folds(cases: Sequence[Case]) -> dict[str, Any]:
    """As many folds as the smallest class allows, with a validation part where there is room."""
    patients = {(case.extra.get("class"), case.patient) for case in cases if labelled(case)}
    least = min(Counter(label for label, _ in patients).values(), default=0)
    folds = min(_FOLDS, least)
    enough = folds >= 2 and least >= 2 * folds
    return {"folds": folds if folds >= 2 else 0, "validation": 0.2 if enough else 0}


def told(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> tuple[str, ...]:
    """What was found, in lines; what may be wrong begins with "warning"."""
    return (*_facts(spec, found, contents, cases), *_warnings(spec, found, contents, cases))


def _facts(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> Iterator[str]:
    what = {"volumes": "scans", "slides": "slides"}.get(layout_of(spec).content, "images")
    patients = len({case.patient for case in cases})
    by = f" of {patients} patients" if patients < len(cases) else ", each taken for a patient"
    channels = f", channels {', '.join(spec.channels)}" if len(spec.channels) > 1 else ""
    yield f"{spec.name}: {len(cases)} {what}{by}{channels}"
    masked = sum(map(labelled, cases))
    if what != "scans":
        yield f"{masked} have a label, {len(cases) - masked} have none"
        return
    rule = f"; {found.rule}" if found.rule else ""
    yield f"{masked} have a mask, {len(cases) - masked} have none{rule}"
    why = contents.why or "as nothing in the files tells; if it is not so, correct `modality`"
    yield f"{spec.modality}, {why}"
    if spec.labels:
        names = {label.value: label.name for label in spec.labels}
        yield "labels: " + ", ".join(
            f"{value} ({names[value]}) in {len(contents.values.get(value, []))} masks"
            for value in sorted(names)
        )
    if contents.spacings:
        yield _spacing(contents.spacings)


def _spacing(spacings: Sequence[tuple[float, float, float]]) -> str:
    def said(one: tuple[float, ...]) -> str:
        return " x ".join(f"{side:.3g}" for side in one)

    rounded = {tuple(round(side, 3) for side in one) for one in spacings}
    if len(rounded) == 1:
        return f"voxels of {said(next(iter(rounded)))} mm in all scans"
    low, high = (tuple(map(pick, zip(*rounded, strict=True))) for pick in (min, max))
    return f"voxels of {said(low)} to {said(high)} mm"


def _warnings(
    spec: DataSpec, found: Found, contents: Contents, cases: Sequence[Case]
) -> Iterator[str]:
    masked = sum(map(labelled, cases))
    for note in found.notes:
        yield f"warning: {note}"
    if contents.unreadable:
        yield (
            f"warning: {len(contents.unreadable)} files cannot be read, first: "
            f"{contents.unreadable[0]}; `medssl data check {spec.name}` names all"
        )
    if contents.off_grid:
        yield (
            f"warning: {len(contents.off_grid)} masks do not lie on the grid of their scan "
            f"({some_of(contents.off_grid)}); `medssl data check {spec.name}` says how they differ"
        )
    if contents.empty:
        yield (
            f"warning: {len(contents.empty)} masks mark nothing ({some_of(contents.empty)}) and "
            "are taken to say that there is nothing to find; delete those that are not drawn yet"
        )
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
    if layout_of(spec).content == "volumes" and not masked:
        yield (
            "warning: no scan has a mask, so no structure can be learnt, but an encoder can; once "
            "you have masks, e.g. masks/NAME for images/NAME, delete both files and call init again"
        )
