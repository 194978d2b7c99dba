"""YAML files with a reason above each key, as text."""

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from textwrap import wrap
from typing import Any

WIDTH = 94
"""Letters of a reason on one line."""

Row = tuple[tuple[str, ...], Any, str]
"""The parts of a key, its value, and what is said above it; may be empty."""


def yaml_value(value: Any) -> str:
    """A value as YAML on one line; texts in quotes where they need them."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{yaml_key(key)}: {yaml_value(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_value, value))}]"
    if isinstance(value, str) and value.isidentifier() and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def yaml_key(key: str) -> str:
    """A key as YAML."""
    return key if key.isidentifier() and key.lower() not in _WORDS else json.dumps(key)


_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"}


def document(head: Sequence[str], keys: Sequence[tuple[str, Any, str]]) -> str:
    """A YAML file.

    Args:
        head: lines of the comment on top.
        keys: each key, its value, and what is said above it; may be empty.
    """
    lines = [f"# {line}" for line in head]
    for key, value, why in keys:
        lines += [f"# {line}" for line in why.splitlines()]
        lines += _lines(key, value, "")
    return "\n".join(lines) + "\n"


def rows_as_yaml(rows: Sequence[Row], indent: str = "") -> list[str]:
    """Lines of YAML; keys with the same parents stand below these once."""
    lines, shown = list[str](), tuple[str, ...]()
    for (*parents, last), value, why in rows:
        pairs = zip(parents, shown, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        for depth in range(same, len(parents)):
            lines.append(f"{indent}{'  ' * depth}{yaml_key(parents[depth])}:")
        shown, inner = tuple(parents), indent + "  " * len(parents)
        lines += [f"{inner}# {line}" for line in wrap(why, WIDTH - len(inner))]
        lines += _lines(last, value, inner)
    return lines


def _lines(key: str, value: Any, indent: str) -> list[str]:
    one = f"{indent}{yaml_key(key)}: {yaml_value(value)}"
    if len(one) <= 96 or not isinstance(value, Mapping | list | tuple):
        return [one]
    if isinstance(value, Mapping):
        inner = [line for k, v in value.items() for line in _lines(k, v, f"{indent}  ")]
        return [f"{indent}{yaml_key(key)}:", *inner]
    return [f"{indent}{yaml_key(key)}:", *(f"{indent}  - {yaml_value(one)}" for one in value)]
