"""Plain patterns with {case}: `t1: "{case}/t1.nii.gz"`, `label: "masks/{case}_seg.nii.gz"`.

`*` and `?` stand for any part of a file or folder name; {case} may stand more than once. A file
that fits the label's pattern is no image, so that `{case}.nii.gz` and `{case}_seg.nii.gz` agree.
Hidden files, and what lies in hidden folders, are passed over.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.files import matching
from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError, UsageError
from medssl.names import shown


class Options(BaseModel):
    """Keys of this layout: a pattern per channel and one for the label."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: dict[str, str] = Field(
        description="pattern of each channel, with {case} where the case's name stands"
    )
    label: str | None = Field(
        default=None, description="pattern of the masks; null: there are none"
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """Cases by name."""
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
    names = set(labels).union(*files.values())
    return [
        Case(
            id=name,
            patient=spec.patient_of(name),
            images={channel: found[name] for channel, found in files.items() if name in found},
            label=labels.get(name),
            session=spec.session_of(name),
        )
        for name in sorted(names)
    ]


def _matches(root: Path, pattern: str, apart: set[Path]) -> dict[str, Path]:
    """Files that fit `pattern`, by case, but for those in `apart`."""
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
    expression = re.compile(_expression(pattern))
    found: dict[str, Path] = {}
    for path in matching(root, pattern.replace("{case}", "*")):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match is None or path in apart:
            continue
        name = match.group("case")
        if name in found:
            raise DataError(
                f"{path} and {found[name]} both fit '{pattern}' for case {name}",
                do="make the pattern narrower",
            )
        found[name] = path
    return found


def _expression(pattern: str) -> str:
    """The pattern as a regular expression; a second {case} repeats the first."""
    parts = re.split(r"(\{case\}|\*|\?)", pattern)
    meaning = {"*": "[^/]*", "?": "[^/]"}
    text, named = "", False
    for part in parts:
        if part == "{case}":
            text += "(?P=case)" if named else "(?P<case>[^/]+?)"
            named = True
        else:
            text += meaning.get(part, re.escape(part))
    return text


LAYOUT = Layout(Options, cases)
