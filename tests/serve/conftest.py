"""A service with a small untrained network, on a free port of the loopback."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from pydicom.uid import generate_uid

from medssl.data.geometry import Geometry
from medssl.families.segment.model import open_model
from medssl.serve.app import Service
from medssl.serve.settings import ServeSettings
from tests.dicom_series import write_series
from tests.pipeline.conftest import balls, blank_figures, no_mlflow, untrained_checkpoint

__all__ = ["balls", "blank_figures", "no_mlflow", "untrained_checkpoint"]

GRID = Geometry((12, 11, 10), np.diag([-1.0, -1.0, 1.2, 1.0]))
BOUNDARY = "a-boundary"


class Running:
    """A service in a thread of this process, and what it logged."""

    def __init__(self, settings: ServeSettings, model: Any) -> None:
        self.log: list[str] = []
        self.service = Service(settings, model, self.log.append)
        self.url, self.work = self.service.address, settings.work
        self._thread = threading.Thread(target=self.service.run, daemon=True)
        self._thread.start()
        self._wait()

    def _wait(self) -> None:
        for _ in range(200):
            try:
                requests.get(f"{self.url}/health", timeout=1)
            except requests.ConnectionError:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError

    def stop(self) -> None:
        self.service.stop()
        self._thread.join(30)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=30, **options)

    def store(self, files: Sequence[Path], study: str = "", **headers: str) -> requests.Response:
        parts = [(file.read_bytes(), "application/dicom") for file in files]
        return self.post_parts(parts, f"/dicomweb/studies{study}", **headers)

    def post_parts(
        self, parts: Sequence[tuple[bytes, str]], path: str = "/dicomweb/studies", **headers: str
    ) -> requests.Response:
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        body = (
            b"".join(
                f"--{BOUNDARY}\r\nContent-Type: {told}\r\n\r\n".encode() + content + b"\r\n"
                for content, told in parts
            )
            + f"--{BOUNDARY}--\r\n".encode()
        )
        return requests.post(
            f"{self.url}{path}", data=body, headers={"Content-Type": kind, **headers}, timeout=30
        )

    def job(self, answer: requests.Response) -> dict[str, Any]:
        """The study that an answer links to, once it is over."""
        for _ in range(400):
            found: dict[str, Any] = requests.get(answer.links["monitor"]["url"], timeout=30).json()
            if found["state"] in ("done", "failed"):
                return found
            time.sleep(0.05)
        raise TimeoutError(found)


Start = Callable[..., Running]


@pytest.fixture
def start(untrained_checkpoint: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts services; by default they share a folder, and studies are complete at once."""
    running: list[Running] = []

    def begin(model: Any = None, **settings: Any) -> Running:
        given: dict[str, Any] = {
            "work": tmp_path / "work",
            "settle_s": 0.0,
            "patience_s": 5.0,
        } | settings
        told = ServeSettings("127.0.0.1", 0, **given)
        opened = model or open_model(untrained_checkpoint, [], "cpu")
        running.append(Running(told, opened))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


def study_files(folder: Path, *descriptions: str, **header: Any) -> list[Path]:
    """The files of a study with a series for each description."""
    study = {"StudyInstanceUID": generate_uid()} | header
    for number, description in enumerate(descriptions):
        values = np.random.default_rng(number).integers(0, 500, GRID.shape)
        told = {"SeriesDescription": description, "SeriesNumber": number}
        write_series(folder / f"s{number}", GRID, values, **told, **study)
    return sorted(folder.rglob("*.dcm"))
