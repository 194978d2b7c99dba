"""Who may ask, how much and how slowly: what is wrong is refused, and the service lives on."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from medssl.errors import UsageError
from medssl.serve.settings import ServeSettings, read_token
from tests.serve.conftest import BOUNDARY, Running, Start, study_files

TOKEN = "0123456789abcdef"


def raw(service: Running, *pieces: bytes, pause_s: float = 0) -> bytes:
    """What comes back to bytes that are sent piece by piece; empty where nothing does."""
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause_s)
        found = b""
        try:
            while more := connection.recv(65536):
                found += more
        except ConnectionResetError:
            pass
        return found


def head(service: Running, *lines: str, path: str = "/dicomweb/studies") -> bytes:
    kind = f"Content-Type: multipart/related; boundary={BOUNDARY}"
    start = f"POST {path} HTTP/1.1", "Host: localhost", kind, "Connection: close"
    return "\r\n".join((*start, *lines, "", "")).encode()


def alive(service: Running) -> bool:
    return bool(service.get("/health", headers=bearing(TOKEN)).json()["status"] == "ok")


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_other_machines_may_ask_only_with_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "myhost"):
        with pytest.raises(UsageError, match=r"no token is asked for.*--token-file"):
            ServeSettings(host, 0, tmp_path)
        ServeSettings(host, 0, tmp_path, TOKEN)
    for host in ("127.0.0.1", "::1", "localhost"):
        ServeSettings(host, 0, tmp_path)
    with pytest.raises(UsageError, match="fewer than 16 characters"):
        ServeSettings("127.0.0.1", 0, tmp_path, "short")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN


def test_without_the_token_nothing_but_health_is_told(start: Start, tmp_path: Path) -> None:
    service = start(token=TOKEN)
    for path in ("/jobs", "/metrics", "/info/", "/dicomweb/studies/1.2/series", "/openapi.json"):
        assert service.get(path).status_code == 401
        assert service.get(path, headers=bearing(TOKEN[:-1] + "x")).status_code == 401
        assert service.get(path, headers={"Authorization": TOKEN}).status_code == 401
        assert service.get(path, headers=bearing(TOKEN)).status_code in (200, 404)
    assert service.get("/health").status_code == 200
    assert service.store(study_files(tmp_path, "T1")).status_code == 401
    assert list((service.work / "studies").iterdir()) == []


def test_pages_in_a_browser_may_not_ask_unless_they_are_allowed(start: Start) -> None:
    service = start(origins=("https://viewer.clinic",))
    assert service.get("/jobs", headers={"Origin": "https://evil.example"}).status_code == 403
    answer = service.get("/jobs", headers={"Origin": "https://viewer.clinic"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.clinic"
    # A name that an attacker has turned to the loopback.
    assert service.get("/jobs", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("told", ["Content-Length: 999999999999", "Transfer-Encoding: chunked"])
def test_requests_that_are_too_large_are_refused(start: Start, told: str) -> None:
    service = start(limit=100_000)
    piece = b"--" + BOUNDARY.encode() + b"\r\n\r\n" + bytes(60_000)
    body = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n"] * 3 if "chunked" in told else []
    assert b" 413 " in raw(service, head(service, told), *body)[:20]
    assert list((service.work / "incoming").iterdir()) == []
    assert alive(service)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no parts at all", 400),
        (b"--a-boundary\r\nContent-Type: application/dicom\r\n\r\nbreaks off", 400),
        (b"--a-boundary\r\n" + b"X: y\r\n" * 50 + b"\r\n\r\n--a-boundary--\r\n", 400),
        (b"--a-boundary\r\n" + b"X" * 20_000 + b": y\r\n\r\n\r\n--a-boundary--\r\n", 400),
        (b"--a-boundary\r\n\r\n\r\n--a-boundary--\r\n", 409),
        (b"--a-boundary--\r\n", 400),
    ],
)
def test_malformed_bodies_are_refused(start: Start, body: bytes, status: int) -> None:
    service = start()
    answer = raw(service, head(service, f"Content-Length: {len(body)}"), body)
    assert int(answer.split()[1]) == status, answer
    assert alive(service)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("multipart/related", 400),
        ("", 415),
        ('multipart/related; boundary="' + "x" * 500 + '"', 400),
    ],
)
def test_requests_of_another_kind_are_refused(start: Start, kind: str, status: int) -> None:
    service = start()
    url = f"{service.url}/dicomweb/studies"
    answer = requests.post(url, b"{}", headers={"Content-Type": kind}, timeout=30)
    assert answer.status_code == status


def test_what_is_no_http_is_refused(start: Start) -> None:
    service = start()
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", bytes(100) + b"\r\n\r\n"):
        assert raw(service, junk)[:12] in (b"HTTP/1.1 400", b"")
    assert alive(service)


def test_slow_clients_are_left_after_some_seconds(start: Start) -> None:
    service, began = start(patience_s=0.5), time.monotonic()
    assert raw(service, b"") == b""  # says nothing
    assert raw(service, b"GET /health HTT") == b""  # begins a head
    assert b" 408 " in raw(service, head(service, "Content-Length: 5000"), b"--a-boundary\r\n")[:20]
    dripping = [head(service, "Content-Length: 5000"), b"--a-boundary\r\n", *[b"X"] * 20]
    assert b" 408 " in raw(service, *dripping, pause_s=0.1)[:20]
    assert time.monotonic() - began < 10
    assert list((service.work / "incoming").iterdir()) == []


def test_many_slow_clients_do_not_keep_others_out(start: Start) -> None:
    service = start(patience_s=1.0)
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    slow = [socket.create_connection((host, int(port)), 20) for _ in range(80)]
    for one in slow:
        one.sendall(b"POST /dicomweb/stu")
    time.sleep(1.5)
    assert alive(service)
    for one in slow:
        assert one.recv(10) == b""
        one.close()


class Slow:
    """A model that waits until it may go on."""

    def __init__(self, model: Any) -> None:
        self.go_on, self._model = threading.Event(), model
        self.found, self.begun = model.found, threading.Event()

    def asking(self, overrides: list[str]) -> "Slow":
        other = Slow(self._model.asking(overrides))
        other.go_on, other.begun = self.go_on, self.begun
        return other

    def predict(self, *given: Any, **named: Any) -> Any:
        self.begun.set()
        self.go_on.wait(20)
        return self._model.predict(*given, **named)


def test_a_full_queue_says_so_and_takes_studies_again_later(
    start: Start, tmp_path: Path, untrained_checkpoint: Path
) -> None:
    from medssl.families.segment.model import open_model

    model = Slow(open_model(untrained_checkpoint, [], "cpu"))
    service = start(model, queue=2)
    studies = [study_files(tmp_path / str(number), "T1") for number in range(4)]
    first = service.store(studies[0])
    assert model.begun.wait(20)
    taken = [service.store(files) for files in studies[1:3]]
    refused = service.store(studies[3])
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    model.go_on.set()
    assert [service.job(one)["state"] for one in (first, *taken)] == ["done"] * 3
    assert service.job(service.store(studies[3]))["state"] == "done"
