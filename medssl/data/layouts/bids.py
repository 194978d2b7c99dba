"""BIDS folders: sub-X/[ses-Y/]anat/sub-X[_ses-Y][_key-value...]_SUFFIX.nii.gz.

A case is a session. Its scans are named by their suffix (T1w, FLAIR, ...); a contrast agent makes
another contrast, so that `_ce-gd_T1w` is named "ce-gd_T1w". Runs, acquisitions and the like of one
contrast are further scans of it. Masks and segmentations, and the phase, real and imaginary parts
of complex images, are no scans.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from medssl.data.files import images_in, visible
from medssl.data.layout import Layout
from medssl.data.scan.contrasts import name_scans
from medssl.data.spec import Case, DataSpec

NO_SCANS = frozenset({"mask", "defacemask", "dseg", "probseg"})


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[str, ...] = Field(default=("anat",), description="of a session: anat, pet, ...")
    space: str | None = Field(
        default=None,
        description="only files with `_space-` this, as derivatives have; null: only without",
    )


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """A case per session with a scan, by name."""
    options = spec.layout.options(Options)
    found = []
    for subject in _folders(root, "sub-"):
        for session in [None, *_folders(subject, "ses-")]:
            scans = list(_scans(session or subject, options))
            if not scans:
                continue
            name = subject.name if session is None else f"{subject.name}_{session.name}"
            own = "" if session is None else session.name
            found.append(
                Case(
                    id=name,
                    patient=spec.patient_of(name) if spec.patient else subject.name,
                    images=name_scans(spec, scans),
                    session=spec.session_of(name) or own,
                )
            )
    return found


def _folders(parent: Path, start: str) -> list[Path]:
    return [path for path in visible(parent) if path.name.startswith(start) and path.is_dir()]


def _scans(session: Path, options: Options) -> Iterator[tuple[str, Path]]:
    """Contrast and file of each scan, by file name."""
    for folder in options.folders:
        for name, path in images_in(session / folder).items():
            *pairs, suffix = name.split("_")
            entities = dict(pair.partition("-")[::2] for pair in pairs)
            if "sub" not in entities or suffix in NO_SCANS or not suffix:
                continue
            if entities.get("space") == options.space and entities.get("part", "mag") == "mag":
                agent = entities.get("ce")
                yield (f"ce-{agent}_{suffix}" if agent else suffix), path


LAYOUT = Layout(Options, cases, sessions=True)
