"""A folder in, a data spec and a pipeline out: `medssl init`, which looks and asks nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from medssl.atomic import write_text
from medssl.data.check import labelled
from medssl.data.found.spec import SpecDraft, draft_spec
from medssl.data.show import contact_sheet
from medssl.data.spec import SPECS, load_spec
from medssl.environment import data_root
from medssl.errors import MedsslError, UsageError
from medssl.named_files import PIPELINES
from medssl.names import LONGEST, shown, unfit
from medssl.pipeline.drafts import pipeline_draft
from medssl.pipeline.progress import Counted, QuietReporter

_ROWS = 8
"""Cases on the contact sheet."""


@dataclass(frozen=True)
class Draft:
    """What would be written for a folder.

    Attributes:
        found: the data spec, and what was found.
        files: text by path: the data spec and the pipeline.
        sheet: where the contact sheet goes.
    """

    name: str
    found: SpecDraft
    files: Mapping[Path, str]
    sheet: Path


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
        return "\n".join([*texts, *(f"# {line}" for line in draft.found.summary)])
    _refuse_written(chosen, draft.files)
    _write(draft, reporter)
    written = [*map(str, draft.files), *([str(draft.sheet)] if draft.sheet.is_file() else [])]
    return "\n".join([*draft.found.summary, f"wrote {', '.join(written)}", *_next(draft)])


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
    with Counted(reporter) as counted:
        found = draft_spec(folder, labels, name, reporter.note, counted)
    files = {
        Path(SPECS.folder) / f"{name}.yaml": found.text,
        Path(PIPELINES.folder) / f"{name}.yaml": pipeline_draft(found.spec, found.cases),
    }
    return Draft(name, found, files, _free(Path(f"contact_sheet_{name}.png")))


def _free(path: Path) -> Path:
    """A path where nothing is yet: the given one, or with the first number that makes it free."""
    numbered = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


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
    first = sorted(draft.found.cases, key=lambda case: not labelled(case))[:_ROWS]
    try:
        contact_sheet(draft.found.spec, first, draft.sheet)
    except MedsslError as error:
        reporter.warn(f"no contact sheet was drawn: {error}")


def _next(draft: Draft) -> list[str]:
    spec, _ = draft.files
    names = [label.name for label in draft.found.spec.labels]
    rename = [f"name the labels in {spec}"] if any(n.startswith("label_") for n in names) else []
    look = [f"look at {draft.sheet}"] if draft.sheet.is_file() else []
    before = ", ".join([*look, *rename])
    return [f"next: {before + ', then ' if before else ''}`medssl run {draft.name}`"]
