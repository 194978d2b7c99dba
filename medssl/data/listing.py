"""JSON files that list a data set: what they hold, checked key by key.

Files may be named relative to the data set's folder or by an absolute path; a list is written by
whoever owns the data, and may name files anywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medssl.errors import DataError
from medssl.names import shown

Model = TypeVar("Model", bound=BaseModel)


def read_listing(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: the file is missing, not JSON, holds no object, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        plain = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read", str(error), "correct the file") from None
    except RecursionError:
        raise DataError(f"{path} cannot be read", "it is nested too deep") from None
    if not isinstance(plain, dict):
        raise DataError(f"{path} holds no JSON object", do="correct the file")
    return plain


def section(plain: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """The list under `key`; empty where there is none.

    Raises:
        DataError: `key` holds something else than a list.
    """
    found = plain.get(key)
    if not isinstance(found, list | None):
        raise DataError(
            f"`{key}` of {path} is {shown(found)}", "it must be a list of cases", "correct the file"
        )
    return found or []


def parsed(model: type[Model], plain: Any, where: str, do: str) -> Model:
    """`plain` as a `model`.

    Args:
        where: what it is, e.g. "entry 3 of `training` of datalist.json".
        do: what would be right.

    Raises:
        DataError: a key is missing, unknown or of another kind; the message names it.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if not _is_kind(part))
        reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
        given = f"{place or 'it'} is {shown(first['input'])}"
        missing = first["type"] == "missing"
        why = f"it has no {place}" if missing else f"{given}: {_said(reason)}"
        raise DataError(f"{where} is wrong", why, do) from None
    except RecursionError:
        raise DataError(f"{where} is wrong", "it is nested too deep", do) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse equal keys, of which the last would win in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(
            f"the key {shown(next(k for k in keys if keys.count(k) > 1))} stands twice"
        )
    return found


def _is_kind(part: int | str) -> bool:
    """Whether a part of pydantic's error location names an alternative of a type, not a key."""
    return isinstance(part, str) and (part in ("str", "int") or "[" in part)


def _said(reason: str) -> str:
    return reason[0].lower() + reason[1:]
