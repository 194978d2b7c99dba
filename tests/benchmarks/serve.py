"""Load on `medssl serve`: parallel clients, hostile ones beside them, and kills in the middle.

`python -m tests.benchmarks.serve` trains a toy network for a few steps, starts the service, has
clients on the loopback send studies to it (one of 64 x 64 x 24 voxels in a request), and kills it
with SIGKILL some times, starting it again on the same folder. A client whose request broke off, or
was told to come later, sends its study again. All the while others send what is malformed, too
large and too slow, and are counted by how they are answered. In the end every study is asked for.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue

import numpy as np
import pydicom
import requests

from medssl.data.geometry import Geometry
from tests.dicom_series import write_series
from tests.drivers import toys

GRID = Geometry((64, 64, 24), np.diag([-1.0, -1.0, 2.0, 1.0]))
BOUNDARY = "parts"
KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


class Server:
    """The service in a process, on one port and one folder whatever happens to it."""

    def __init__(self, checkpoint: Path, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.starts = f"http://127.0.0.1:{port}", 0
        self._log = place / "serve.log"
        self._command = [
            *(sys.executable, "-m", "medssl", "serve", str(checkpoint), "--port", str(port)),
            *("--set", "stride=[8,8,8]", "--set", "window_batch=64"),
            *("--work", str(place / "work"), "--settle", "0", "--queue", "50", "--device", "cpu"),
            *("--limit", "8", "--patience", "3"),
        ]

    def start(self) -> None:
        self.starts += 1
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        while True:
            try:
                requests.get(f"{self.url}/health", timeout=60)
            except requests.ConnectionError:
                if self._process.poll() is not None:
                    raise RuntimeError(self._log.read_text()) from None
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait()


class Load:
    """Clients that send studies until all are accepted, and what they saw."""

    def __init__(self, url: str, studies: Sequence[tuple[str, bytes]]) -> None:
        self._url, self._left = url, Queue[tuple[str, bytes]]()
        for one in studies:
            self._left.put(one)
        self.accepted: dict[str, str] = {}
        self.seconds: list[float] = []
        self.seen: Counter[str] = Counter()

    def client(self) -> None:
        while True:
            try:
                study, body = self._left.get_nowait()
            except Empty:
                return
            while study not in self.accepted:
                self._send(study, body)

    def _send(self, study: str, body: bytes) -> None:
        began = time.perf_counter()
        try:
            answer = requests.post(
                f"{self._url}/dicomweb/studies", body, headers={"Content-Type": KIND}, timeout=120
            )
        except requests.RequestException:
            self.seen["broken off"] += 1
            time.sleep(0.5)
            return
        self.seconds.append(time.perf_counter() - began)
        self.seen[str(answer.status_code)] += 1
        if answer.status_code == 200:
            self.accepted[study] = answer.links["monitor"]["url"]
        else:
            time.sleep(1)


class Hostile:
    """Clients that send what must be refused, one after the other, until they are stopped."""

    def __init__(self, url: str) -> None:
        self._at = url.removeprefix("http://")
        self.seen = {kind: Counter[str]() for kind in ("malformed", "oversized", "slow")}
        self.over = threading.Event()

    def client(self, kind: str) -> None:
        while not self.over.is_set():
            try:
                self.seen[kind][self._answered(kind)] += 1
            except OSError:
                self.seen[kind]["broken off"] += 1
            self.over.wait(0.2)

    def _answered(self, kind: str) -> str:
        host, _, port = self._at.rpartition(":")
        length = {"malformed": 15, "oversized": 10**10, "slow": 5000}[kind]
        head = (
            f"POST /dicomweb/studies HTTP/1.1\r\nHost: {self._at}\r\nContent-Type: {KIND}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()
        with socket.create_connection((host, int(port)), 60) as line:
            begun = {"malformed": b"no parts at all", "oversized": b"", "slow": b"--parts\r\n"}
            line.sendall(head + begun[kind])
            while kind == "slow" and not self.over.wait(0.5):
                line.sendall(b"X")
                line.settimeout(0.01)
                try:
                    answer = line.recv(20)
                except TimeoutError:
                    continue
                return answer.decode()[9:12] or "left"
            line.settimeout(60)
            return line.recv(20).decode()[9:12] or "left"


def studies(folder: Path, count: int) -> list[tuple[str, bytes]]:
    """UID and request of each study."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        place = folder / str(number)
        write_series(place, GRID, rng.integers(0, 500, GRID.shape), SeriesDescription="T1")
        parts = []
        for file in sorted(place.iterdir()):
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            parts.append(head + file.read_bytes() + b"\r\n")
        study = str(pydicom.dcmread(file, stop_before_pixels=True).StudyInstanceUID)
        found.append((study, b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()))
    return found


def trained(place: Path) -> Path:
    """A small network that saw a few steps."""
    toys.balls(place)
    command = [sys.executable, "-m", "medssl", "train", "balls", "train.steps=20", "--quiet"]
    folders = {"MEDSSL_DATA": str(place / "data"), "MEDSSL_RUNS": str(place / "runs")}
    subprocess.run(command, cwd=place, env=os.environ | folders, check=True, capture_output=True)
    (model,) = (place / "runs").glob("balls/train-*")
    return model


def until_over(url: str) -> list[dict[str, object]]:
    """The studies of the service, once it works on none."""
    while True:
        jobs: list[dict[str, object]] = requests.get(f"{url}/jobs", timeout=120).json()
        if all(job["state"] in ("done", "failed") for job in jobs):
            return jobs
        time.sleep(0.5)


def results(url: str, study: str) -> int:
    """How many segmentations a study has."""
    address = f"{url}/dicomweb/studies/{study}/series?Modality=SEG"
    answer = requests.get(address, timeout=120)
    return len(answer.json()) if answer.status_code == 200 else 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--studies", type=int, default=200)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--kills", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        server, sent = Server(trained(place), place), studies(place / "in", given.studies)
        server.start()
        load, began = Load(server.url, sent), time.perf_counter()
        clients = [threading.Thread(target=load.client) for _ in range(given.clients)]
        hostile = Hostile(server.url)
        others = [threading.Thread(target=hostile.client, args=[kind]) for kind in hostile.seen]
        for one in clients + others:
            one.start()
        down = 0.0
        for number in range(1, given.kills + 1):
            while len(load.accepted) < number * given.studies // (given.kills + 1):
                time.sleep(0.02)
            server.kill()
            killed = time.perf_counter()
            server.start()
            down += time.perf_counter() - killed
        for one in clients:
            one.join()
        sending = time.perf_counter() - began
        hostile.over.set()
        for one in others:
            one.join()
        jobs = until_over(server.url)
        working = time.perf_counter() - began
        counts = Counter(results(server.url, study) for study, _ in sent)
        states, code = Counter(str(job["state"]) for job in jobs), server.end()
    spent = np.array(load.seconds)
    size = np.mean([len(body) for _, body in sent]) / 2**20
    print(f"{given.studies} studies of {size:.2f} MiB, {given.clients} clients")
    print(f"kills {server.starts - 1}, down for {down:.1f} s while it started again")
    print(f"requests answered {len(spent)} {dict(load.seen)}")
    for kind, seen in hostile.seen.items():
        print(f"{kind} requests {dict(seen)}")
    print(f"requests per second {len(spent) / (sending - down):.1f} while it was up")
    print(
        f"seconds of a request: median {np.median(spent):.3f}, p95 {np.quantile(spent, 0.95):.3f}"
    )
    print(f"studies per minute {60 * given.studies / (working - down):.1f} while it was up")
    print(f"accepted {len(load.accepted)}, states {dict(states)}")
    several = sum(counts.values()) - counts[0] - counts[1]
    print(f"lost {counts[0]}, with one segmentation {counts[1]}, with several {several}")
    print(f"exit code after SIGTERM {code}")


if __name__ == "__main__":
    main()
