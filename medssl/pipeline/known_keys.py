"""Wrong keys of a pipeline, told before the classes of its sections are made.

To make these takes as long as all else that such a command does. The keys of every shipped method
and of the kinds of pipelines that they stand in are listed in known_keys.json, which
`python -m medssl.pipeline.known_keys` writes anew. What stands elsewhere is left to the classes,
and so is a key of a name that is declared in the code, as the list may be older.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import medssl
from medssl.errors import UsageError
from medssl.mistakes import instead
from medssl.named_files import PIPELINES

if TYPE_CHECKING:
    from pydantic import BaseModel

LIST = Path(__file__).with_name("known_keys.json")

OPEN = "*"
"""Stands among the keys of a part that takes others too, or that is one of several kinds."""

Tree = Mapping[str, Any]
"""Keys with the trees of their parts; None: it has none, False: nor is it offered."""


def refuse_unknown_keys(name_or_path: str, overrides: Sequence[str]) -> None:
    """Refuse a key that no pipeline with its method has, as `load_config` would.

    Raises:
        UsageError: there is one; or the file cannot be read, as `NamedFiles.read` says.
    """
    keys = PIPELINES.read(name_or_path, overrides)
    method = keys.plain.get("method")
    own = method if isinstance(method, Mapping) else {"name": method}
    listed = json.loads(LIST.read_text(encoding="utf-8"))
    if not isinstance(own.get("name"), str) or own["name"] not in listed["methods"]:
        return
    file, tree = listed["methods"][own["name"]]
    given = {key: value for key, value in own.items() if key not in ("name", "preset")}
    for prefix, whole, plain in (("", listed["files"][file], keys.plain), ("method.", tree, given)):
        where = _first_unknown(whole, plain)
        if where and not _is_declared(where[-1]):
            place = keys.place([*prefix.split(".")[:-1], *where])
            inside = f" in the {place}" if place else ""
            near = _offered(_part(whole, where[:-1]))
            do = instead(where, near, _everywhere(whole), prefix)
            raise UsageError(f"unknown key '{prefix}{'.'.join(where)}'{inside}", do=do)


def _first_unknown(tree: Tree, plain: Mapping[Any, Any]) -> tuple[str, ...]:
    """The first key that is not in a tree, by its parts; empty if there is none."""
    for key, part in tree.items():
        inner = plain.get(key)
        if part and OPEN not in part and isinstance(inner, Mapping):
            where = _first_unknown(part, inner)
            if where:
                return (key, *where)
    return next(((key,) for key in plain if isinstance(key, str) and key not in tree), ())


def _is_declared(key: str) -> bool:
    """Whether some class of medssl has such a key: it is asked, as the list may be older."""
    line = f"\n    {key}: ".encode()
    sources = Path(medssl.__file__).parent.rglob("*.py")
    return any(line in path.read_bytes() for path in sources)


def _part(tree: Tree, where: Sequence[str]) -> Tree:
    for part in where:
        tree = tree[part]
    return tree


def _everywhere(tree: Tree, prefix: str = "") -> Iterator[str]:
    """All keys of a tree, with dots."""
    for key in _offered(tree):
        yield prefix + key
        yield from _everywhere(tree[key] or {}, f"{prefix}{key}.")


def _offered(tree: Tree) -> list[str]:
    return [key for key, part in tree.items() if key != OPEN and part is not False]


def tree_of(model: type["BaseModel"]) -> dict[str, Any]:
    """The keys of a section and of its parts."""
    from medssl.wanted import models_of

    found: dict[str, Any] = {}
    if model.model_config.get("extra") != "forbid":
        found[OPEN] = None
    for key, field in model.model_fields.items():
        kinds = list(models_of(field.annotation))
        part: dict[str, Any] = {}
        for kind in kinds:
            part |= {inner: below for inner, below in tree_of(kind).items() if inner not in part}
        alone = len(kinds) == 1 and field.annotation in (kinds[0], kinds[0] | None)
        found[key] = part if alone else {OPEN: None, **part} if kinds else None
    return found


def as_text() -> str:
    """The list, from the classes."""
    from medssl.methods.registry import settings_class
    from medssl.pipeline.family import find_family
    from medssl.pipeline.file_kinds import FILES
    from medssl.registry import METHODS
    from medssl.settings import PipelineFile

    names = {model: name for name, (model, _) in FILES.items()}
    methods = {}
    for name in sorted(METHODS.shipped):
        settings = settings_class(name)
        file = names[find_family(settings.family).config(settings).file]
        methods[name] = [file, tree_of(settings)]
    files = {
        file: tree_of(model) | dict.fromkeys(model.earlier, False)
        for file, (model, _) in FILES.items()
        if issubclass(model, PipelineFile)
    }
    return json.dumps({"files": files, "methods": methods}, indent=1) + "\n"


if __name__ == "__main__":
    LIST.write_text(as_text(), encoding="utf-8")
