"""One self-contained HTML page of a segmented study, for people: planes to scroll, volumes, doubt.

It names the case as its files are named, and nothing else of the patient; it asks no network.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import medssl
from medssl.atomic import write_text
from medssl.evaluate.page import render_page

_PREVIEW = re.compile(rb'id="preview" src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


@dataclass(frozen=True)
class Structure:
    """A row of the table of volumes; what is not known is a dash."""

    name: str
    colour: str
    size: float
    interval: str
    voxels: int
    unsure: str


@dataclass(frozen=True)
class Guarded:
    """What a guard says of the scan.

    Attributes:
        scores: of each thing that is measured.
        rate: share of scans like those of training that are beyond the limit.
        most: what that share does not pass with 95 % certainty.
    """

    scores: Sequence[tuple[str, float]]
    limit: float
    rate: float
    most: float


@dataclass(frozen=True)
class StudyPage:
    """What a page says.

    Attributes:
        model: what segmented, in words.
        warnings: sentences that come first.
        card: facts about the model, by name.
        doubt: 0 to 1.
        unit: of sizes: ml, or of pictures mm2 or pixels.
        members: networks of the model.
        left_out: cases of a cross-validation that the intervals are of, at most; 0: none.
        tested: whether there was a cross-validation.
        unguarded: why nothing is known where there is no `guard`.
        study: of `medssl.evaluate.study_volume.packed`.
        preview: PNG.
    """

    case: str
    model: str
    warnings: Sequence[str]
    volumes: Sequence[Structure]
    card: Sequence[tuple[str, str]]
    doubt: float
    unit: str
    members: int
    left_out: int
    tested: bool
    guard: Guarded | None
    unguarded: str
    study: Mapping[str, Any]
    preview: bytes


def write_study_page(path: Path, page: StudyPage) -> None:
    """Write the page, atomically."""
    from markupsafe import Markup

    script = files("medssl.evaluate").joinpath("viewer.js").read_text(encoding="utf-8")
    plain = json.dumps(page.study).replace("<", "\\u003c")
    values = {
        **{name: getattr(page, name) for name in StudyPage.__dataclass_fields__},
        "guard": asdict(page.guard) if page.guard else None,
        "study": Markup(plain),  # noqa: S704 - no "<" is left in it
        "script": Markup(script),  # noqa: S704 - ours
        "reduced": _reduced(page.study["reduced"]),
        "version": medssl.__version__,
    }
    write_text(path, render_page("study.html.j2", values))


def preview_of(path: Path) -> bytes:
    """The picture, PNG, in a page that `write_study_page` wrote."""
    found = _PREVIEW.search(path.read_bytes())
    return base64.b64decode(found[1]) if found else b""


def _reduced(factors: Sequence[int]) -> str:
    """What was averaged, in words; empty where every voxel is shown."""
    if max(factors) == 1:
        return ""
    return f"{' x '.join(map(str, factors))} voxels as one"
