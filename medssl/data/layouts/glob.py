"""Plain patterns with {case}: `t1: "{case}/t1.nii.gz"`, `label: "masks/{case}_seg.nii.gz"`.

`*` and `?` stand for any part of a file or folder name; {case} may stand more than once. Where
{patient} stands too, it names the patient, and the case by both: `{patient}/scan_{case}.nii.gz`.
{part} stands for train, val, test or the like: `{part}/images/{case}.nii.gz`; what is called test
and has a mask is the test set, all else is for training. A pattern that ends in / fits folders, of
DICOM series. A file that fits the label's pattern is no image, so that `{case}.nii.gz` and
`{case}_seg.nii.gz` agree. Hidden files, and what lies in hidden folders, are passed over.
"""

import re
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.files import matching
from medssl.data.found.words import TESTS, words_of
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError, UsageError
from medssl.names import shown

_PLACES = re.compile(r"\{(?:case|patient|part)\}")


class _Key(NamedTuple):
    """What names a case; the first two are empty where the pattern has no place for them."""

    part: str
    patient: str
    case: str


class Options(BaseModel):
    """Keys of this layout: a pattern per channel and one for the label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, str] = Field(
        description="pattern of each channel, with {case} where the case's name stands, {patient} "
        "where the patient's does, and {part} where train, val or test does; ending in / for "
        "folders of DICOM series"
    )
    label: str | None = Field(
        default=None, description="pattern of the masks; null: there are none"
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """The cases whose files fit the patterns, sorted by name."""
    options = spec.layout.options(Options)
    if set(options.images) != set(spec.channels):
        raise UsageError(
            f"the data spec {spec.name} has patterns for {', '.join(options.images)}",
            f"its channels are {', '.join(spec.channels)}",
            "give one pattern per channel",
        )
    labels = _matches(root, options.label, set()) if options.label else {}
    masks = set(labels.values())
    files = {channel: _matches(root, options.images[channel], masks) for channel in spec.channels}
    keys = set(labels).union(*files.values())
    return [
        _case(spec, key, {name: found[key] for name, found in files.items() if key in found}, mask)
        for key in sorted(keys)
        for mask in [labels.get(key)]
    ]


def _case(spec: DataSpec, key: _Key, images: dict[str, Path], label: Path | None) -> Case:
    name = "_".join(filter(None, key))
    patient = key.patient or (spec.patient_of(key.case) if spec.patient else name)
    tests = label is not None and bool(TESTS.intersection(words_of(key.part)))
    session = spec.session_of(name)
    return Case(name, patient, images, label, session, "test" if tests else None)


def _matches(root: Path, pattern: str, apart: set[Path]) -> dict[_Key, Path]:
    """Files that fit `pattern`, by what names their case, but for those in `apart`."""
    if "{case}" not in pattern:
        raise UsageError(
            f"the pattern {shown(pattern)} lacks {{case}}", do="mark where the name stands"
        )
    if "**" in pattern:
        raise UsageError(
            f"the pattern {shown(pattern)} cannot be used",
            "`*` stands within one name",
            "write for example */{case}/t1.nii.gz",
        )
    folders, pattern = pattern.endswith("/"), pattern.rstrip("/")
    expression = re.compile(_expression(pattern))
    found: dict[_Key, Path] = {}
    for path in matching(root, _PLACES.sub("*", pattern)):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match is None or path in apart or (folders and not path.is_dir()):
            continue
        name = _Key(**{"part": "", "patient": "", **match.groupdict()})
        if name in found:
            raise DataError(
                f"{path} and {found[name]} both fit '{pattern}' for case {name.case}",
                do="make the pattern narrower",
            )
        found[name] = path
    return found


def _expression(pattern: str) -> str:
    """The pattern as a regular expression; what stands a second time repeats the first."""
    parts = re.split(r"(\{case\}|\{patient\}|\{part\}|\*|\?)", pattern)
    meaning = {"*": "[^/]*", "?": "[^/]"}
    text, named = "", set()
    for part in parts:
        if _PLACES.fullmatch(part):
            name = part[1:-1]
            text += f"(?P={name})" if name in named else f"(?P<{name}>[^/]+?)"
            named.add(name)
        else:
            text += meaning.get(part, re.escape(part))
    return text


LAYOUT = Layout(Options, cases)
