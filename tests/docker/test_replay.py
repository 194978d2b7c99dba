"""The build of an image in a clean root: what is read of its file and lent to its steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.replay import ROOT, base_of, folders_of, needs, settings_of

ASKED = os.environ.get("MEDSSL_TEST_IMAGES") == "yes"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu", "Dockerfile.mlflow"])
def test_an_image_starts_from_nothing_but_the_python_of_debian(name: str) -> None:
    assert base_of((ROOT / "docker" / name).read_text()) == "python:3.11-slim"


@pytest.mark.parametrize(
    "text", ["FROM nvidia/cuda:13", "FROM python:3.11-slim\nFROM python:3.13-slim", "RUN ls"]
)
def test_other_beginnings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be replaced"):
        base_of(text)


def test_a_stage_of_the_file_is_no_image_to_start_from() -> None:
    assert base_of("ARG V=3.13\nFROM python:${V}-slim AS one\nFROM one\n") == "python:3.13-slim"


def test_an_argument_of_the_build_counts_for_what_it_starts_from() -> None:
    text = (ROOT / "docker/Dockerfile").read_text()
    assert base_of(text, ["COMPILE=yes", "PYTHON=3.13"]) == "python:3.13-slim"


def test_steps_have_the_index_of_pip_here_and_not_its_choices(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    settings = settings_of(
        f":env:.find-links='{tmp_path}/wheels'\nglobal.find-links='/nowhere'\n"
        "global.constraint='/etc/constraints.txt'\nglobal.index-url='https://index.example/simple'\n"
        f"global.extra-index-url='file://{tmp_path}/wheels file:///not/there'\n"
    )
    assert list(settings) == ["index-url", "extra-index-url", "find-links"]
    assert set(folders_of({"find-links": f"{tmp_path}/wheels https://index.example"})) == {
        tmp_path / "wheels"
    }
    assert settings["find-links"] == f"{tmp_path}/wheels"


@pytest.mark.skipif(not ASKED, reason="takes minutes; MEDSSL_TEST_IMAGES=yes asks for it")
@pytest.mark.skipif(bool(needs()), reason=f"no image can be built here: {needs()}")
def test_the_image_for_the_cpu_is_built_and_runs() -> None:
    words = [sys.executable, "-m", "tests.docker.replay"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "uid=10001(medssl)" in done.stdout
    assert "on 8 test cases" in done.stdout
