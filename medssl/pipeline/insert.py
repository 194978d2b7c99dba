"""Further keys put into a YAML file, in which all that it says stays."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from medssl.data.plan.key import Planned
from medssl.yaml_keys import parse_yaml
from medssl.yaml_text import Row, rows_as_yaml


def with_keys(text: str, keys: Sequence[Planned]) -> str:
    """A file of keys with further ones, each below its reason.

    A section of several lines gets its new keys at its end. One that stands on a line, such as
    `preprocess: mr`, is spread over several. Sections that the file lacks come last.

    Args:
        keys: none of which the file gives.
    """
    rows = [one.row for one in keys]
    lines = text.splitlines()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        _complete(lines, node, rows, "", (parse_yaml(text, "the file") or {}))
    else:
        lines += rows_as_yaml(rows)
    return "\n".join(lines) + "\n"


def _complete(
    lines: list[str], block: yaml.MappingNode, rows: Sequence[Row], indent: str, plain: Any
) -> None:
    """Put rows into a mapping of several lines, from its end upwards, so that places hold."""
    there = {key.value: (key, value) for key, value in block.value}
    new = [row for row in rows if row[0][0] not in there]
    end = max((_last(value) for _, value in there.values()), default=len(lines) - 1)
    lines[end + 1 : end + 1] = rows_as_yaml(new, indent)
    for name, (key, value) in reversed(there.items()):
        inner = [(parts[1:], one, why) for parts, one, why in rows if parts[0] == name]
        if not inner:
            continue
        below = plain[name]
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            column = " " * value.value[0][0].start_mark.column
            _complete(lines, value, inner, column, below)
        else:
            first, last = key.start_mark.line, _last(value)
            after = lines[last][value.end_mark.column :].strip()
            head = f"{indent}{name}:" + (f"  {after}" if after.startswith("#") else "")
            own = _own_rows(below, inner)
            lines[first : last + 1] = [head, *rows_as_yaml([*own, *inner], f"{indent}  ")]


def _own_rows(plain: Any, inner: Sequence[Row]) -> list[Row]:
    """What a section on one line says, as rows."""
    words = {parts[0] for parts, _, _ in inner if len(parts) > 1}
    if isinstance(plain, str):  # the word of a chain, or a name
        plain = {} if plain in words else {"name": plain}
    rows = list[Row]()
    for key, value in (plain or {}).items():
        if key in words and isinstance(value, Mapping):
            rows += [((key, below), one, "") for below, one in value.items()]
        elif key not in words:
            rows.append(((key,), value, ""))
    return rows


def _last(node: yaml.Node) -> int:
    """Number of the last line of a value."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return max(_last(value) for _, value in node.value)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(_last(value) for value in node.value)
    end = node.end_mark
    whole = end.column == 0 and end.line > node.start_mark.line  # a text of several lines
    return int(end.line) - whole
