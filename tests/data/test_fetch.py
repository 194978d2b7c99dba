"""Downloads against a server on this machine that can break off and continue."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medssl.data.fetch import fetch
from medssl.data.spec import DataSpec
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


CONTENT = archive("Task99/dataset.json", "Task99/imagesTr/a.nii.gz", "._Task99")


class Server(ThreadingHTTPServer):
    """Serves `content`; with `limit`, breaks off after so many bytes."""

    content = CONTENT
    limit: int | None = None
    ranges: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/set.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = self.server.content[start:]
        if wanted and not body:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.ranges = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def wanted(root: Path, url: str, **keys: Any) -> DataSpec:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    download = {"url": url, "bytes": len(CONTENT), "sha256": sha256, "unpack": True, **keys}
    return declare(root / "toy", downloads=[download])


def test_the_archive_becomes_the_folder_of_the_data_set(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = fetch(wanted(tmp_path, server.url), lambda done, whole: seen.append((done, whole)))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == ["dataset.json", "imagesTr/a.nii.gz"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_a_broken_download_continues_where_it_stopped(server: Server, tmp_path: Path) -> None:
    spec = wanted(tmp_path, server.url)
    server.limit = 50
    with pytest.raises(DataError, match="ended after 50 of"):
        fetch(spec)
    assert not (tmp_path / "toy").exists()
    server.limit = None
    fetch(spec)
    assert server.ranges == [None, "bytes=50-"]


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    spec = wanted(tmp_path, server.url)
    assert fetch(spec) == fetch(spec)
    assert len(server.ranges) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"bytes": 7}, "bytes instead of 7"), ({"sha256": "0" * 64}, "sha256"), ({"md5": "0"}, "md5")],
)
def test_another_file_than_expected_is_refused(
    server: Server, tmp_path: Path, keys: dict[str, Any], message: str
) -> None:
    spec = wanted(tmp_path, server.url, **keys)
    with pytest.raises(DataError, match=message):
        fetch(spec)
    assert not (tmp_path / "toy").exists()
    assert not list(tmp_path.rglob("*.incomplete"))


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    spec = wanted(tmp_path, "http://127.0.0.1:9/files/set.tar.gz")
    with pytest.raises(DataError) as caught:
        fetch(spec)
    place = tmp_path / "toy.download" / "set.tar.gz"
    assert "http://127.0.0.1:9/files/set.tar.gz" in str(caught.value)
    assert str(place) in caught.value.do
    place.write_bytes(CONTENT)
    assert (fetch(spec) / "dataset.json").exists()


def test_files_outside_the_folder_are_never_written(server: Server, tmp_path: Path) -> None:
    server.content = archive("../escaped.txt")
    spec = wanted(tmp_path, server.url, bytes=None, sha256=None)
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch(spec)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_single_file_is_kept_as_it_is(server: Server, tmp_path: Path) -> None:
    folder = fetch(wanted(tmp_path, server.url, unpack=False))
    assert (folder / "set.tar.gz").read_bytes() == CONTENT


def test_data_without_a_download_names_its_home(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"get it from https://example\.org"):
        fetch(declare(tmp_path / "toy", homepage="https://example.org"))
    with pytest.raises(UsageError, match="made on first use"):
        fetch(declare(Path("toy"), layout={"kind": "brain_cohort"}))
    with pytest.raises(UsageError, match="no web address"):
        fetch(wanted(tmp_path, "file:///etc/hostname"))


def test_a_folder_of_hidden_files_alone_is_not_the_data_set(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / ".DS_Store").touch()
    with pytest.raises(DataError, match="holds hidden files alone; remove it"):
        fetch(wanted(tmp_path, server.url))


@pytest.mark.parametrize(
    "url",
    ["http://[1/a.zip", "https://example.org", "ftp://example.org/a.zip", "a\nb", "http://x/%00"],
)
def test_what_is_no_web_address_of_a_file_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is no web address of a file"):
        fetch(wanted(tmp_path, url))


def test_a_place_that_cannot_be_written_to_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy.download").touch()
    with pytest.raises(DataError, match=r"toy cannot be put into .*Not a directory; make room"):
        fetch(wanted(tmp_path, server.url))


def test_an_archive_that_is_damaged_inside_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = CONTENT[:40] + bytes(len(CONTENT) - 40)
    monkeypatch.setattr(Server, "content", damaged)
    sha256 = hashlib.sha256(damaged).hexdigest()
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch(wanted(tmp_path, server.url, sha256=sha256))
