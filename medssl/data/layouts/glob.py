"""Plain patterns with {case}: `t1: "{case}/t1.nii.gz"`, `label: "masks/{case}_seg.nii.gz"`.

`*` and `?` stand for any part of a file or folder name; {case} may stand more than once. Where
{patient} stands too, it names the patient, and the case by both: `{patient}/scan_{case}.nii.gz`.
{part} stands for train, val, test or the like, or for a site: `{part}/images/{case}.nii.gz`; what
is called test and has a mask is the test set, all else is for training. A pattern that ends in /
fits folders, of DICOM series. A file that fits the label's pattern is no image, so that
`{case}.nii.gz` and `{case}_seg.nii.gz` agree. Hidden files, and what lies in hidden folders, are
passed over.

{label} in the label's pattern stands for the name of each label, where masks are a file for each
structure: `{case}/segmentations/{label}.nii.gz`. They are joined where they are read, labels that
come later in the data spec over earlier ones; files of other structures are passed over. A case
that has some of them must have all, or those that `outlined` names for it. A file called mask in
that place, `{case}/segmentations/mask.nii.gz`, holds all labels and goes before the others.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.classes import Fault
from medssl.data.files import matching
from medssl.data.found.words import TESTS, words_of
from medssl.data.joined import Part, write_joined
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.environment import cache_root
from medssl.errors import DataError, UsageError
from medssl.names import composed, shown, some_of, unfit

_PLACES = re.compile(r"\{(?:case|patient|part|label)\}")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

CASE, PATIENT, PART, LABEL = "{case}", "{patient}", "{part}", "{label}"
"""Places in patterns."""

WHOLE = "mask"
"""What stands in the place of a structure's name where a mask holds all labels."""


class _Key(NamedTuple):
    """What names a case; the first two are empty where the pattern has no place for them."""

    part: str
    patient: str
    case: str

    @property
    def name(self) -> str:
        """Of the case."""
        return "_".join(filter(None, self))


class Options(BaseModel):
    """Keys of this layout: a pattern per channel and one for the label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, str] = Field(
        description="pattern of each channel, with {case} where the case's name stands, {patient} "
        "where the patient's does, and {part} where train, val or test does; ending in / for "
        "folders of DICOM series"
    )
    label: str | None = Field(
        default=None,
        description="pattern of the masks, with {label} where the label's name stands if each "
        "structure has a file of its own; null: there are none",
    )


def listed(spec: DataSpec, root: Path) -> tuple[list[Case], list[Fault]]:
    """The cases whose files fit the patterns, sorted by name, and those that lack structures."""
    options = spec.layout.options(Options)
    if set(options.images) != set(spec.channels):
        raise UsageError(
            f"the data spec {spec.name} has patterns for {', '.join(options.images)}",
            f"its channels are {', '.join(spec.channels)}",
            "give one pattern per channel",
        )
    masks = _masks(spec, root, options.label) if options.label else {}
    apart = {path for found in masks.values() for path in found.values()}
    files = {
        channel: _images(root, options.images[channel], apart, options.label or "")
        for channel in spec.channels
    }
    labels = {key: label for key, found in masks.items() if (label := _label(spec, key, found))}
    cases = [
        _case(spec, key, {name: found[key] for name, found in files.items() if key in found}, mask)
        for key in sorted(set(labels).union(*files.values()))
        for mask in [labels.get(key)]
    ]
    return cases, [fault for key in sorted(masks) for fault in _faults(spec, key.name, masks[key])]


def _case(spec: DataSpec, key: _Key, images: dict[str, Path], label: Path | None) -> Case:
    patient = key.patient or (spec.patient_of(key.case) if spec.patient else key.name)
    tests = label is not None and bool(TESTS.intersection(words_of(key.part)))
    session = spec.session_of(key.name)
    return Case(key.name, patient, images, label, session, "test" if tests else None)


def _masks(spec: DataSpec, root: Path, pattern: str) -> dict[_Key, dict[str, Path]]:
    """The masks of each case by the name of the structure; of a file for all of them, WHOLE."""
    names = {composed(label.name): label.name for label in spec.labels}
    masks: dict[_Key, dict[str, Path]] = defaultdict(dict)
    for (key, name), path in _matches(root, pattern, set(), {LABEL: [*names, WHOLE]}).items():
        masks[key][names.get(name, WHOLE)] = path
    return masks


def _images(root: Path, pattern: str, apart: set[Path], masks: str) -> dict[_Key, Path]:
    """Images by case, without what fits the pattern of the masks as a structure of another."""
    found = {key: path for (key, _), path in _matches(root, pattern, apart, {}).items()}
    if LABEL not in masks or not found:
        return found
    fitting = re.compile(_expression(masks.rstrip("/"), {CASE: [key.case for key in found]}))

    def own(key: _Key, path: Path) -> bool:
        match = fitting.fullmatch(path.relative_to(root).as_posix())
        return match is None or match["case"] == key.case

    return {key: path for key, path in found.items() if own(key, path)}


def _label(spec: DataSpec, key: _Key, masks: Mapping[str, Path]) -> Path | None:
    """The mask of a case: a file, or what names those of its structures."""
    if WHOLE in masks:
        return masks[WHOLE]
    parts = [
        Part(label.name, label.value, masks[label.name])
        for label in spec.labels
        if label.name in masks
    ]
    if unfit(key.name):  # such a case is left out and told
        return None
    return write_joined(cache_root() / spec.name / "joined", key.name, parts)


def _faults(spec: DataSpec, case: str, masks: Mapping[str, Path]) -> Iterator[Fault]:
    """What a case has more or less than the structures that it is said to outline."""
    outlined = spec.outlined_in(case)
    if WHOLE in masks or (spec.regions and outlined is not None):
        return
    wanted = [label.name for label in spec.labels] if outlined is None else spec.structures_in(case)
    missing = [name for name in wanted if name not in masks]
    beyond = [name for name in masks if name not in wanted]
    file = next(iter(masks.values()))
    if missing:
        yield Fault(
            case,
            file,
            "label",
            f"case {case} has the mask {file} and none of {some_of(missing)}",
            "add it, without a voxel if there is none, or say what the case outlines by `outlined` "
            "in the data spec",
        )
    if beyond:
        yield Fault(
            case,
            file,
            "label",
            f"case {case} has a mask of {some_of(beyond)}, which `outlined` does not name for it",
            "name it there, or move the file away",
        )


def _matches(
    root: Path, pattern: str, apart: set[Path], known: Mapping[str, Sequence[str]]
) -> dict[tuple[_Key, str], Path]:
    """Files that fit `pattern` but for those in `apart`, by what names their case and structure.

    Args:
        known: what may stand in a place, e.g. in {label}.
    """
    if CASE not in pattern:
        raise UsageError(
            f"the pattern {shown(pattern)} lacks {{case}}", do="mark where the name stands"
        )
    if "**" in pattern:
        raise UsageError(
            f"the pattern {shown(pattern)} cannot be used",
            "`*` stands within one name",
            "write for example */{case}/t1.nii.gz",
        )
    folders, pattern = pattern.endswith("/"), composed(pattern.rstrip("/"))
    expression = re.compile(_expression(pattern, known))
    roughly = _NOT_ASCII.sub("*", _PLACES.sub("*", pattern))  # accents may stand apart on the disk
    found: dict[tuple[_Key, str], Path] = {}
    for path in matching(root, re.sub(r"\*+", "*", roughly)):
        match = expression.fullmatch(composed(path.relative_to(root).as_posix()))
        if match is None or path in apart or (folders and not path.is_dir()):
            continue
        places = match.groupdict()
        structure = places.pop("label", "")
        name = _Key(**{"part": "", "patient": "", **places}), structure
        if name in found:
            raise DataError(
                f"{path} and {found[name]} both fit '{pattern}' for case {name[0].case}",
                do="make the pattern narrower",
            )
        found[name] = path
    return found


def _expression(pattern: str, known: Mapping[str, Sequence[str]]) -> str:
    """The pattern as a regular expression; what stands a second time repeats the first."""
    parts = re.split(r"(\{case\}|\{patient\}|\{part\}|\{label\}|\*|\?)", pattern)
    meaning = {"*": "[^/]*", "?": "[^/]"}
    text, named = "", set()
    for part in parts:
        if _PLACES.fullmatch(part):
            name = part[1:-1]
            fitting = "|".join(map(re.escape, known.get(part, ()))) or "[^/]+?"
            text += f"(?P={name})" if name in named else f"(?P<{name}>{fitting})"
            named.add(name)
        else:
            text += meaning.get(part, re.escape(part))
    return text


LAYOUT = Layout(Options, listed=listed)
