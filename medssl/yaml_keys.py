"""Keys and values in YAML: a pipeline, a study, a data spec, or the value of an override."""

import re
from pathlib import Path
from typing import Any

import yaml

from medssl.errors import UsageError

_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_NUMBERS = {
    _INT: r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$",
    _FLOAT: r"([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
}
"""What numbers look like. YAML 1.1 knows more, which YAML 1.2 took out: in silence `1:30` would
be 90, and `017` 15. They are texts here."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would take the last in silence."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's
        first: [(tag, form) for tag, form in forms if tag not in _NUMBERS]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key '{key.value}' stands here for the second time"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return node


for _tag, _form in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_form), list("-+.0123456789"))


def parse_yaml(text: str, where: str) -> Any:
    """The value that `text` says.

    Args:
        where: what the text is, for the message.

    Raises:
        UsageError: it is not YAML; names line and column, both from 1.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        reason = " ".join((error.problem or error.context or "").split())
        do = "indent with spaces" if "'\\t'" in reason else "correct it"
        raise UsageError(f"{where}{place}, is not valid YAML", reason, do) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise UsageError(
            f"{where}, line {line}, column {column}, is not valid YAML",
            f"it holds the control character {error.character:#04x}",
            "remove it",
        ) from None
    except RecursionError:
        raise UsageError(f"{where} is not valid YAML", "it is nested too deeply") from None
    except ValueError as error:  # a date or a number that cannot be
        raise UsageError(f"{where} is not valid YAML", str(error), "put it in quotes") from None


def read_keys(path: Path, kind: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        kind: what the file is, e.g. "a pipeline", for the message.

    Raises:
        UsageError: the file cannot be read, is not YAML (names line and column) or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line}, is not valid YAML",
            "it is no text in UTF-8",
            "save it as UTF-8",
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", str(error.strerror)) from None
    plain = parse_yaml(text, str(path))
    if not isinstance(plain, dict):
        raise UsageError(f"{path} holds no keys", f"{kind} is a mapping of keys to values")
    return plain
