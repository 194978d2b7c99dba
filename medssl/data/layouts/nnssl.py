"""nnssl's collections: pretrain_data.json, which nests datasets, subjects, sessions and images.

A case is a session. Its images are named by their modality. Ids of subjects count within their
dataset only, so a patient is named by both. Paths may start with an environment variable
(`$nnssl_raw/...`); relative ones start in the data set's folder. Masks of anonymisation or anatomy
are accepted and not used.

Source: the dataclasses of nnssl's `raw_dataset`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from medssl.data.layout import Layout
from medssl.data.listing import parsed, read_listing
from medssl.data.scan.contrasts import name_scans
from medssl.data.spec import Case, DataSpec
from medssl.environment import listed_path
from medssl.names import has_control

UNKNOWN = "scan"
"""Contrast of an image without a modality."""


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        default="pretrain_data.json", description="nnssl's collection, in the data set's folder"
    )


def _printable(name: str) -> str:
    if has_control(name):
        raise ValueError("it has a control character")
    return name


class Image(BaseModel):
    """One scan; what else is told about it is not used."""

    image_path: str
    modality: Annotated[str, AfterValidator(_printable)] | None = None


class Session(BaseModel):
    """The scans of one date."""

    images: list[Image]


class Subject(BaseModel):
    """One patient's sessions by id."""

    sessions: dict[str, Session]


class Dataset(BaseModel):
    """One study's subjects by id."""

    subjects: dict[str, Subject]


class Collection(BaseModel):
    """The whole file."""

    datasets: dict[str, Dataset]


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """A case per session, in the order of the file."""
    path = root / spec.layout.options(Options).file
    do = "write it with nnssl's Collection.to_dict()"
    collection = parsed(Collection, read_listing(path), f"{path} as a collection of nnssl", do)
    return [
        _case(spec, root, ids, session)
        for dataset, content in collection.datasets.items()
        for subject, sessions in content.subjects.items()
        for ids, session in _sessions(dataset, subject, sessions)
    ]


def _sessions(
    dataset: str, subject: str, content: Subject
) -> Iterator[tuple[tuple[str, str, str], Session]]:
    for session, images in content.sessions.items():
        yield (dataset, subject, session), images


def _case(spec: DataSpec, root: Path, ids: tuple[str, str, str], session: Session) -> Case:
    name = "_".join(re.sub(r"[^A-Za-z0-9.-]", "-", part) for part in ids)
    found = [
        (image.modality or UNKNOWN, root / listed_path(image.image_path))
        for image in session.images
    ]
    return Case(
        id=name,
        patient=spec.patient_of(name) if spec.patient else "_".join(name.split("_")[:2]),
        images=name_scans(spec, found),
        session=spec.session_of(name) or ids[2],
    )


LAYOUT = Layout(Options, cases, sessions=True)
