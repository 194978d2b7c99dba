"""DICOM studies as a PACS or TCIA exports them, with masks from DICOM-SEG or RTSTRUCT.

Each study is a case, wherever below the root its files lie. The series of each channel is chosen as
`medssl predict` does, by the keys `series` of the data spec; of several that fit, an original and
what is derived from it among them, the one is taken that a mask was drawn on. A mask is a DICOM-SEG
or RTSTRUCT that refers to the series of the first channel and has a structure that is a label: by
the names given here, else by the label's own name, else by its code. Labels that come later in the
data spec lie over earlier ones; what overlaps is told by whoever reads masks.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from medssl.atomic import write_text
from medssl.data.classes import Fault
from medssl.data.dicom.choice import Choice, UndecidedError, Wanted, choose
from medssl.data.dicom.contents import Candidate, candidates_in
from medssl.data.dicom.lists import write_segments_list, write_series_list
from medssl.data.dicom.series import Series
from medssl.data.dicom.structures import Structure, Structures, read_structures
from medssl.data.dicom.study import StudyFiles, names_of, patient_key, studies_in
from medssl.data.labels import Label
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root
from medssl.errors import DataError
from medssl.keyed import own_key
from medssl.names import some_of

_DO = "say which by `series` in the data spec, or leave the case out by `layout.leave_out`"

VERSION = 4  # of what is listed; raise it when studies that are known need another look


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segments: dict[str, tuple[str, ...]] = Field(
        default={},
        description="what structures are called that make up a label: regular expressions by the "
        "label's name, which fit the whole name of a segment or structure; capitals count as small",
    )
    masks: str | None = Field(
        default=None,
        description="regular expression in the description of the DICOM-SEG or RTSTRUCT that is "
        "meant, where studies have several",
    )
    leave_out: tuple[str, ...] = Field(
        default=(), description="names of cases that are left out; * stands for anything"
    )
    keep_ids: bool = Field(
        default=False,
        description="name cases after their folders, which may name patients; else study_KEY",
    )


@dataclass(frozen=True)
class _Found:
    """A case and what is wrong with it; `names` of structures that are no label."""

    case: Case
    fault: Fault | None = None
    names: tuple[str, ...] = ()


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """Cases by name, and the studies whose series or masks cannot be told.

    Headers are read once: what was found is kept in the cache for as long as no file changes.

    Raises:
        DataError: there are masks, and no structure in them is a label.
    """
    options = spec.layout.options(Options)
    index = cache_root() / spec.name / "dicom" / f"{_state(spec, root)}.json"
    if (known := _known(index)) is not None:
        return known
    studies = studies_in(root)
    names = names_of(studies, root, keep_ids=options.keep_ids)
    found = [
        _look(spec, options, one, name, index.parent)
        for one, name in zip(studies, names, strict=True)
        if not any(fnmatch(name, pattern) for pattern in options.leave_out)
    ]
    cases = [one.case for one in found]
    others = sorted({name for one in found for name in one.names})
    if others and not any(case.label for case in cases):
        raise DataError(
            f"no structure of the masks in {root} is a label of {spec.name}",
            f"they are called {some_of(others, 8)}",
            "say under `layout.segments` which of them a label is",
        )
    faults = [one.fault for one in found if one.fault is not None]
    _keep(index, cases, faults)
    return cases, faults


def _look(spec: DataSpec, options: Options, study: StudyFiles, name: str, folder: Path) -> _Found:
    """What one study holds."""
    case = Case(name, patient_key(study, study.files[0]), {}, session=spec.session_of(name))
    try:
        return _read(spec, options, study, case, folder)
    except UndecidedError as error:
        if not error.several:
            return _Found(case)
        return _Found(case, Fault(name, study.folder, "series", f"{error.what}: {error.why}", _DO))
    except DataError as error:
        return _Found(case, Fault(name, study.folder, "label", error.what, error.do))


def _read(spec: DataSpec, options: Options, study: StudyFiles, case: Case, folder: Path) -> _Found:
    """The images and the mask of one study."""
    candidates, name = candidates_in(study), case.id
    objects = _label_objects(candidates, options.masks)
    marking = [one for one in objects if _values(one.found, spec.labels, options.segments)]
    choice = _choose(candidates, spec, name, marking)
    images = {
        channel: write_series_list(folder, f"{name}_{channel}", one)
        for channel, one in zip(spec.channels, choice.series, strict=True)
    }
    case = replace(case, images=images, patient=patient_key(study, choice.series[0].files[0]))
    drawn = [one for one in objects if _is_on(one, choice.series[0], candidates)]
    fitting = [(one, _values(one.found, spec.labels, options.segments)) for one in drawn]
    fitting = [(one, values) for one, values in fitting if values]
    if len(fitting) > 1:
        paths = some_of([one.path.name for one, _ in fitting])
        what = f"{name} has {len(fitting)} masks of its labels: {paths}"
        do = "say which by `layout.masks`, or remove the others"
        return _Found(case, Fault(name, fitting[0][0].path, "label", what, do))
    if not fitting:
        return _Found(case, names=tuple(part.name for one in drawn for part in one.found))
    ((one, values),) = fitting
    label = write_segments_list(folder, f"{name}_mask", choice.series[0], one.path, values)
    return _Found(replace(case, label=label))


def _is_on(mask: Structures, series: Series, candidates: Sequence[Candidate]) -> bool:
    """Whether a mask was drawn on a series, and not on another examination that shares its UID."""
    shown = [one.series for one in candidates if one.series and mask.shows(one.series)]
    others = [one.slices[0].examination for one in shown]
    own = series.slices[0].examination
    return mask.is_on(series) and not (others and all(one.apart_from(own) for one in others))


def _choose(
    candidates: Sequence[Candidate], spec: DataSpec, name: str, objects: Sequence[Structures]
) -> Choice:
    """The series of each channel; of one, among those that fit, that which masks were drawn on.

    Args:
        objects: masks that mark labels.
    """
    wanted = Wanted(spec.modality, spec.channels, spec.series)
    drawn = [
        one
        for one in candidates
        if one.series is not None and any(mask.is_on(one.series) for mask in objects)
    ]
    if len(spec.channels) > 1 or not drawn:
        return choose(candidates, wanted, name)
    try:
        return choose(drawn, wanted, name)
    except UndecidedError:  # masks of other structures, on other images
        return choose(candidates, wanted, name)


def _label_objects(candidates: Sequence[Candidate], masks: str | None) -> list[Structures]:
    """The DICOM-SEG and RTSTRUCT objects of a study."""
    found = []
    for one in candidates:
        text = " ".join(one.facts.texts)
        if one.facts.modality in ("SEG", "RTSTRUCT") and (
            masks is None or re.search(masks, text, re.IGNORECASE)
        ):
            found += [read_structures(path) for path in one.paths]
    return found


def _values(
    found: Sequence[Structure], labels: Sequence[Label], named: Mapping[str, Sequence[str]]
) -> dict[int, int]:
    """The value of each structure that is a label, in the order of the labels."""
    codes = [label.code and (label.code.value, label.code.scheme) for label in labels]
    values: dict[int, int] = {}
    for label, code in zip(labels, codes, strict=True):
        if label.name in named:
            mine = [one for one in found if _fits(one.name, named[label.name])]
        else:
            mine = [one for one in found if plain_name(one.name) == plain_name(label.name)]
            if not mine and code is not None and codes.count(code) == 1:
                mine = [one for one in found if one.code == code]
        values |= {one.number: label.value for one in mine}
    return values


def _fits(name: str, expressions: Sequence[str]) -> bool:
    return any(re.fullmatch(one, name.strip(), re.IGNORECASE) for one in expressions)


def plain_name(name: str) -> str:
    """A structure's name, by which it is a label of the same name."""
    return re.sub(r"[\s_\-]+", " ", name.strip().lower())


def _state(spec: DataSpec, root: Path) -> str:
    """16 hex characters for the files below a folder, and for what is looked for in them."""
    files = [
        (path.relative_to(root).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
    how = spec.model_dump(
        mode="json", include={"channels", "labels", "series", "layout", "session"}
    )
    plain = [
        VERSION,
        own_key().name,
        str(root.absolute()),
        how,
        dict(spec.layout.model_extra or {}),
        files,
    ]
    return hashlib.sha256(json.dumps(plain, default=str).encode()).hexdigest()[:16]


def _known(index: Path) -> tuple[list[Case], list[Fault]] | None:
    """What was found before; None where it is not known, or the lists are gone."""
    try:
        plain = json.loads(index.read_bytes())
        cases = [_case(one) for one in plain["cases"]]
        faults = [Fault(**{**one, "file": Path(one["file"])}) for one in plain["faults"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    lists = [path for case in cases for path in (*case.images.values(), case.label) if path]
    return (cases, faults) if all(path.is_file() for path in lists) else None


def _case(plain: Mapping[str, Any]) -> Case:
    images = {channel: Path(path) for channel, path in plain["images"].items()}
    label = Path(plain["label"]) if plain["label"] else None
    return Case(plain["id"], plain["patient"], images, label, plain["session"])


def _keep(index: Path, cases: Sequence[Case], faults: Sequence[Fault]) -> None:
    kept = {
        "cases": [
            {
                "id": case.id,
                "patient": case.patient,
                "images": {channel: str(path) for channel, path in case.images.items()},
                "label": str(case.label) if case.label else "",
                "session": case.session,
            }
            for case in cases
        ],
        "faults": [{**vars(fault), "file": str(fault.file)} for fault in faults],
    }
    index.parent.mkdir(parents=True, exist_ok=True)
    write_text(index, json.dumps(kept))


LAYOUT = Layout(Options, listed=listed, remarks="medssl.data.dicom.remarks:without_series")
