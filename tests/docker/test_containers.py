"""Images, their locks and what runs them: checked without an engine, a cluster or a network."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medssl.pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
IMAGES = sorted(DOCKER.glob("Dockerfile*"))
BATCHES = sorted((DOCKER / "slurm").iterdir())


def locked(name: str) -> dict[str, str]:
    """Versions by package of one lock; every one has hashes."""
    text = (DOCKER / "lock" / f"{name}.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        package = re.match(r"([a-z0-9-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})+)$", line)
        assert package, f"{line[:60]} has no version or no hash"
        found[package[1]] = package[2]
    return found


def steps(image: Path) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with what follows them, on one line each."""
    text = re.sub(r"^#.*\n", "", image.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line]
    return [(word, rest) for word, rest in lines]


def test_the_locks_hold_every_dependency() -> None:
    cuda, other = locked("cuda"), locked("medssl")
    assert not cuda.keys() & other.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        version = {**cuda, **other}.get(canonicalize_name(wanted.name))
        assert version, f"sh docker/lock.sh: {wanted.name} is not locked"
        assert wanted.specifier.contains(version), f"sh docker/lock.sh: {text}, not {version}"


def test_the_images_have_the_torch_of_everywhere_else() -> None:
    (version,) = re.findall(r"^version=(.*)$", (DOCKER / "install_torch.sh").read_text(), re.M)
    assert locked("cuda")["torch"] == version
    assert not [name for name in locked("medssl") if name.startswith(("nvidia", "cuda", "torch="))]


def test_the_server_has_the_mlflow_of_the_trainer() -> None:
    server, trainer = locked("mlflow"), locked("medssl")
    assert server["mlflow"] == trainer["mlflow"]
    assert {"psycopg2-binary", "boto3"} <= server.keys()


@pytest.mark.parametrize("image", IMAGES, ids=lambda one: one.name)
def test_an_image_is_built_of_files_that_are_there(image: Path) -> None:
    copied = [rest for word, rest in steps(image) if word == "COPY" and "--from" not in rest]
    assert copied
    for rest in copied:
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), f"{image.name} copies {source}"


@pytest.mark.parametrize("image", IMAGES, ids=lambda one: one.name)
def test_nothing_is_installed_without_hash_but_torch_for_the_cpu(image: Path) -> None:
    for word, rest in steps(image):
        if word != "RUN":
            continue
        for command in rest.split("&&"):
            if "pip install" in command:
                assert command.count("pip install") == 1
                assert "--require-hashes" in command or "--no-index" in command
                lock = re.search(r"-r (?:docker/lock/)?(\w+)\.txt", command)
                assert lock is None or locked(lock[1])
            if "install_torch" in command:
                assert image.name == "Dockerfile.cpu"
                assert "PIP_NO_DEPS=1" in command


@pytest.mark.parametrize("image", IMAGES, ids=lambda one: one.name)
def test_an_image_is_run_by_a_user_who_is_not_root(image: Path) -> None:
    users = [rest for word, rest in steps(image) if word == "USER"]
    assert int(users[-1]) > 1000
    assert f"useradd --uid {users[-1]}" in image.read_text()


@pytest.mark.parametrize("name", ["training.yaml", "mlflow.yaml"])
def test_manifests_are_those_of_the_published_schemas(name: str) -> None:
    text = (DOCKER / "kubernetes" / name).read_text()
    for manifest in yaml.safe_load_all(text):
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_a_pod_runs_as_the_user_of_its_image() -> None:
    for name, image in (("training.yaml", "Dockerfile"), ("mlflow.yaml", "Dockerfile.mlflow")):
        manifests = yaml.safe_load_all((DOCKER / "kubernetes" / name).read_text())
        (pod,) = [one["spec"]["template"]["spec"] for one in manifests if "template" in one["spec"]]
        assert pod["securityContext"]["runAsNonRoot"]
        user = pod["securityContext"]["runAsUser"]
        assert f"USER {user}" in (DOCKER / image).read_text()


def test_the_composition_is_of_the_published_schema() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         str(DOCKER / "compose.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_services_wait_for_others_that_are_there_and_no_password_is_written_down() -> None:
    plain = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    for service in plain["services"].values():
        assert set(service.get("depends_on", {})) <= plain["services"].keys()
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "SECRET" in key:
                assert re.fullmatch(r"\$\{MEDSSL_\w+:\?.*\}", value)
        if "build" in service:
            assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An environment with what is to go and what is to stay."""
    packages = tmp_path / "lib/python3.11/site-packages"
    for name in (
        "scipy/tests/test_a.py", "scipy/a.py", "numpy/testing/a.py", "nvidia/cu13/include/a.h",
        "nvidia/cu13/lib/a.so", "nvidia/cu13/lib/a.a", "torch/include/a.h", "torch/test/a",
        "torch/bin/protoc", "torch/bin/torch_shm_manager", "torch/lib/a.so", "pyarrow/include/a.h",
        "a/__pycache__/a.pyc", "a/tests/__pycache__/a.pyc", "a/include/b.py",
    ):  # fmt: skip
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("x")
    return packages


def test_trimming_takes_tests_headers_and_archives(packages: Path, tmp_path: Path) -> None:
    subprocess.run(["sh", str(DOCKER / "trim.sh"), str(tmp_path)], check=True)
    left = {str(one.relative_to(packages)) for one in packages.rglob("*") if one.is_file()}
    assert left == {
        "scipy/a.py", "numpy/testing/a.py", "nvidia/cu13/lib/a.so", "torch/bin/torch_shm_manager",
        "torch/lib/a.so", "a/include/b.py", "a/__pycache__/a.pyc",
    }  # fmt: skip


def test_nothing_that_is_imported_is_trimmed() -> None:
    code = (
        "import sys, pkgutil, medssl, importlib, monai, mlflow, sklearn, nilearn.image, highdicom\n"
        "for one in pkgutil.walk_packages(medssl.__path__, 'medssl.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "for one in list(sys.modules.values()):\n"
        "    print(getattr(one, '__file__', None) or '')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    files = done.stdout.splitlines()
    assert len(files) > 1000
    gone = re.compile(r"/site-packages/(.*/)?(tests|test|nvidia/.*/include)/|/torch/(include|bin)/")
    assert not [file for file in files if gone.search(file)]


@pytest.mark.parametrize("batch", BATCHES, ids=lambda one: one.name)
def test_a_job_that_is_warned_saves_and_is_queued_again(batch: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = (
        f"#!/bin/bash\ntrap 'echo saved >> {said}; exit 75' USR1\n"
        f'echo "$@" >> {said}\nwhile :; do sleep 0.05; done\n'
    )
    for name in ("srun", "apptainer"):
        (tmp_path / name).write_text(program)
    (tmp_path / "scontrol").write_text(f'#!/bin/bash\necho "$@" >> {said}\n')
    for name in ("srun", "apptainer", "scontrol"):
        (tmp_path / name).chmod(0o755)
    job = subprocess.Popen(
        ["bash", str(batch), "hippocampus", "seed=0"],
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        | {"MEDSSL_DATA": "/scans", "MEDSSL_WORK": "/runs"},
        cwd=tmp_path,
    )
    try:
        while not (said.is_file() and said.read_text().endswith("\n")):
            assert job.poll() is None
        time.sleep(0.5)  # until it waits
        job.send_signal(signal.SIGUSR1)
        assert job.wait(60) == 75
    finally:
        job.kill()
    command, *rest = said.read_text().splitlines()
    assert command.endswith("run hippocampus seed=0")
    assert "/scans:/data:ro" in command
    assert "/runs:/work" in command
    assert rest == ["saved", "requeue 7"]


def test_a_job_has_the_folders_of_the_image_whatever_the_host_calls_them() -> None:
    """Apptainer hands the host's variables on, and the script asks for one: MEDSSL_DATA."""
    (variables,) = [rest for word, rest in steps(DOCKER / "Dockerfile") if "MEDSSL_DATA" in rest]
    wanted = dict(one.split("=", 1) for one in variables.split() if one.startswith("MEDSSL_"))
    text = (DOCKER / "slurm" / "apptainer.sbatch").read_text()
    said = ",".join(re.findall(r"--env (\S+)", text))
    assert dict(one.split("=") for one in said.split(",")) == wanted
    assert "MEDSSL_DATA" in wanted


def test_a_pod_starts_a_pipeline_that_is_shipped() -> None:
    manifests = yaml.safe_load_all((DOCKER / "kubernetes" / "training.yaml").read_text())
    (job,) = [one for one in manifests if one["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    verb, *given = container["args"]
    assert verb == "run"
    load_config(given[0], given[1:])


@pytest.mark.parametrize("batch", BATCHES, ids=lambda one: one.name)
def test_a_job_says_which_folder_it_lacks(batch: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(batch)],
        env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7"},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "MEDSSL_DATA: folder of the data sets" in done.stderr
    assert done.returncode
