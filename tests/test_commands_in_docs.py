"""Every command of the handbook, of images and of their scripts is one that medssl takes today."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medssl.cli import app
from medssl.pipeline.config import load_config, pipeline_names

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"medssl (?:run|train|pretrain) [^`#|\n]*(?:\n +[^`#|\n]+)?")
OPEN = ("=runs/", "=FOLDER", "checkpoint=", "weights=", "=...", "KEY=VALUE")
"""What a reader puts something in the place of."""


CONTAINERS = sorted(
    path for path in (ROOT / "docker").rglob("*") if path.is_file() and path.parent.name != "lock"
)
VERBS = [one.name or one.callback.__name__ for one in app.registered_commands if one.callback]
VERBS += [str(one.name) for one in app.registered_groups]
SPOKEN = re.compile(
    rf"\b(?:medssl(?:-cpu|\.sif)?|trainer) ((?:{'|'.join(VERBS)})\b(?:\\\n|[^`#|\n])*)"
)
"""A command, up to where a comment, a pipe or the next cell of a table begins."""


def spoken() -> list[str]:
    """What stands after `medssl`, wherever a verb does."""
    texts = (page.read_text(encoding="utf-8") for page in PAGES + CONTAINERS)
    found = (one.replace("\\\n", " ").strip() for text in texts for one in SPOKEN.findall(text))
    return sorted({one for one in found if not one.startswith("export NAME")})


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


@pytest.mark.parametrize("text", spoken())
def test_verbs_and_options_are_there(text: str) -> None:
    (command, *_) = re.split(r" (?:&&|>|;|&)(?: |$)", f"{text} ")
    done = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert done.exit_code == 0, done.output
