"""JSON that lies beside weights, or within them: read as what it should be, or refused."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medssl.errors import DataError

Said = TypeVar("Said", bound=BaseModel)


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file of JSON; empty where there is no file.

    Raises:
        DataError: it holds no JSON, or no object.
    """
    if not path.is_file():
        return {}
    try:
        plain = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON", do="take another copy") from error
    if not isinstance(plain, dict):
        raise DataError(
            f"{path} holds no object", "it is JSON of another kind", "take another copy"
        )
    return plain


def checked(kind: type[Said], plain: object, source: object) -> Said:
    """`plain` as the values of `kind`, which are all that is read of it.

    Args:
        source: where it is from, for the message.

    Raises:
        DataError: a value is missing or of another kind.
    """
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise DataError(
            f"{source} cannot be used",
            f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            "take another copy",
        ) from error
