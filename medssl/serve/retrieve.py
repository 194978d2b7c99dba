"""QIDO-RS and WADO-RS: results go out, as series of the study that they are of.

The images that were sent are not given back.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from medssl.data.dicom.header import read_header
from medssl.serve.instances import is_uid
from medssl.serve.job import results_of
from medssl.serve.journal import Journal
from medssl.serve.store import JSON

DICOM = "application/dicom"
_PIECE = 2**18
_OF_SERIES = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
)
_OF_INSTANCE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
_POLL_S = 2


@dataclass(frozen=True)
class _Result:
    path: Path
    header: Any

    def told(self, keywords: Sequence[str]) -> Any:
        from pydicom.dataset import Dataset

        found = Dataset()
        for keyword in keywords:
            if keyword in self.header:
                setattr(found, keyword, self.header[keyword].value)
        return found


def retrieve_routes(journal: Journal) -> APIRouter:
    """GET /dicomweb/studies/{study} and what is below it."""
    router = APIRouter(prefix="/dicomweb/studies/{study}")

    @router.get("/series")
    def search_series(request: Request, study: str) -> Response:
        groups: dict[str, list[_Result]] = {}
        for one in _results(journal, study):
            groups.setdefault(one.header.SeriesInstanceUID, []).append(one)
        rows = []
        for same in groups.values():
            row = same[0].told(_OF_SERIES)
            row.NumberOfSeriesRelatedInstances = len(same)
            address = f"{request.base_url}dicomweb/studies/{study}"
            row.RetrieveURL = f"{address}/series/{row.SeriesInstanceUID}"
            rows.append(row)
        return _rows(rows, request)

    @router.get("/series/{series}/instances")
    def search_instances(request: Request, study: str, series: str) -> Response:
        found = _results(journal, study, series)
        return _rows([one.told([*_OF_SERIES, *_OF_INSTANCE]) for one in found], request)

    @router.get("")
    @router.get("/series/{series}")
    @router.get("/series/{series}/instances/{instance}")
    def retrieve(request: Request, study: str, series: str = "", instance: str = "") -> Response:
        paths = [one.path for one in _results(journal, study, series, instance)]
        return _files(paths, request.headers.get("accept", ""))

    return router


def _results(journal: Journal, study: str, series: str = "", instance: str = "") -> list[_Result]:
    """The results of a study that is known, or those of them that are asked for.

    Raises:
        HTTPException: 404, the study is not known, or has no such result.
    """
    job = journal.find(journal.id_of(study)) if is_uid(study) else None
    if job is None:
        raise HTTPException(404, "the study is not known; it may have been removed")
    found = []
    for path in results_of(journal.folder(job.id), job):
        header = read_header(path, specific_tags=[*_OF_SERIES, *_OF_INSTANCE])
        if series in ("", header.SeriesInstanceUID) and instance in ("", header.SOPInstanceUID):
            found.append(_Result(path, header))
    if not found and (series or instance):
        raise HTTPException(404, "the study has no such result")
    return found


def _files(paths: Sequence[Path], accepted: str) -> Response:
    """Files as parts of one answer, or one as it is.

    Raises:
        HTTPException: 404, there is none yet; 406, one is asked for, and there are several.
    """
    if not paths:
        why = "the study has no result yet; see /jobs"
        raise HTTPException(404, why, {"Retry-After": str(_POLL_S)})
    if accepted.partition(";")[0].strip() == DICOM:
        if len(paths) > 1:
            raise HTTPException(406, "several files go out as multipart/related")
        return FileResponse(paths[0], media_type=DICOM)
    boundary = secrets.token_hex(16)
    kind = f'multipart/related; type="{DICOM}"; boundary={boundary}'
    return StreamingResponse(_parts(paths, boundary), media_type=kind)


def _rows(rows: Sequence[Any], request: Request) -> Response:
    """Those that fit the query, as DICOM JSON; attributes that no row has are not asked for."""
    asked = {name: value for name, value in request.query_params.items() if name[:1].isupper()}
    fitting = [
        row.to_json_dict()
        for row in rows
        if all(str(row.get(name, value)) == value for name, value in asked.items())
    ]
    return Response(json.dumps(fitting), media_type=JSON)


def _parts(paths: Sequence[Path], boundary: str) -> Iterator[bytes]:
    for path in paths:
        yield f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
