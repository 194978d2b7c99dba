"""What 3D Slicer and OHIF ask a MONAI Label server: its model, and a mask of an image.

An image is a file of the request, a session that holds one, or `image`, the SeriesInstanceUID of a
series that came by DICOMweb. The mask comes back at once; nothing of it is kept.
"""

import asyncio
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

import medssl
from medssl.errors import MedsslError
from medssl.serve.answer import Wanted, answer
from medssl.serve.instances import is_uid
from medssl.serve.journal import Journal
from medssl.serve.parts import Part, boundary_of, receive_parts
from medssl.serve.sessions import Sessions, image_from
from medssl.serve.store import no_room
from medssl.serve.worker import Busy, Worker, plain

FORM = "multipart/form-data"


def model_name(found: Any) -> str:
    """What the model of a checkpoint is called in addresses."""
    return re.sub(r"[^a-z0-9]+", "_", found.data.name.lower()).strip("_") or "model"


def monai_label_routes(journal: Journal, worker: Worker, found: Any) -> APIRouter:
    """GET /info/, PUT /session/, POST /infer/{model}.

    Args:
        found: what the checkpoint says of itself.
    """
    router, sessions, name = APIRouter(), Sessions(journal), model_name(found)

    @router.get("/info/")
    def info() -> dict[str, Any]:
        return _info(found)

    @router.put("/session/")
    async def open_session(request: Request) -> dict[str, Any]:
        place = await run_in_threadpool(journal.place, "incoming")
        try:
            parts = await _form(request, place)
            return {"session_id": await run_in_threadpool(sessions.open, parts)}
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @router.get("/session/{session}")
    def find_session(session: str) -> dict[str, Any]:
        sessions.image(session)
        return {"session_id": session}

    @router.delete("/session/{session}")
    def close_session(session: str) -> dict[str, Any]:
        sessions.close(session)
        return {"session_id": session}

    @router.post("/infer/{model}")
    async def infer(
        request: Request, model: str, image: str = "", session_id: str = "", output: str = "all"
    ) -> Response:
        if model != name:
            raise HTTPException(404, f"the service has no such model; it has '{name}'")
        asked = _Asked(image, session_id, output)
        return await _infer(request, asked, journal, sessions, worker)

    return router


@dataclass(frozen=True)
class _Asked:
    """The query of a request for a mask."""

    image: str
    session: str
    output: str


async def _infer(
    request: Request, asked: _Asked, journal: Journal, sessions: Sessions, worker: Worker
) -> Response:
    place = await run_in_threadpool(journal.place, "asked")
    try:
        parts = await _form(request, place)
        wanted = Wanted.of(asked.output, _params(parts))
        image = await run_in_threadpool(_image, asked, parts, place, journal, sessions)
        waiting = worker.ask(lambda model: answer(model, image, place, wanted))
        found = await asyncio.wrap_future(waiting)
        return await run_in_threadpool(found.response, asked.output)
    except Busy:
        raise no_room() from None
    except MedsslError as error:
        raise HTTPException(422, plain(error, place)) from None
    finally:
        await run_in_threadpool(shutil.rmtree, place, True)


def _image(
    asked: _Asked, parts: list[Part], place: Path, journal: Journal, sessions: Sessions
) -> Path:
    """The image that is meant: of a session, of the request, or of a series that was sent."""
    if asked.session:
        return sessions.image(asked.session)
    files = [part for part in parts if part.told("filename") and part.told("name") != "label"]
    return (
        image_from(files, place)
        if files or not asked.image
        else _series(journal, asked.image, place)
    )


async def _form(request: Request, place: Path) -> list[Part]:
    boundary = boundary_of(request.headers.get("content-type", ""), FORM)
    folder = place / "parts"
    folder.mkdir()
    return await receive_parts(request.stream(), boundary, folder)


def _params(parts: list[Part]) -> dict[str, Any]:
    """The field `params`; what is not known there is for other models."""
    given = next((part for part in parts if part.told("name") == "params"), None)
    try:
        params = {} if given is None else json.loads(given.text() or "{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "params are no JSON") from None
    if not isinstance(params, dict):
        raise HTTPException(400, "params are no JSON object")
    return params


def _series(journal: Journal, uid: str, place: Path) -> Path:
    """A folder with the images of a series that came by DICOMweb."""
    files = journal.series(uid) if is_uid(uid) else []
    if not files:
        raise HTTPException(404, "`image` is no SeriesInstanceUID of a study that was sent")
    folder = place / "image"
    folder.mkdir()
    for file in files:
        os.link(file, folder / file.name)
    return folder


def _info(found: Any) -> dict[str, Any]:
    labels = {label.name: label.value for label in found.labels}
    model = {
        "type": "segmentation",
        "labels": labels,
        "dimension": 3,
        "description": f"{found.data.title}; not a medical device",
        "config": {},
    }
    return {
        "name": "medssl",
        "description": found.data.title,
        "version": medssl.__version__,
        "labels": list(labels),
        "models": {model_name(found): model},
        **{key: {} for key in ("trainers", "strategies", "scoring", "train_stats", "datastore")},
    }
