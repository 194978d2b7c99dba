"""How the service and its studies are: /health, /jobs, /metrics."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response

import medssl
from medssl.serve.journal import Journal
from medssl.serve.metrics import Metrics
from medssl.serve.worker import Worker


def status_routes(journal: Journal, metrics: Metrics, worker: Worker) -> APIRouter:
    """The routes that tell of studies by their ids, and of the service."""
    router = APIRouter()

    @router.get("/health")
    def health(response: Response) -> dict[str, Any]:
        """200 while the model works, 503 where it does not any more."""
        response.status_code = 200 if worker.is_alive else 503
        return {"status": "ok" if worker.is_alive else "failed", "version": medssl.__version__}

    @router.get("/jobs")
    def jobs(state: str = "") -> list[dict[str, Any]]:
        """All studies, or those of a state, in the order of their last images."""
        return [job.to_plain() for job in journal.jobs() if state in ("", job.state)]

    @router.get("/jobs/{job}")
    def one(job: str) -> dict[str, Any]:
        """One study."""
        found = journal.find(job)
        if found is None:
            raise HTTPException(404, "the study is not known; it may have been removed")
        return found.to_plain()

    @router.delete("/jobs/{job}")
    def remove(job: str) -> dict[str, Any]:
        """Remove a study with its images and its result."""
        found = journal.find(job)
        if found is None:
            raise HTTPException(404, "the study is not known; it may have been removed")
        if not journal.remove(found):
            raise HTTPException(409, "the study is being worked on; try again later")
        return found.to_plain()

    @router.get("/metrics")
    def figures() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
