"""MLflow's server on PostgreSQL and an S3-like store, each of which is lost while a stage runs."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medssl.train import mlflow_store, track
from medssl.train.track import Tracker, deliver, is_delivered

BUCKET, SECONDS = "mlflow", 180.0
MISSING = [name for name in ("psycopg2", "boto3", "moto") if importlib.util.find_spec(name) is None]
PROGRAMS = shutil.which("initdb") or next(iter(Path("/usr/lib/postgresql").glob("*/bin/initdb")), 0)

pytestmark = [
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"{', '.join(MISSING)}: not installed (pip install 'medssl[services]')",
    ),
    pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed (initdb is not there)"),
]


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Service:
    """A process on loopback that ends as a machine does that loses its power, and begins again."""

    def __init__(
        self,
        command: list[str],
        at: int,
        ready: Callable[[], object] = lambda: None,
        user: str | None = None,
        **more: str,
    ) -> None:
        self.address = f"http://127.0.0.1:{at}"
        self._command, self._at, self._ready, self._user = command, at, ready, user
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._variables = os.environ | more
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, and wait until it is ready."""
        self._process = subprocess.Popen(
            self._command,
            env=self._variables,
            user=self._user,
            cwd="/",
            start_new_session=True,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait(lambda: socket.create_connection(("127.0.0.1", self._at), 1).close())
            wait(self._ready)
        except Exception as error:
            self._log.seek(0)
            said = self._log.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{self._command[:4]} does not start: {said}") from error

    def lose(self) -> None:
        """End it and what it started, at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def wait(asked: Callable[[], object]) -> None:
    """Ask until it does not fail."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            asked()
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that PostgreSQL, which refuses to run as root, can work in."""
    folder = Path(tempfile.mkdtemp(prefix="services"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def services(place: Path) -> Iterator[dict[str, Service]]:
    """The three, running."""
    import boto3
    import psycopg2
    from mlflow import MlflowClient

    ports = {name: port() for name in ("database", "store", "mlflow")}
    folder, user = place / "database", None
    folder.mkdir()
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        user = owner.pw_name
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    initdb = Path(str(PROGRAMS))
    subprocess.run(
        [initdb, "--auth=trust", "--username=mlflow", "--no-sync", "-D", folder],
        check=True, user=user, cwd="/", stdout=subprocess.DEVNULL,
    )  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": "mlflow", "AWS_SECRET_ACCESS_KEY": "mlflow-secret"}
    server = f"http://127.0.0.1:{ports['mlflow']}"
    store = f"http://127.0.0.1:{ports['store']}"
    address = f"postgresql+psycopg2://mlflow@127.0.0.1:{ports['database']}/postgres"
    plain = address.replace("+psycopg2", "")
    client = boto3.client(
        "s3", endpoint_url=store, region_name="us-east-1", aws_access_key_id="mlflow",
        aws_secret_access_key="mlflow-secret",
    )  # fmt: skip
    found = {
        "database": Service(
            [str(initdb.with_name("postgres")), "-D", str(folder), "-p", str(ports["database"]),
             "-k", str(folder), "-h", "127.0.0.1"],
            ports["database"], lambda: psycopg2.connect(plain).close(), user,
        ),
        "store": Service(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports["store"])],
            ports["store"],
            lambda: client.create_bucket(Bucket=BUCKET),  # it holds all in memory
        ),
        "mlflow": Service(
            [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", "--workers=1",
             f"--port={ports['mlflow']}", f"--backend-store-uri={address}",
             f"--artifacts-destination=s3://{BUCKET}"],
            ports["mlflow"], lambda: MlflowClient(server).search_experiments(),
            MLFLOW_S3_ENDPOINT_URL=store, MLFLOW_DISABLE_TELEMETRY="true", **keys,
        ),
    }  # fmt: skip

    try:
        for one in found.values():
            one.start()
        yield found
    finally:
        for one in found.values():
            one.lose()


@pytest.mark.parametrize("lost", ["mlflow", "database", "store"])
def test_a_stage_goes_on_and_what_it_owes_arrives(
    services: dict[str, Service], lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    address = services["mlflow"].address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr(mlflow_store, "_away", {})
    monkeypatch.setattr(mlflow_store, "_warned", set())
    monkeypatch.setattr(track, "SEND_EVERY_S", 0.0)
    monkeypatch.setattr(mlflow_store, "PATIENCE_S", 60.0)  # the server may share its machine
    folder = tmp_path / f"run-{lost}"
    (tmp_path / "report.html").write_text("<p>")
    with Tracker(folder, "toys", folder.name, None, {"steps": 3}, {}) as tracker:
        tracker.metrics(1, {"loss": 3.0})
        services[lost].lose()
        begun = time.monotonic()
        tracker.metrics(2, {"loss": 2.0})
        tracker.artifact(tmp_path / "report.html")
        tracker.metrics(3, {"loss": 1.0})
    assert time.monotonic() - begun < 3 * mlflow_store.PATIENCE_S
    assert not is_delivered(folder)
    services[lost].start()
    monkeypatch.setattr(mlflow_store, "_away", {})
    deliver(folder)
    assert is_delivered(folder)
    client = MlflowClient(address)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    numbers = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((one.step, one.value) for one in numbers) == [(1, 3.0), (2, 2.0), (3, 1.0)]
    got = str(tmp_path / "got")
    file = download_artifacts(run_id=tracker.run_id, artifact_path="report.html", dst_path=got)
    assert Path(file).read_text() == "<p>"
