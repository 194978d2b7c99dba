"""A folder in, a data spec and a pipeline out: `medssl init`, which looks and asks nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medssl.atomic import write_text
from medssl.data.check import labelled
from medssl.data.dimensions import are_pictures
from medssl.data.found.contents import Contents, read_contents
from medssl.data.found.folder import Found, recognise
from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases, layout_of, listed_cases
from medssl.data.show import contact_sheet
from medssl.data.spec import SPECS, Case, DataSpec, load_spec, make_spec
from medssl.environment import data_root
from medssl.errors import DataError, MedsslError, UsageError
from medssl.names import LONGEST, shown, some_of, unfit
from medssl.pipeline.config import PIPELINES
from medssl.pipeline.drafts import pipeline_draft, spec_draft, told
from medssl.pipeline.progress import Counted, QuietReporter

_ROWS = 8
"""Cases on the contact sheet."""


@dataclass(frozen=True)
class Draft:
    """What would be written for a folder.

    Attributes:
        files: text by path: the data spec and the pipeline.
        sheet: where the contact sheet goes.
        summary: what was found, in lines.
    """

    name: str
    spec: DataSpec
    cases: Sequence[Case]
    files: Mapping[Path, str]
    sheet: Path
    summary: Sequence[str]


def initialise(
    folder: Path,
    reporter: QuietReporter,
    labels: Path | None = None,
    name: str = "",
    dry_run: bool = False,
) -> str:
    """Write the data spec, the pipeline and the contact sheet of a folder; tells what was found.

    Args:
        labels: where the masks are, if they are not in the folder.
        name: of both files; by default that of the folder.
        dry_run: write nothing, and return both files.

    Raises:
        UsageError: the name cannot be used, or a file of it is there.
        DataError: the folder cannot be read, or its files not be understood. Nothing is written.
    """
    chosen = _name(folder, name)
    draft = _draft(folder, labels, chosen, reporter)
    if dry_run:
        texts = [f"# --- {path}\n{text}" for path, text in draft.files.items()]
        return "\n".join([*texts, *(f"# {line}" for line in draft.summary)])
    _refuse_written(chosen, draft.files)
    _write(draft, reporter)
    written = [*map(str, draft.files), *([str(draft.sheet)] if draft.sheet.is_file() else [])]
    return "\n".join([*draft.summary, f"wrote {', '.join(written)}", *_next(draft)])


def pipeline_of(folder: Path, reporter: QuietReporter) -> tuple[str, str]:
    """The pipeline of a folder, which is written now if there is none, and what was found then.

    Raises:
        UsageError, DataError: as `initialise`; or the data spec of that name is of another folder.
    """
    name = _name(folder, "")
    path = Path(SPECS.folder) / f"{name}.yaml"
    if not path.is_file():
        return name, initialise(folder, reporter)
    spec = load_spec(path)
    if (data_root() / Path(spec.root).expanduser()).resolve() != folder.resolve():
        raise UsageError(
            f"{path} is the data spec of another folder, {shown(spec.root)[1:-1]}",
            "data sets are called by name",
            f"give this one another: `medssl init {folder} --name OTHER`, then `medssl run OTHER`",
        )
    return name, ""


def _name(folder: Path, given: str) -> str:
    """The name of both files; one that medssl itself has gets "my_" before it."""
    if given:
        if unfit(given) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", given):
            raise UsageError(
                f"{shown(given)} cannot be a name",
                "it also names folders",
                "use letters, digits, _ and -, and begin with a letter or digit",
            )
        return given
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name)[: LONGEST // 2].strip("_-")
    if not plain or unfit(plain) or plain.endswith("_study"):
        plain = "scans"
    shipped = {
        path.stem for files in (SPECS, PIPELINES) for path in files.folders()[1].rglob("*.yaml")
    }
    return f"my_{plain}" if plain in shipped else plain


def _refuse_written(name: str, files: Mapping[Path, str]) -> None:
    there = [path for path in files if path.exists()]
    if there:
        raise UsageError(
            f"{' and '.join(map(str, there))} {'are' if len(there) > 1 else 'is'} there already",
            "nothing is overwritten",
            f"go on with `medssl run {name}`, give another --name, or delete "
            f"{' and '.join(map(str, there))} to start anew",
        )


def _draft(folder: Path, labels: Path | None, name: str, reporter: QuietReporter) -> Draft:
    found, plain = _recognised(folder, labels, name)
    spec = make_spec(plain, f"what was found in {folder}")
    cases = find_cases(spec)
    contents = Contents()
    if layout_of(spec).content == "volumes":
        reporter.note(f"reading {len(cases)} scans and their masks")
        with Counted(reporter) as counted:
            contents = read_contents(cases, counted)
        if spec.layout.kind == "dicom" and contents.modality is None:
            contents.modality, contents.why = found.modality, "as the DICOM headers say"
        plain = _completed(plain, contents, cases)
        spec = make_spec(plain, f"what was found in {folder}")
        cases = find_cases(spec)
    drafted = spec_draft(spec, plain, found, contents, cases)
    files = {
        Path(SPECS.folder) / f"{name}.yaml": drafted,
        Path(PIPELINES.folder) / f"{name}.yaml": pipeline_draft(spec, cases),
    }
    make_spec({"name": name, **yaml.safe_load(drafted)}, f"the data spec of {folder}")
    sheet = Path(f"contact_sheet_{name}.png")
    return Draft(name, spec, cases, files, sheet, told(spec, found, contents, cases))


def _recognised(folder: Path, labels: Path | None, name: str) -> tuple[Found, dict[str, Any]]:
    """What the folder is, and the keys of its data spec as far as names and lists say them."""
    common = {
        "name": name,
        "title": folder.resolve().name or name,
        "licence": "unknown",
        "citation": "unknown",
    }
    if labels is None and ((folder / "dataset.json").is_file() or (folder / "imagesTr").is_dir()):
        spec = guess_spec(folder)
        layout = spec.layout.model_dump(exclude_defaults=True)
        found = Found(layout, spec.channels, folder)
        known = {
            "labels": [{"value": one.value, "name": one.name} for one in spec.labels],
            "ignore": spec.ignore,
            "regions": {key: list(values) for key, values in spec.regions.items()},
            "regions_class_order": list(spec.regions_class_order or ()),
            "modality": "CT" if spec.modality == "CT" else None,
        }
    else:
        found = recognise(folder, labels)
        known = found.known
    plain = {
        **common,
        "modality": found.modality,
        "channels": list(found.channels) or ["scan"],
        **({"patient": found.patient} if found.patient else {}),
        "layout": found.layout,
        "root": _root(found.root),
        **{key: value for key, value in known.items() if value},
    }
    plain["modality"] = plain["modality"] or "MR"
    plain = _without_faults(plain, found)
    if not found.channels:  # the list of cases says them
        cases = find_cases(make_spec(plain, f"what was found in {folder}"))
        names = [scan.partition("#")[0] for case in cases for scan in case.images]
        plain["channels"] = list(dict.fromkeys(names)) or ["scan"]
    return found, plain


def _without_faults(plain: dict[str, Any], found: Found) -> dict[str, Any]:
    """The keys without the DICOM studies whose series or mask cannot be told."""
    if found.layout["kind"] != "dicom":
        return plain
    faults = listed_cases(make_spec(plain, f"what was found in {found.root}"))[1]
    names = sorted({fault.case for fault in faults})
    if not names:
        return plain
    found.notes.append(
        f"{len(names)} studies are left out ({some_of(names)}), first: {faults[0].what}; "
        "`series` in the data spec says which series is meant, and `layout.leave_out` names them"
    )
    return {**plain, "layout": {**plain["layout"], "leave_out": names}}


def _root(folder: Path) -> str:
    """A folder as a data spec names it: from the folder of all data sets, else in full."""
    whole, base = folder.resolve(), data_root().resolve()
    inside = whole.is_relative_to(base) and whole != base
    return whole.relative_to(base).as_posix() if inside else str(whole)


def _completed(plain: dict[str, Any], contents: Contents, cases: Sequence[Case]) -> dict[str, Any]:
    """The keys with what the files hold: modality, channels, labels."""
    if contents.modality is not None and "modality" in plain:
        plain = {**plain, "modality": contents.modality}
    if contents.channels > 1 and len(plain["channels"]) == 1:
        layout = plain["layout"]
        pictures = are_pictures(cases) and contents.channels == 3
        names = [f"channel_{index}" for index in range(contents.channels)]
        names = ["red", "green", "blue"] if pictures else names
        if layout.get("kind") == "glob":
            (pattern,) = layout["images"].values()
            layout = {**layout, "images": dict.fromkeys(names, pattern)}
        plain = {**plain, "channels": names, "layout": layout}
    if contents.colours and not plain.get("labels"):
        labels = [
            {"value": number, "name": f"label_{number}", "colour": colour}
            for number, colour in enumerate(sorted(contents.colours), start=1)
        ]
        for number, colour in enumerate(sorted(contents.colours), start=1):
            contents.values[number] = contents.colours[colour]
        plain = {**plain, "labels": labels}
    if contents.values and not plain.get("labels"):
        labels = [{"value": value, "name": f"label_{value}"} for value in sorted(contents.values)]
        plain = {**plain, "labels": labels}
    if contents.empty and contents.values:
        plain = {**plain, "empty_masks": True}
    if contents.empty and not contents.values:
        raise DataError(
            f"none of the {len(contents.empty)} masks marks a voxel",
            f"first {contents.empty[0]}",
            "draw something, or take the masks out of the folder",
        )
    return plain


def _write(draft: Draft, reporter: QuietReporter) -> None:
    """Both files, or none; the sheet where the scans can be drawn."""
    done: list[Path] = []
    try:
        for path, text in draft.files.items():
            write_text(path, text)
            done.append(path)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise
    first = sorted(draft.cases, key=lambda case: not labelled(case))[:_ROWS]
    try:
        contact_sheet(draft.spec, first, draft.sheet)
    except MedsslError as error:
        reporter.warn(f"no contact sheet was drawn: {error}")


def _next(draft: Draft) -> list[str]:
    spec, _ = draft.files
    names = [label.name for label in draft.spec.labels]
    rename = [f"name the labels in {spec}"] if any(n.startswith("label_") for n in names) else []
    look = [f"look at {draft.sheet}"] if draft.sheet.is_file() else []
    before = ", ".join([*look, *rename])
    return [f"next: {before + ', then ' if before else ''}`medssl run {draft.name}`"]
