"""What every request passes: who may ask, how much, how slowly, and what the log says of it.

The log has the route, never the address that was asked for, nor what a failure quotes: both may
hold UIDs, names and ids.
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medssl.discreet import unexpected
from medssl.serve.settings import ServeSettings, is_loopback

Told = Callable[[str, str, int, float], None]
"""Takes method, route, status and seconds of a request."""

SLOWEST = 10_000
"""Bytes per second that a client must send on the average, once its patience is used up."""

OPEN = ("/health",)


class Guard:
    """Refuses, bounds and counts the requests of an application.

    Args:
        told: called after each request.
        tell: takes a line for the log.
    """

    def __init__(
        self, app: ASGIApp, settings: ServeSettings, told: Told, tell: Callable[[str], None]
    ) -> None:
        self._app, self._settings, self._told, self._tell = app, settings, told, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await asyncio.wait_for(send(message), self._settings.patience_s)

        try:
            refused = self._refusal(scope["path"], Headers(scope=scope))
            app = self._app if refused is None else refused
            await app(scope, _Bounded(receive, self._settings), sending)
        except TimeoutError:  # the client reads no answer
            status = status or 499
        except Exception as error:
            self._tell(f"{unexpected(error)} in {route_of(scope)}")
            if status == 0:
                await JSONResponse({"detail": "unexpected failure"}, 500)(scope, receive, sending)
        finally:
            self._told(scope["method"], route_of(scope), status, time.perf_counter() - began)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        """Why a request is refused at once; None where it is not."""
        settings = self._settings
        origin = headers.get("origin")
        if origin is not None and origin not in settings.origins:
            return _refused(403, "pages of this origin may not ask; see --allow-origin")
        if settings.token is None and not _is_local(headers.get("host", "")):
            return _refused(403, "without a token the service answers to localhost alone")
        given = headers.get("authorization", "")
        wanted = f"Bearer {settings.token}"
        known = hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
        if settings.token is not None and path not in OPEN and not known:
            return _refused(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return _refused(400, "the length of the request is no number")
        if len(length) > 18 or int(length) > settings.limit:
            return _refused(413, f"a request has at most {settings.limit} bytes")
        return None


class _Bounded:
    """Receives the body of a request, as long as it is neither too long nor too slow."""

    def __init__(self, receive: Receive, settings: ServeSettings) -> None:
        self._receive, self._settings = receive, settings
        self._began, self._count, self._more = time.monotonic(), 0, True

    async def __call__(self) -> Message:
        if not self._more:
            return await self._receive()  # waits for the client to leave
        patience = self._settings.patience_s
        try:
            message = await asyncio.wait_for(self._receive(), patience)
        except TimeoutError:
            raise HTTPException(408, "the request came too slowly") from None
        self._more = message.get("more_body", False)
        self._count += len(message.get("body", b""))
        if self._count > self._settings.limit:
            raise HTTPException(413, f"a request has at most {self._settings.limit} bytes")
        if time.monotonic() - self._began > patience + self._count / SLOWEST:
            raise HTTPException(408, "the request came too slowly")
        return message


def route_of(scope: Scope) -> str:
    """The path as it is declared, e.g. /jobs/{job}; "unknown" of one that is not."""
    found: Any = scope.get("route")
    return str(getattr(found, "path", "unknown"))


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": why}, status, {"Connection": "close", **(headers or {})})


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine: a page elsewhere cannot make a browser say so."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return is_loopback(name.strip("[]"))
