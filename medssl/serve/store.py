"""STOW-RS: studies come in.

A request may hold images of several studies. Those of a study are taken together or not at all;
what was refused is listed with a reason, as DICOM PS3.18 section 10.5 has it.
"""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from medssl.serve.instances import Instance, is_uid, read_instance
from medssl.serve.job import Job
from medssl.serve.journal import Conflict, Journal, QueueFull
from medssl.serve.metrics import Metrics
from medssl.serve.parts import Part, boundary_of, receive_parts

JSON = "application/dicom+json"

NO_ROOM, FAILED = 0xA700, 0x0110
"""Failure reasons of DICOM PS3.18 table I.2-2: out of resources, processing failure."""

RETRY_S = 30


@dataclass
class _Stored:
    """What became of the parts of a request."""

    jobs: list[Job] = field(default_factory=list)
    taken: list[Instance] = field(default_factory=list)
    failed: list[tuple[Instance, int]] = field(default_factory=list)
    unread: int = 0


def store_routes(journal: Journal, metrics: Metrics) -> APIRouter:
    """POST /dicomweb/studies and /dicomweb/studies/{study}."""
    router = APIRouter()

    @router.post("/dicomweb/studies")
    @router.post("/dicomweb/studies/{study}")
    async def store(request: Request, study: str | None = None) -> Response:
        if study is not None and not is_uid(study):
            raise HTTPException(400, "the study of the address is no UID")
        boundary = boundary_of(request.headers.get("content-type", ""), "multipart/related")
        if journal.is_full:
            raise no_room()
        place = await run_in_threadpool(journal.place, "incoming")
        try:
            parts = await receive_parts(request.stream(), boundary, place)
            if not parts:
                raise HTTPException(400, "the request has no parts")
            stored = await run_in_threadpool(_store, journal, parts, study)
        finally:
            await run_in_threadpool(shutil.rmtree, place, True)
        metrics.images(len(stored.taken))
        return _answer(stored, str(request.base_url))

    return router


def no_room() -> HTTPException:
    """The answer when too many studies wait."""
    why = "too many studies wait; send it again later"
    return HTTPException(503, why, {"Retry-After": str(RETRY_S)})


def _store(journal: Journal, parts: Sequence[Part], study: str | None) -> _Stored:
    stored, studies = _Stored(), defaultdict[str, list[Instance]](list)
    for part in parts:
        is_dicom = part.kind in ("", "application/dicom")
        one = read_instance(part.path, journal.key) if is_dicom else None
        if one is None:
            stored.unread += 1
        elif study not in (None, one.study):
            stored.failed.append((one, FAILED))
        else:
            studies[one.study].append(one)
    for instances in studies.values():
        try:
            stored.jobs.append(journal.accept(instances))
            stored.taken += instances
        except (Conflict, QueueFull) as refused:
            reason = NO_ROOM if isinstance(refused, QueueFull) else FAILED
            stored.failed += [(one, reason) for one in instances]
    return stored


def _answer(stored: _Stored, base: str) -> Response:
    from pydicom.dataset import Dataset

    def item(one: Instance, keyword: str, value: Any) -> Any:
        found = Dataset()
        found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = one.kind, one.uid
        setattr(found, keyword, value)
        return found

    told = Dataset()
    address = f"{base}dicomweb/studies/"
    if stored.taken:
        told.RetrieveURL = address + stored.taken[0].study
        told.ReferencedSOPSequence = [
            item(
                one, "RetrieveURL", f"{address}{one.study}/series/{one.series}/instances/{one.uid}"
            )
            for one in stored.taken
        ]
    if stored.failed:
        told.FailedSOPSequence = [item(one, "FailureReason", why) for one, why in stored.failed]
    headers = {}
    if stored.jobs:
        links = (f'<{base}jobs/{job.id}>; rel="monitor"' for job in stored.jobs)
        headers["Link"] = ", ".join(links)
    if stored.unread:
        headers["Warning"] = f'299 medssl "{stored.unread} parts are no DICOM that can be read"'
    if any(why == NO_ROOM for _, why in stored.failed):
        headers["Retry-After"] = str(RETRY_S)
    return Response(told.to_json(), _status(stored), headers, media_type=JSON)


def _status(stored: _Stored) -> int:
    if stored.taken:
        return 202 if stored.failed or stored.unread else 200
    return 503 if any(why == NO_ROOM for _, why in stored.failed) else 409
