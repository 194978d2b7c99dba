"""Linters, hosted tests and versions say one thing wherever they are written down."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import medssl

ROOT = Path(medssl.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "Makefile").is_file(), reason="medssl is installed without its source tree"
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def plain(name: str) -> Any:
    return yaml.safe_load(text(name))


def test_a_commit_is_looked_at_by_the_linters_of_make_lint_and_downloads_nothing() -> None:
    lines = re.findall(r"^\t\$\(BIN\)/(.+)$", text("Makefile").partition("\nlint:")[2], re.M)
    named = {line.split()[0] for line in lines}
    assert {"ruff", "mypy"} <= named
    for repository in plain(".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            tool = Path(hook["entry"].split()[0])
            assert (str(tool.parent), hook["language"]) == (".venv/bin", "system")
            assert tool.name in named


def test_hosted_tests_do_what_the_own_ones_do_on_every_supported_python() -> None:
    job = plain(".github/workflows/test.yml")["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert {"make test", "make lint"} <= set(text(".ci/run").splitlines())
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert project["requires-python"] == f">={job['strategy']['matrix']['python'][0]}"


def test_the_changelog_has_a_heading_for_what_is_not_released_and_for_this_version() -> None:
    unreleased, newest, *_ = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.M)
    assert unreleased == "Unreleased"
    assert re.fullmatch(rf"{re.escape(medssl.__version__)} - \d{{4}}-\d\d-\d\d", newest)
