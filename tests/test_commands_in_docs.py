"""Every command of the handbook that names a shipped pipeline is one that runs today."""

import re
import shlex
from pathlib import Path

import pytest

from medssl.pipeline.config import load_config, pipeline_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"medssl (?:run|train|pretrain) [^`#|\n]*(?:\n +[^`#|\n]+)?")
OPEN = ("=runs/", "=FOLDER", "checkpoint=", "weights=", "=...", "KEY=VALUE")
"""What a reader puts something in the place of."""


def commands() -> list[tuple[str, ...]]:
    """Name and overrides of each command; seeds that stand for any are 0."""
    found = set()
    for page in PAGES:
        for text in COMMAND.findall(page.read_text(encoding="utf-8")):
            words = shlex.split(text.replace("\\\n", " ").replace("'", ""))[2:]
            given = [re.sub(r"=[A-Z]$", "=0", word) for word in words if "=" in word]
            if words and words[0] in pipeline_names():
                found.add((words[0], *given))
    return sorted(found)


def test_there_are_commands_to_try() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_says_what_a_pipeline_takes(command: tuple[str, ...]) -> None:
    name, *overrides = command
    load_config(name, [one for one in overrides if not any(part in one for part in OPEN)])
