"""The service: its journal, its worker and its routes, and the server that they run in."""

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

import medssl
from medssl.errors import MedsslError
from medssl.pipeline.progress import QuietReporter
from medssl.serve.connection import impatient
from medssl.serve.guard import Guard
from medssl.serve.journal import Journal
from medssl.serve.metrics import Metrics
from medssl.serve.monai_label import model_name, monai_label_routes
from medssl.serve.retrieve import retrieve_routes
from medssl.serve.settings import ServeSettings
from medssl.serve.status import status_routes
from medssl.serve.store import store_routes
from medssl.serve.worker import Asks, Worker

MOST_CONNECTIONS = 64
_NO_ROOM = 507


def make_app(
    settings: ServeSettings, journal: Journal, model: Asks, tell: Callable[[str], None]
) -> ASGIApp:
    """The application; its worker runs from its start-up to its shutdown.

    Args:
        tell: takes a line for the log.
    """
    metrics = Metrics(journal)
    worker = Worker(journal, model, settings.queue, tell, metrics.study)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        worker.stop()

    app = FastAPI(
        title="medssl", version=medssl.__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.include_router(status_routes(journal, metrics, worker))
    app.include_router(store_routes(journal, metrics))
    app.include_router(retrieve_routes(journal))
    app.include_router(monai_label_routes(journal, worker, model.found))

    @app.exception_handler(MedsslError)
    def full(_: Request, error: MedsslError) -> Response:
        """What the journal says of its disk."""
        return JSONResponse({"detail": error.why or "it cannot be kept"}, _NO_ROOM)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> Response:
        """Which parameter is wrong, and not what it is."""
        names = sorted({str(one["loc"][-1]) for one in error.errors()})
        return JSONResponse({"detail": f"wrong: {', '.join(names)}"}, 422)

    def told(method: str, route: str, status: int, seconds: float) -> None:
        metrics.request(method, route, status, seconds)
        if route not in ("/health", "/metrics"):
            tell(f"{method} {route} {status} {seconds:.2f} s")

    guarded: ASGIApp = Guard(app, settings, told, tell)
    if settings.origins:
        guarded = CORSMiddleware(
            guarded,
            list(settings.origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    return guarded


class Service:
    """A service that listens, and answers once it runs.

    Args:
        tell: takes a line for the log.

    Attributes:
        address: where it is, e.g. http://127.0.0.1:8000.

    Raises:
        UsageError: the folder of the journal has another service.
        MedsslError: it cannot be written to, or the address is taken.
    """

    def __init__(self, settings: ServeSettings, model: Asks, tell: Callable[[str], None]) -> None:
        given = settings.work, settings.queue, settings.settle_s, settings.keep_h
        self._journal = Journal(*given)
        config = uvicorn.Config(
            make_app(settings, self._journal, model, tell),
            http=impatient(settings.patience_s),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=2**16,
        )
        self._server, self._socket = uvicorn.Server(config), _listen(settings)
        host, port = self._socket.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        count = self._journal.counts()["waiting"]
        tell(f"model '{model_name(model.found)}' at {self.address}, {count} studies wait")

    def run(self) -> None:
        """Answer until a signal or `stop`; what waits then is done after the next start."""
        try:
            self._server.run([self._socket])
        finally:
            self._journal.close()

    def stop(self) -> None:
        """Have `run` end, after the study that is being worked on."""
        self._server.should_exit = True


def serve(settings: ServeSettings, model: Any, reporter: QuietReporter) -> None:
    """Serve until a signal asks to stop.

    Raises:
        UsageError, MedsslError: as `Service`; or the weights are damaged.
    """
    model.predictor()  # what is wrong with the weights is said before anybody asks

    def tell(line: str) -> None:
        reporter.note(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")

    Service(settings, model, tell).run()


def _listen(settings: ServeSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(MOST_CONNECTIONS)  # whoever comes before the start-up is over waits
    except OSError as error:
        raise MedsslError(
            f"{settings.host}:{settings.port} cannot be listened at",
            (error.strerror or str(error)).lower(),
            "choose another --host or --port",
        ) from error
    return listening
