"""The JSON schema of the files that people write, for editors; from the same types as `keys`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from medssl.data.layout_choice import LayoutChoice
from medssl.errors import UsageError
from medssl.methods.registry import method_names, settings_class
from medssl.mistakes import nearest
from medssl.pipeline.file_kinds import FILES
from medssl.pipeline.keys import IN_SHORT, layout_options
from medssl.registry import LAYOUTS
from medssl.section import is_named

Plain = dict[str, Any]


class _Schema(GenerateJsonSchema):
    """A part that a text may stand for is a text, or its keys."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Plain:
        """The schema of a part."""
        plain, kind = super().model_schema(schema), schema["cls"]
        if is_named(kind):
            return {"anyOf": [plain["properties"]["name"], plain]}
        if issubclass(kind, tuple(IN_SHORT)):
            return {"anyOf": [{"type": "string"}, plain]}
        return plain


def schema_text(name: str = "") -> str:
    """The JSON schema of one kind of file; of any of them without a name.

    Raises:
        UsageError: there is no such kind of file; names the nearest.
    """
    if name and name not in FILES:
        raise UsageError(
            f"there is no schema of '{name}', only of whole files", do=nearest(name, list(FILES))
        )
    chosen = [name] if name else list(FILES)
    methods = {method: settings_class(method) for method in method_names()}
    layouts = {kind: layout_options(kind) for kind in LAYOUTS.names()} if "data" in chosen else {}
    models: list[type[BaseModel]] = [FILES[one][0] for one in chosen]
    models += [*methods.values(), *layouts.values(), LayoutChoice]
    references, whole = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], schema_generator=_Schema
    )
    parts: Plain = whole["$defs"]
    names = {kind: where["$ref"].split("/")[-1] for (kind, _), where in references.items()}
    _drop_required(parts)
    for one in chosen:
        file, family = parts[names[FILES[one][0]]], one.partition("_")[0]
        fitting = {key: kind for key, kind in methods.items() if kind.family == family}
        if fitting:
            variants = [
                _method(parts[names[kind]], key, kind.presets) for key, kind in fitting.items()
            ]
            file["properties"]["method"] = {"anyOf": [{"enum": list(fitting)}, *variants]}
        if one == "data":
            common = parts[names[LayoutChoice]]["properties"]
            file["properties"]["layout"] = {
                "anyOf": [_layout(common, parts[names[o]], kind) for kind, o in layouts.items()]
            }
        _may_extend(file, FILES[one][0])
    files = [{"$ref": f"#/$defs/{names[FILES[one][0]]}"} for one in chosen]
    found = {"$schema": GenerateJsonSchema.schema_dialect, "anyOf": files, "$defs": parts}
    return json.dumps(found | {"$defs": _reached(found, parts)}, indent=1)


def _method(own: Plain, name: str, presets: Mapping[str, object]) -> Plain:
    """A method as a mapping; without its name it changes the one that the file extends."""
    first: Plain = {"name": {"const": name}, "preset": {"enum": [*presets, None]}}
    return _mapping(first | own.get("properties", {}), own.get("description", ""))


def _layout(common: Plain, own: Plain, kind: str) -> Plain:
    properties = common | {"kind": {"const": kind}} | own.get("properties", {})
    return _mapping(properties, own.get("description", ""))


def _mapping(properties: Plain, description: str) -> Plain:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _may_extend(file: Plain, model: type[BaseModel]) -> None:
    """A file extends another one, or gives all keys that have no default; its name is its own."""
    needed = [key for key, field in model.model_fields.items() if field.is_required()]
    file["properties"]["extends"] = {
        "type": ["string", "null"],
        "description": "name or path of a file whose keys stand below",
    }
    complete = {"required": [key for key in needed if key not in ("name", "method")]}
    file["anyOf"] = [{"required": ["extends"]}, complete]


def _drop_required(parts: Plain) -> None:
    """Keys lie over defaults and over what a file extends; those of lists stand for themselves."""
    whole = _reached([list(_under(part, "items")) for part in parts.values()], parts)
    for name, part in parts.items():
        if name not in whole:
            for one in (part, *part.get("anyOf", ())):
                one.pop("required", None)


def _reached(start: Any, parts: Plain) -> Plain:
    """The parts that `start` refers to, at any depth."""
    found: Plain = {}
    waiting = list(_under(start, "$ref"))
    while waiting:
        name = waiting.pop().split("/")[-1]
        if name not in found:
            found[name] = parts[name]
            waiting += _under(parts[name], "$ref")
    return dict(sorted(found.items()))


def _under(plain: Any, key: str) -> Iterator[Any]:
    """Everything that stands under a key, at any depth but `$defs`."""
    if isinstance(plain, Mapping):
        if key in plain:
            yield plain[key]
        for name, one in plain.items():
            if name != "$defs":
                yield from _under(one, key)
    elif isinstance(plain, Sequence) and not isinstance(plain, str):
        for one in plain:
            yield from _under(one, key)
